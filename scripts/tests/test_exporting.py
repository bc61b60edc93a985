"""Tests of the commits that scripts/export makes."""

import ast
import os
import subprocess
import sys
import unittest
from functools import cache
from pathlib import Path

from fork import exporting
from fork.base import BUILD, ROOT, Problem, git
from fork.exporting import COLLECTING, place, planned, read, without_missing
from fork.trees import assemble, remove
from fork.venvs import environment

MANIFEST = """\
# What is what.

Added toys.

They are blue.

    django/toys/
    tests/toys/test_toys.py

----

Added colours of toys.

    django/toys/colours.py
"""

COLLECTED = """\
from django.toys.blue import Blue
from django.toys.red import (
    Red,
    Rose,
)

__all__ = [
    "Blue",
    "Red",
    "Rose",
]
"""

IMPORT = """
import importlib, sys
import django
from django.conf import settings

settings.configure()
django.setup()
for name in ["django.channels", *sys.argv[1:]]:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as exc:
        # Optional packages need not be installed.
        if exc.name.startswith("django"):
            raise
"""


class ManifestTests(unittest.TestCase):
    def setUp(self):
        self.commits = read(MANIFEST)

    def test_commits(self):
        first, second = self.commits
        self.assertEqual(first.message, "Added toys.\n\nThey are blue.")
        self.assertEqual(first.names, ["django/toys/", "tests/toys/test_toys.py"])
        self.assertEqual(second.message, "Added colours of toys.")

    def test_a_file_goes_before_its_folder(self):
        files = ["django/toys/a.py", "django/toys/b/c.py", "django/toys/colours.py"]
        files.append("tests/toys/test_toys.py")
        self.assertEqual(
            place(self.commits, files), [[*files[:2], files[3]], [files[2]]]
        )

    def test_each_file_has_one_commit(self):
        for files, sentence in [
            (["tests/toys/other.py"], "tests/toys/other.py is in no commit."),
            ([], "django/toys/colours.py does not exist."),
        ]:
            with self.assertRaisesRegex(Problem, sentence):
                place(self.commits, files)
        self.commits[1].names.append("django/toys/")
        with self.assertRaisesRegex(Problem, "django/toys/ is there 2 times."):
            place(self.commits, [])

    def test_collected_names_are_those_of_modules_that_exist(self):
        self.assertEqual(
            without_missing(COLLECTED, {"django.toys.blue"}.__contains__),
            'from django.toys.blue import Blue\n\n__all__ = [\n    "Blue",\n]\n',
        )
        self.assertEqual(without_missing(COLLECTED, lambda module: True), COLLECTED)


def module_name(file):
    """Return the name by which a file of the overlay is imported."""
    parts = Path(file).with_suffix("").parts
    parts = parts[1:] if parts[0] == "tests" else parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def imported_names(file):
    """
    Return the names of modules, and of what is in them, that a file imports when it
    is imported itself.
    """
    package = module_name(file).split(".")
    if not file.endswith("__init__.py"):
        package.pop()
    found = set()

    def visit(node):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            return
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else []
            base = ".".join([*base, *filter(None, [node.module])])
            found.update(f"{base}.{alias.name}" for alias in node.names)
            found.add(base)
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse((ROOT / file).read_text(encoding="utf-8")))
    return found


class ProjectTests(unittest.TestCase):
    """The branch of this checkout."""

    @classmethod
    def setUpClass(cls):
        cls.plan = planned()
        cls.tree = exporting.export(BUILD / "export-tested", "channels")
        cls.addClassCleanup(remove, cls.tree)

    def test_messages(self):
        log = git(self.tree, "log", "--format=%s", "--reverse", "channels")
        subjects = [commit.message.splitlines()[0] for commit, _ in self.plan]
        self.assertEqual(log.splitlines()[1:], subjects)
        for subject in subjects:
            with self.subTest(subject):
                self.assertRegex(subject, r"^[A-Z].*\.$")
                self.assertLessEqual(len(subject), 72)

    def test_nothing_is_imported_that_comes_later(self):
        modules = {}
        for _, files in self.plan:
            for file in files:
                if file.endswith(".py") and not file.startswith("docs/"):
                    modules[module_name(file)] = file
        collected = {}
        for node in ast.parse((ROOT / COLLECTING).read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    name = f"{module_name(COLLECTING)}.{alias.name}"
                    collected[name] = modules[node.module]
        there = set()
        for commit, files in self.plan:
            there.update(files)
            for file in set(files) & set(modules.values()) - {COLLECTING}:
                needed = {
                    modules.get(name) or collected.get(name)
                    for name in imported_names(file)
                }
                with self.subTest(file):
                    self.assertEqual(needed - there - {None}, set())

    def test_each_commit_can_be_imported(self):
        log = git(self.tree, "log", "--format=%H", "--reverse", "channels")
        self.addCleanup(git, self.tree, "checkout", "--quiet", "channels")
        for (commit, files), digest in zip(
            self.plan, log.splitlines()[1:], strict=True
        ):
            git(self.tree, "checkout", "--quiet", digest)
            names = [
                module_name(file)
                for file in files
                if file.startswith("django/") and file.endswith(".py")
            ]
            done = subprocess.run(
                [sys.executable, "-c", IMPORT, *names],
                env=environment(PYTHONPATH=str(self.tree), PYTHONDONTWRITEBYTECODE="1"),
                capture_output=True,
                text=True,
            )
            with self.subTest(commit.message.splitlines()[0]):
                self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_the_end_is_the_assembled_tree(self):
        assembled = assemble(BUILD / "assembled-tested").path
        self.addCleanup(remove, assembled)
        exported, expected = contents(self.tree), contents(assembled)
        differing = {
            name
            for name in exported.keys() | expected.keys()
            if exported.get(name) != expected.get(name)
        }
        self.assertEqual(differing, set())


def contents(tree):
    """Return the hashes of the files of a tree by their names."""
    found = {}
    for folder, folders, names in os.walk(tree, followlinks=True):
        folders[:] = [name for name in folders if name not in {".git", "__pycache__"}]
        for name in names:
            path = Path(folder, name)
            found[path.relative_to(tree).as_posix()] = hash(path.read_bytes())
    return found
