"""The way back from an edited tree into the series."""

from . import series
from .base import Problem, shown
from .trees import Tree


def refresh(path, force=False):
    """
    Make patches/ from the commits and the edits of the tree at path.

    Return the names of the patches that were added, changed or removed. Raise
    Problem, with tree and patches unchanged, where a human has to decide.
    """
    tree = Tree(path)
    if not tree.state:
        raise Problem(f"{shown(tree.path)} is not assembled: run scripts/assemble.")
    if not tree.is_current() and not force:
        raise Problem(
            f"patches/ or the upstream version changed after {shown(tree.path)} was "
            "assembled. Put them back (git stash), refresh, and merge then; --force "
            "overwrites patches/ by what the tree holds."
        )
    base = tree.state["base"]
    refuse_new_files(tree)
    fold(tree, base, owners(tree, base))
    changed = series.write(series.export(tree.path, base))
    tree.save_state(base)
    return changed


def refuse_new_files(tree):
    """Raise Problem if the tree holds new files: they belong to the overlay."""
    names = tree.untracked()
    if names:
        moves = "\n  ".join(f"mv {shown(tree.path / name)} {name}" for name in names)
        raise Problem(f"New files belong to the overlay; move them there:\n  {moves}")


def owners(tree, base):
    """Return {commit: [name]} of edited files by the last patch that touches them."""
    edited, orphans = {}, []
    for name in tree.modified():
        commit = tree.git("log", "-1", "--format=%H", f"{base}..HEAD", "--", name)
        if commit:
            edited.setdefault(commit, []).append(name)
        else:
            orphans.append(name)
    if orphans:
        raise Problem(
            f"No patch touches {', '.join(orphans)} yet. Commit the edit in "
            f"{shown(tree.path)} with a message that says why it is needed and with "
            "the trailers Forwarded: and Bug:, then refresh again."
        )
    return edited


def fold(tree, base, edited):
    """Fold edited files, and commits marked as fixups, into their patches."""
    before = tree.git("rev-parse", "HEAD")
    tree.git("reset", "--quiet")
    for commit, names in edited.items():
        tree.git("add", "--all", "--", *names)
        tree.git("commit", "--quiet", "--no-verify", f"--fixup={commit}")
    subjects = tree.git("log", "--format=%s", f"{base}..HEAD").splitlines()
    if not any(subject.startswith(("fixup! ", "squash! ")) for subject in subjects):
        return
    try:
        tree.git("rebase", "--quiet", "--interactive", "--autosquash", base)
    except Problem as problem:
        tree.git("rebase", "--abort", check=False)
        tree.git("reset", "--quiet", before)
        raise Problem(
            f"The edits do not fold into their patches: {problem}\nCommit them in "
            f"{shown(tree.path)} as patches of their own, or rebase there by hand."
        ) from None
