"""
The series and the overlay as a branch of commits, each a part with its tests.

scripts/commits.txt says which: the message of a commit, then, indented, the names
of its files and of its patches. A name that ends in / stands for all files in the
folder that no commit names otherwise. A line of dashes ends a commit.
"""

import ast
import re
import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from . import series
from .base import ROOT, Problem, git, shown
from .trees import clone, commit_all, overlay_files, remove, upstream

MANIFEST = ROOT / "scripts/commits.txt"

# It collects names of all modules, and has those that are there in each commit.
COLLECTING = "django/channels/__init__.py"


@dataclass
class Commit:
    """A commit to make: ``names`` are files and folders, from the root."""

    message: str
    names: list


def read(text):
    """Return the list of commits that the text of a manifest gives."""
    commits = []
    for part in re.split(r"^-{4,}$", text, flags=re.MULTILINE):
        lines = [line for line in part.splitlines() if not line.startswith("#")]
        names = [line.strip() for line in lines if line.startswith("    ")]
        message = [line for line in lines if not line.startswith("    ")]
        if any(map(str.strip, lines)):
            commits.append(Commit("\n".join(message).strip(), names))
    return commits


def place(commits, files):
    """
    Return the files of each commit, as a list of lists. Raise Problem unless each
    file has one commit, and each name of a commit has a file.
    """
    named = Counter(name for commit in commits for name in commit.names)
    problems = [
        f"{name} is there {count} times." for name, count in named.items() if count > 1
    ]
    where, used = {}, set()
    for file in files:
        parents = [f"{parent}/" for parent in Path(file).parents]
        found = next((name for name in [file, *parents] if name in named), None)
        if found is None:
            problems.append(f"{file} is in no commit.")
        where[file] = found
        used.add(found)
    problems += [f"{name} does not exist." for name in named if name not in used]
    if problems:
        raise Problem("\n  ".join([f"{shown(MANIFEST)} does not fit:", *problems]))
    return [
        [file for file in files if where[file] in commit.names] for commit in commits
    ]


def planned():
    """Return a list of (Commit, files) of this checkout."""
    commits = read(MANIFEST.read_text(encoding="utf-8"))
    files = overlay_files() + [f"patches/{name}" for name in series.read()]
    return list(zip(commits, place(commits, files), strict=True))


def export(target, branch):
    """
    Make a git repository at target: upstream's release, then the commits that
    scripts/commits.txt names, on a branch of this name.
    """
    target = Path(target).resolve()
    marker = target / ".git/exported"
    if target.exists() and any(target.iterdir()) and not marker.exists():
        raise Problem(f"{shown(target)} is not empty: name another --dir.")
    plan = planned()
    tree = clone(upstream(), target)
    marker.touch()
    git(tree, "checkout", "--quiet", "-b", branch)
    date = git(tree, "log", "-1", "--format=%ct")
    try:
        for commit, files in plan:
            patches = [name for name in files if name.startswith("patches/")]
            copy(sorted(set(files) - set(patches)), tree)
            for name in patches:
                apply(name, tree)
            collect(tree)
            commit_all(tree, message(commit, patches), date)
    except Problem:
        remove(tree)
        raise
    return tree


def copy(files, tree):
    """Copy files of the overlay into a tree."""
    for name in files:
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tree / name)


def apply(name, tree):
    """Apply a patch to the files of a tree, strictly."""
    try:
        git(tree, "apply", "--whitespace=nowarn", ROOT / name)
    except Problem as problem:
        raise Problem(
            f"{name} does not apply where {shown(MANIFEST)} has it: {problem}"
        ) from None


def message(commit, patches):
    """Return the message of a commit, with the reasons that its patches give."""
    reasons = [series.message((ROOT / name).read_bytes())[1] for name in patches]
    trailers = r"^(?:Forwarded|Bug): .*$"
    reasons = [re.sub(trailers, "", why, flags=re.M).strip() for why in reasons]
    return "\n\n".join([commit.message, *reasons])


def collect(tree):
    """Let the module that collects names have those of modules that are there."""
    path = tree / COLLECTING
    if path.exists():
        text = (ROOT / COLLECTING).read_text(encoding="utf-8")

        def exists(module):
            place = tree / module.replace(".", "/")
            return place.is_dir() or place.with_suffix(".py").exists()

        path.write_text(without_missing(text, exists), encoding="utf-8")


def without_missing(text, exists):
    """
    Return the text of a module without its imports from modules for which `exists`
    is not true, and without the lines of __all__ with their names.
    """
    lines, gone = text.splitlines(keepends=True), set()
    for node in ast.parse(text).body:
        if isinstance(node, ast.ImportFrom) and not exists(node.module):
            count = node.end_lineno - node.lineno + 1
            lines[node.lineno - 1 : node.end_lineno] = [""] * count
            gone |= {f'"{alias.name}",' for alias in node.names}
    return "".join(line for line in lines if line.strip() not in gone)
