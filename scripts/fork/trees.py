"""Trees under build/: upstream's release, and the patched one to work in."""

import json
import os
import shutil
import sys
import tarfile
import time
from pathlib import Path

from . import series
from .base import (
    BUILD,
    CACHE,
    OVERLAY,
    ROOT,
    Problem,
    git,
    pinned_version,
    run,
    say,
    shown,
)

IGNORED = ("__pycache__/", "*.py[co]", "/docs/_build/", ".tox/", "/tests/.coverages/")
REBASES = (".git/rebase-merge", ".git/rebase-apply")
LINKS = "# Links to the overlay; scripts/assemble keeps this list."


def fetch_sdist(version):
    """Return the path of upstream's sdist, from the package index the first time."""
    for name in (f"django-{version}.tar.gz", f"Django-{version}.tar.gz"):
        if (CACHE / name).exists():
            return CACHE / name
    say(f"Fetching the sdist of Django {version} ...")
    CACHE.mkdir(parents=True, exist_ok=True)
    command = ("-m", "pip", "download", "--no-deps", "--no-binary", ":all:")
    run(sys.executable, *command, f"Django=={version}", "-d", CACHE, cwd=CACHE)
    return next(CACHE.glob(f"[dD]jango-{version}.tar.gz"))


def unpack(version, target):
    """Unpack upstream's sdist at target and return the time of its release."""
    with tarfile.open(fetch_sdist(version)) as archive:
        root = archive.next().name.split("/")[0]
        released = max(member.mtime for member in archive)
        safely = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
        archive.extractall(target.parent, **safely)
    (target.parent / root).rename(target)
    return int(released)


def commit_all(tree, message, date):
    """Commit all files of a tree, with a date (seconds) that makes ids repeatable."""
    date = f"{date} +0000"
    git(tree, "add", "--all", "--force")
    dates = {"GIT_AUTHOR_DATE": date, "GIT_COMMITTER_DATE": date}
    git(tree, "commit", "--quiet", "--message", message, **dates)


def exclude(tree, lines):
    """Make git overlook the files that match these patterns in a tree."""
    text = "".join(f"{line}\n" for line in lines)
    (tree / ".git/info").mkdir(exist_ok=True)
    (tree / ".git/info/exclude").write_text(text, encoding="utf-8")


def make_upstream(version, target):
    """Make a git tree at target whose one commit is upstream's release."""
    remove(target)
    scratch = target.with_name(target.name + ".part")
    remove(scratch)
    scratch.mkdir(parents=True)
    tree = scratch / "tree"
    released = unpack(version, tree)
    git(tree, "init", "--quiet", "--initial-branch=main")
    exclude(tree, IGNORED)
    commit_all(tree, f"Django {version}", released)
    # One pack is quicker to clone than thousands of files.
    git(tree, "repack", "-a", "-d", "--quiet", "--window=0")
    (tree / ".git/version").write_text(version)
    tree.rename(target)
    scratch.rmdir()
    return target


def remove(tree):
    """Remove a tree, if it is there."""
    if tree.exists():
        shutil.rmtree(tree)


def upstream():
    """Return the git tree of the pinned release, unpatched: build/upstream."""
    tree, version = BUILD / "upstream", pinned_version()
    marker = tree / ".git/version"
    if not marker.exists() or marker.read_text() != version:
        make_upstream(version, tree)
    elif git(tree, "status", "--porcelain", "--untracked-files=no"):
        say(f"{shown(tree)} was edited: putting upstream's files back.")
        git(tree, "reset", "--hard", "--quiet")
    return tree


def clone(source, target, only=()):
    """
    Clone a git tree under build/ and return the path of the clone.

    With names of files in ``only``, no others are written out, which is quick.
    """
    remove(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    git(target.parent, "clone", "--quiet", "--no-checkout", source, target)
    git(target, "remote", "remove", "origin")
    exclude(target, IGNORED)
    if only:
        patterns = [f"/{name}" for name in only]
        git(target, "sparse-checkout", "set", "--no-cone", *patterns)
    git(target, "checkout", "--quiet")
    return target


class Tree:
    """
    The patched tree: upstream's commit, the series as commits on top of it, and
    links to the overlay, which git overlooks.

    ``state`` is what the last assembly or refresh left: ``base``, upstream's
    commit; ``head``, the last patch; ``series``, the digest of patches/; and
    ``version``.
    """

    def __init__(self, path=BUILD / "tree"):
        self.path = Path(path).resolve()
        self.marker = self.path / ".git/assembled.json"
        self.state = {}
        if self.marker.exists():
            self.state = json.loads(self.marker.read_text())

    def git(self, *arguments, **kwargs):
        return git(self.path, *arguments, **kwargs)

    def is_current(self):
        """Return whether the tree was made from patches/ as it is now."""
        now = series.digest(), pinned_version()
        return now == (self.state.get("series"), self.state.get("version"))

    def edits(self):
        """Return sentences on what the tree holds and the series does not."""
        found = [f"{name} is edited." for name in self.modified()]
        found += [f"{name} is new." for name in self.untracked()]
        commits = self.git("log", "--format=%h %s", f"{self.state['head']}..HEAD")
        found += [f"Commit {line} is new." for line in commits.splitlines()]
        if not commits and self.git("rev-parse", "HEAD") != self.state["head"]:
            found.append("Commits of the series are missing.")
        if any((self.path / name).exists() for name in REBASES):
            found.append("A rebase is under way.")
        return found

    def modified(self):
        """Return the names of upstream's files with edits that are not committed."""
        return self.git("diff", "--name-only", "--no-renames", "HEAD").splitlines()

    def untracked(self):
        """Return the names of new files that are no links to the overlay."""
        return self.git("ls-files", "--others", "--exclude-standard").splitlines()

    def save_state(self, base):
        """Note that the tree and patches/ agree."""
        self.state = {
            "base": base,
            "head": self.git("rev-parse", "HEAD"),
            "series": series.digest(),
            "version": pinned_version(),
        }
        self.marker.write_text(json.dumps(self.state, indent=4))

    def build(self):
        """Make the tree from upstream and the series, in place if it is there."""
        source = upstream()
        base = git(source, "rev-parse", "HEAD")
        if self.state.get("base") == base:
            self.rewind(base)
            try:
                series.apply(self.path)
            except Problem:
                self.rewind(self.state["head"])
                raise
        else:
            scratch = clone(source, self.path.with_name(self.path.name + ".part"))
            series.apply(scratch)
            remove(self.path)
            scratch.rename(self.path)
        self.save_state(base)

    def rewind(self, commit):
        """Put the tree at a commit and throw away edits, but not ignored files."""
        for command in ("rebase", "am"):
            self.git(command, "--quit", check=False)
        self.git("checkout", "--quiet", "--force", "-B", "main", commit)
        self.git("clean", "--quiet", "--force", "-d")

    def link(self):
        """Make the links to the overlay agree with it and return their number."""
        wanted = overlay_links(upstream())
        text = (self.path / ".git/info/exclude").read_text(encoding="utf-8")
        _, _, old = text.partition(LINKS)
        for name in {line.lstrip("/") for line in old.split()} - set(wanted):
            if (self.path / name).is_symlink():
                (self.path / name).unlink()
        for name in wanted:
            self.make_link(name)
        exclude(self.path, [*IGNORED, LINKS, *(f"/{name}" for name in wanted)])
        return len(wanted)

    def make_link(self, name):
        place, target = self.path / name, ROOT / name
        target = os.path.relpath(target, place.parent.resolve())
        if place.is_symlink():
            if os.readlink(place) == target:
                return
            place.unlink()
        if place.exists():
            raise Problem(
                f"{shown(place)} is in the way of the overlay's file of that name: "
                "move it away."
            )
        place.symlink_to(target)


def overlay_files():
    """Return the names of all files of the overlay, relative to the checkout."""
    return sorted(
        path.relative_to(ROOT).as_posix()
        for folder in OVERLAY
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and path.suffix not in {".pyc", ".pyo"}
    )


def overlay_links(source):
    """
    Return the names to link: folders that upstream's tree does not have as a
    whole, single files in the others.
    """
    names = []

    def visit(name):
        for path in sorted((ROOT / name).iterdir()):
            inner = f"{name}/{path.name}"
            if path.name == "__pycache__" or path.suffix in {".pyc", ".pyo"}:
                continue
            if not (source / inner).exists():
                names.append(inner)
            elif path.is_dir():
                visit(inner)
            else:
                raise Problem(
                    f"{inner} exists upstream: the overlay only adds files. Change "
                    "upstream's file by a patch."
                )

    for folder in OVERLAY:
        if (ROOT / folder).is_dir():
            visit(folder)
    return names


def assemble(path=BUILD / "tree", force=False, keep_edits=False):
    """
    Return the patched Tree at path, made or brought up to date as needed.

    Edits that the series does not have yet are an error, unless ``force``
    throws them away, or ``keep_edits`` is true and the series is unchanged.
    """
    start = time.monotonic()
    tree = Tree(path)
    if tree.path.exists() and not tree.state and any(tree.path.iterdir()):
        raise Problem(f"{shown(tree.path)} is not a tree made by assemble.")
    edits = tree.edits() if tree.state else []
    if edits and not force and not (keep_edits and tree.is_current()):
        raise Problem(
            f"{shown(tree.path)} holds what the series does not have:\n  "
            + "\n  ".join(edits)
            + "\nscripts/refresh takes edits into the series; 'scripts/assemble "
            "--force' throws them away."
        )
    if not tree.is_current() or (edits and force):
        tree.build()
    elif edits:
        say(f"{shown(tree.path)} holds edits that the series does not have yet.")
    count = tree.link()
    say(
        f"{shown(tree.path)}: Django {tree.state['version']}, "
        f"{len(series.read())} patches, {count} links to the overlay "
        f"({time.monotonic() - start:.1f} s)."
    )
    return tree
