"""Tests of reading what test runs print, and of the comparison of two runs."""

import unittest

from fork.base import ROOT
from fork.comparison import compare, listed
from fork.parts import ON_EACH_LAYER
from fork.suites import DATABASE, LAYERS, Result, parse

LINE = "=" * 70
OUTPUT = f"""\
Found 7 test(s).
FAIL: printed by a test (some.place)
..Fs
{LINE}
FAIL: test_a (app.tests.ATests.test_a) (number=1)
{LINE}
FAIL: test_a (app.tests.ATests.test_a) (number=2)
{LINE}
ERROR: test_b (app.tests.ATests)
{LINE}
ERROR: setUpClass (app.tests.BTests)
{LINE}
ERROR: app.broken (unittest.loader._FailedTest.app.broken)
{LINE}
UNEXPECTED SUCCESS: test_c (app.tests.ATests.test_c)

Ran 7 tests in 0.012s

FAILED (failures=2, errors=3, skipped=1, unexpected successes=1)
"""


class ParseTests(unittest.TestCase):
    def test_failures(self):
        self.assertEqual(
            parse(OUTPUT).failed,
            [
                "app.tests.ATests.test_a",
                "app.tests.ATests.test_b",
                "app.tests.BTests",
                "app.broken",
                "app.tests.ATests.test_c",
            ],
        )

    def test_numbers(self):
        result = parse(OUTPUT)
        self.assertEqual((result.ran, result.skipped, result.passed), (7, 1, 1))
        self.assertTrue(result.complete)

    def test_no_end(self):
        self.assertFalse(parse("Found 7 test(s).\n..F").complete)

    def test_success(self):
        result = parse("...\nRan 3 tests in 0.1s\n\nOK (skipped=2)\n")
        self.assertTrue(result.ok)
        self.assertEqual((result.passed, result.skipped), (1, 2))


class CompareTests(unittest.TestCase):
    def compare(self, patched, unpatched, alone=None, known=()):
        def rerun(tests):
            self.assertIsNotNone(alone, f"{tests} ran again")
            return tuple(Result(len(tests), failed) for failed in alone)

        return compare(patched, unpatched, rerun, known)

    def test_equal(self):
        counted, defects, notes = self.compare(Result(9, [], 1), Result(9, [], 1))
        self.assertEqual((counted.passed, defects, notes), (8, [], []))

    def test_failure_on_both(self):
        counted, defects, notes = self.compare(Result(9, ["a"]), Result(9, ["a"]))
        self.assertEqual((counted.failed, defects), ([], []))
        self.assertEqual(notes, ["fails also on unpatched Django: a"])

    def test_failure_that_the_docs_list(self):
        counted, defects, notes = self.compare(
            Result(9, ["a"]), Result(9), known=["a", "b"]
        )
        self.assertEqual((counted.failed, defects), ([], []))
        self.assertEqual(
            notes, ["cannot hold on a wire, see docs/internals/channels-design.txt: a"]
        )

    def test_the_docs_list_three_at_most(self):
        self.assertIn("handlers.tests.SignalsTests.test_request_signals", listed())
        self.assertLessEqual(len(listed()), 3)

    def test_new_failure(self):
        alone = (["a"], [])
        counted, defects, _ = self.compare(Result(9, ["a"]), Result(9), alone)
        self.assertEqual(counted.failed, ["a"])
        self.assertEqual(defects, ["fails on patched Django only: a"])

    def test_failure_that_unpatched_shows_alone(self):
        alone = (["a"], ["a"])
        counted, defects, notes = self.compare(Result(9, ["a"]), Result(9), alone)
        self.assertEqual((counted.failed, defects), ([], []))
        self.assertEqual(notes, ["fails alone, also on unpatched Django: a"])

    def test_unstable_test(self):
        alone = ([], [])
        _, defects, notes = self.compare(Result(9, ["a"]), Result(9), alone)
        self.assertEqual(defects, [])
        self.assertIn("UNSTABLE", notes[0])

    def test_other_numbers(self):
        _, defects, _ = self.compare(Result(8, [], 2), Result(9, [], 1))
        self.assertEqual(
            defects,
            [
                "8 tests ran, 9 on unpatched Django.",
                "2 tests were skipped, 1 on unpatched Django.",
            ],
        )

    def test_no_end(self):
        _, defects, _ = self.compare(Result(9, complete=False), Result(9))
        self.assertEqual(
            defects, ["The run on patched Django did not come to its end."]
        )


class LayerTests(unittest.TestCase):
    """What runs on each layer is there."""

    def test_modules(self):
        for name in ON_EACH_LAYER:
            with self.subTest(name):
                self.assertTrue((ROOT / f"tests/channels/{name}.py").is_file())

    def test_settings(self):
        for layer in (*LAYERS[1:], DATABASE):
            with self.subTest(layer.name):
                self.assertTrue((ROOT / f"tests/{layer.settings}.py").is_file())
