"""The move of the series to another upstream release."""

from . import series
from .base import BUILD, ROOT, Problem, git, pinned_version
from .trees import clone, make_upstream, overlay_files, remove, upstream


def bump(version):
    """
    Rebase the series on another upstream release and name it in pyproject.toml.

    Return (sentences on conflicts, names of changed patches). With conflicts
    nothing is changed.
    """
    old = pinned_version()
    if version == old:
        raise Problem(f"The series is on Django {version} already.")
    scratch = BUILD / "bump"
    remove(scratch)
    try:
        new = make_upstream(version, scratch / "upstream")
        files = series.touched() or ["LICENSE"]
        tree = clone(upstream(), scratch / "tree", only=files)
        conflicts = overlay_conflicts(new, version)
        conflicts += rebase(tree, new, version)
        if conflicts:
            return conflicts, []
        changed = series.write(series.export(tree, "upstream"))
    finally:
        remove(scratch)
    name_version(old, version)
    return [], changed


def overlay_conflicts(new, version):
    """Return sentences on files of the overlay that the new release has itself."""
    return [
        f"{name} of the overlay exists in Django {version}."
        for name in overlay_files()
        if (new / name).exists()
    ]


def rebase(tree, new, version):
    """
    Commit the series on the new release in a clone of the old one.

    The new release is the branch ``upstream`` there. Return sentences on the
    patches that conflict; each is left out for those after it.
    """
    base = git(tree, "rev-parse", "HEAD")
    series.apply(tree)
    commits = git(tree, "rev-list", "--reverse", f"{base}..HEAD").splitlines()
    git(tree, "fetch", "--quiet", new, "HEAD:upstream")
    git(tree, "checkout", "--quiet", "--detach", "upstream")
    conflicts = []
    for name, commit in zip(series.read(), commits, strict=True):
        if git(tree, "cherry-pick", commit, check=False) is None:
            conflicts += describe_conflict(tree, name, version)
            git(tree, "cherry-pick", "--skip")
    return conflicts


def describe_conflict(tree, name, version):
    """Return sentences on what stopped the picking of a patch, one for a file."""
    unmerged = git(tree, "diff", "--name-only", "--diff-filter=U").splitlines()
    if unmerged:
        return [f"patches/{name} conflicts in {file}." for file in unmerged]
    return [f"patches/{name} has nothing left to change in Django {version}."]


def name_version(old, new):
    """Change the one line that names the upstream version."""
    path = ROOT / "pyproject.toml"
    text = path.read_text(encoding="utf-8")
    path.write_text(
        text.replace(f'"Django=={old}"', f'"Django=={new}"'), encoding="utf-8"
    )
