"""A checkout with a small series and overlay for the tests to play with."""

import atexit
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

from fork.base import ROOT, git_environment, pinned_version
from fork.trees import fetch_sdist, upstream

FILES = ("setup.py", "pyproject.toml", "MANIFEST.in", "README.rst", "LICENSE")
OVERLAY = {
    "django/toys/__init__.py": '"""Toys."""\n\nCOLOUR = "blue"\n',
    "django/core/toy.py": '"""A toy in a package of upstream\'s."""\n',
    "django/toys/data/colours.txt": "blue\n",
    "tests/toys/__init__.py": "",
    "docs/topics/toys.txt": "Toys\n====\n",
}
MESSAGE = """\
Marked the {name}.

A comment cannot be added from outside.

Forwarded: no
Bug: none
"""
MARKED = {"wsgi": "django/core/wsgi.py", "asgi": "django/core/asgi.py"}
PATCHES = [f"Marked-the-{name}.patch" for name in MARKED]


COMMITS = """\
Added toys.

They are blue.

    django/
    docs/
    tests/

----

Marked modules.

    patches/
"""


class Checkout:
    """A copy of the project's scripts and packaging in a folder of its own."""

    def __init__(self, share_upstream=True):
        self.path = Path(tempfile.mkdtemp(prefix="checkout-"))
        atexit.register(shutil.rmtree, self.path, ignore_errors=True)
        for name in (*FILES, "AUTHORS"):
            shutil.copy(ROOT / name, self.path / name)
        pycache = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / "scripts", self.path / "scripts", ignore=pycache)
        for name, text in OVERLAY.items():
            self.write(name, text)
        self.write("scripts/commits.txt", COMMITS)
        sdist = fetch_sdist(pinned_version())
        (self.path / "build").mkdir()
        (self.path / "build/cache").symlink_to(sdist.parent)
        if share_upstream:
            (self.path / "build/upstream").symlink_to(upstream())

    def write(self, name, text):
        """Write a file of the checkout."""
        (self.path / name).parent.mkdir(parents=True, exist_ok=True)
        (self.path / name).write_text(text, encoding="utf-8")

    def read(self, name):
        return (self.path / name).read_text(encoding="utf-8")

    def edit(self, name, old, new):
        """Replace the first occurrence of a text in a file of the checkout."""
        text = self.read(name)
        assert old in text, f"{old!r} is not in {name}"
        self.write(name, text.replace(old, new, 1))

    def script(self, name, *arguments):
        """Run a script and return (status, all that it printed)."""
        result = subprocess.run(
            [sys.executable, self.path / "scripts" / name, *arguments],
            cwd=self.path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        return result.returncode, result.stdout

    def git(self, *arguments, tree="build/tree"):
        """Run git in a tree of the checkout and return its output."""
        return subprocess.run(
            ["git", *arguments],
            cwd=self.path / tree,
            env=git_environment(),
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        ).stdout.strip()

    def patches(self):
        """Return {name: content} of what is in patches/."""
        return {path.name: path.read_bytes() for path in self.folder.iterdir()}

    @property
    def folder(self):
        return self.path / "patches"

    def restore(self, patches):
        """Put patches/ back to what patches() returned."""
        shutil.rmtree(self.folder)
        self.folder.mkdir()
        for name, content in patches.items():
            (self.folder / name).write_bytes(content)

    def make_series(self):
        """Make a series of two patches by committing in the assembled tree."""
        self.script("assemble")
        for name, file in MARKED.items():
            text = self.read(f"build/tree/{file}")
            self.write(f"build/tree/{file}", f"# A mark.\n{text}")
            self.git("commit", "--quiet", "-a", "-m", MESSAGE.format(name=name))
        return self.script("refresh")


@cache
def shared_checkout():
    """Return the checkout with a series that the tests share and restore."""
    checkout = Checkout()
    status, output = checkout.make_series()
    assert status == 0, output
    return checkout


def upstream_lines(name, count):
    """Return lines from the middle of a file of upstream."""
    lines = (upstream() / name).read_text(encoding="utf-8").splitlines(keepends=True)
    middle = len(lines) // 2
    return "".join(lines[middle : middle + count])
