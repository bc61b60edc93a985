"""Tests of measuring what tests cover."""

import contextlib
import io
import os
import signal
import subprocess
import sys
import sysconfig
import tempfile
import unittest
from importlib.util import find_spec
from pathlib import Path
from unittest import mock

from fork import coverage
from fork.base import Problem
from fork.venvs import environment

MODULE = """\
import os
import sys


def ends(how):
    if how == "exit":
        return "by itself"
    elif how == "_exit":
        os._exit(0)
    elif how == "fork":
        if os.fork() == 0:
            in_child = True
            os._exit(0)
        os.wait()
    elif how == "greenlet":
        import greenlet
        greenlet.greenlet(switched).switch()
    elif how == "never":
        return "not at all"
    else:
        print("waits", flush=True)
        sys.stdin.read()


def switched():
    in_greenlet = True


ends(sys.argv[1])
"""
NEVER = MODULE[: MODULE.index("not at all")].count("\n") + 1


@unittest.skipUnless(
    os.name == "posix" and find_spec("coverage") and find_spec("greenlet"),
    "Needs coverage.py and greenlet.",
)
@unittest.skipUnless(
    Path(sysconfig.get_path("purelib"), coverage.PTH[0]).exists(),
    "Needs the test environment.",
)
class MeasuringTests(unittest.TestCase):
    def setUp(self):
        folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.overlay, self.place = folder / "overlay", folder / "place"
        self.tree = folder / "tree"
        for path in (self.overlay / "core", self.tree):
            path.mkdir(parents=True)
        (self.overlay / "core/module.py").write_text(MODULE)
        (self.tree / "module.py").symlink_to(self.overlay / "core/module.py")

    def run_module(self, how):
        """Start the module by its link. Return the process, whose output is read."""
        process = subprocess.Popen(
            [sys.executable, self.tree / "module.py", how],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment(),
        )
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        self.assertEqual(process.stdout.readline(), "waits\n" if how == "wait" else "")
        return process

    def report(self):
        """Return (percentage, what was printed) of the report."""
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            return coverage.report(sys.executable, self.place), printed.getvalue()

    def test_processes_measure_themselves(self):
        with coverage.measuring(self.overlay, self.place):
            for how in ["exit", "_exit", "fork", "greenlet"]:
                self.assertEqual(self.run_module(how).wait(), 0, how)
            process = self.run_module("wait")
            process.send_signal(signal.SIGTERM)
            self.assertEqual(process.wait(), -signal.SIGTERM)
        covered, printed = self.report()
        row = next(line for line in printed.splitlines() if "core/module.py" in line)
        self.assertIn(f" {NEVER}", row)
        self.assertGreater(covered, 80)
        self.assertLess(covered, 100)

    def test_modules_that_nothing_imports_count(self):
        (self.overlay / "core/other.py").write_text("import os\n" * 200)
        with coverage.measuring(self.overlay, self.place):
            self.run_module("exit").wait()
        covered, printed = self.report()
        self.assertIn("core/other.py", printed)
        self.assertLess(covered, 10)

    def test_what_upstreams_tests_set_measures_nothing(self):
        with mock.patch.dict(os.environ, COVERAGE_PROCESS_START=__file__):
            self.run_module("exit").wait()

    def test_others_are_not_measured(self):
        with coverage.measuring(self.overlay, self.place):
            pass
        self.run_module("exit").wait()
        self.assertEqual([path.name for path in self.place.iterdir()], ["config"])
        with self.assertRaisesRegex(Problem, "No data to combine"):
            self.report()


class TotalTests(unittest.TestCase):
    def test_percentage(self):
        printed = (
            "Name  Stmts\na.py  7\nTOTAL   120   8   30   2   93.33%\n\n5 files.\n"
        )
        self.assertEqual(coverage.total(printed), 93.33)

    def test_no_percentage(self):
        with self.assertRaisesRegex(Problem, "could not tell"):
            coverage.total("No data to report.\n")
