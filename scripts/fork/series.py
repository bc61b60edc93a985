"""The patch series: patches/series and the files that it names."""

import hashlib
import re
import tempfile
from pathlib import Path

from .base import ROOT, Problem, git

PATCHES = ROOT / "patches"
SERIES = PATCHES / "series"

# What makes git write the same bytes for the same commit, on any day.
FORMAT = (
    "format-patch",
    "-N",
    "--zero-commit",
    "--no-signature",
    "--no-stat",
    "--full-index",
    "--quiet",
)


def read():
    """Return the names of the patches in their order."""
    return SERIES.read_text(encoding="utf-8").split() if SERIES.exists() else []


def files():
    """Return the paths of the patches in their order."""
    paths = [PATCHES / name for name in read()]
    for path in paths:
        if not path.is_file():
            raise Problem(f"patches/series names {path.name}, which does not exist.")
    return paths


def digest():
    """Return a hash of the series with all its patches."""
    total = hashlib.sha256()
    for path in files():
        total.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return total.hexdigest()


def touched():
    """Return the names of the files that the patches touch."""
    names = set()
    for path in files():
        text = path.read_text(encoding="utf-8", errors="replace")
        names.update(re.findall(r"^(?:---|\+\+\+) [ab]/(.+)$", text, re.MULTILINE))
    return sorted(names)


def export(tree, base):
    """Return {name: content} of a patch for each commit of a tree after ``base``."""
    if git(tree, "rev-list", "--merges", f"{base}..HEAD"):
        raise Problem("The tree holds a merge commit, which no patch can express.")
    with tempfile.TemporaryDirectory() as folder:
        git(tree, *FORMAT, "-o", folder, f"{base}..HEAD")
        patches = {}
        for path in sorted(Path(folder).iterdir()):
            name = re.sub(r"^\d+-", "", path.name)
            if name in patches:
                raise Problem(f"Two commits of the tree would both be {name}.")
            patches[name] = path.read_bytes()
    return patches


def write(patches):
    """
    Make patches/ hold exactly these patches, given as {name: content} in order.

    Return the names of those that were added, changed or removed.
    """
    PATCHES.mkdir(exist_ok=True)
    stale = [path for path in PATCHES.glob("*.patch") if path.name not in patches]
    changed = [path.name for path in stale]
    for path in stale:
        path.unlink()
    for name, content in patches.items():
        path = PATCHES / name
        if not path.exists() or path.read_bytes() != content:
            path.write_bytes(content)
            changed.append(name)
    SERIES.write_text("".join(f"{name}\n" for name in patches), encoding="utf-8")
    return changed


def apply(tree):
    """
    Commit the series in a git tree, strictly: no fuzz, no three-way merge.

    On failure leave the tree as it was and raise Problem naming the patch.
    """
    for path in files():
        try:
            git(tree, "am", "--quiet", "--committer-date-is-author-date", path)
        except Problem as problem:
            git(tree, "am", "--abort", check=False)
            raise Problem(f"patches/{path.name} does not apply: {problem}") from None


def message(content):
    """Return (subject, body) of the commit message in a patch's content."""
    text = content.decode("utf-8", "replace")
    head, _, rest = text.partition("\n\n")
    subject = re.search(r"^Subject: \[PATCH\] (.*(?:\n .*)*)", head, re.MULTILINE)
    body = re.split(r"^(?:---$|diff --git )", rest, maxsplit=1, flags=re.MULTILINE)[0]
    return (subject[1].replace("\n", "") if subject else ""), body.strip()


def diff_lines(content):
    """Yield the lines of the hunks of a patch's content."""
    left = 0, 0
    for line in content.decode("utf-8", "replace").split("\n"):
        hunk = re.match(r"@@ -\d+(?:,(\d+))? \+\d+(?:,(\d+))? @@", line)
        if hunk and left == (0, 0):
            left = tuple(int(count or 1) for count in hunk.groups())
        elif any(left) and line[:1] in {" ", "-", "+"}:
            yield line
            left = left[0] - (line[0] != "+"), left[1] - (line[0] != "-")
