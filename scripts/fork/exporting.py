"""The series and the overlay as a branch of commits."""

import shutil
from pathlib import Path

from . import series
from .base import OVERLAY, ROOT, Problem, git, shown
from .trees import clone, commit_all, overlay_files, remove, upstream

MESSAGES = {
    "django": "Added channels.",
    "tests": "Added tests for channels.",
    "docs": "Added documentation for channels.",
}


def export(target, branch):
    """
    Make a git repository at target: upstream's release, then a commit for each
    folder of the overlay and one for each patch, on a branch of this name.
    """
    target = Path(target).resolve()
    marker = target / ".git/exported"
    if target.exists() and any(target.iterdir()) and not marker.exists():
        raise Problem(f"{shown(target)} is not empty: name another --dir.")
    tree = clone(upstream(), target)
    marker.touch()
    git(tree, "checkout", "--quiet", "-b", branch)
    date = git(tree, "log", "-1", "--format=%ct")
    for folder in OVERLAY:
        copy_overlay(folder, tree)
        if git(tree, "status", "--porcelain"):
            commit_all(tree, MESSAGES[folder], date)
    try:
        series.apply(tree)
    except Problem:
        remove(tree)
        raise
    return tree


def copy_overlay(folder, tree):
    """Copy a folder of the overlay into a tree."""
    for name in overlay_files():
        if name.startswith(f"{folder}/"):
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, tree / name)
