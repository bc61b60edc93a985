"""Tests of reading the report on Autobahn's cases."""

import unittest

from fork.autobahn import result

KNOWN = ["1.1.1", "1.1.2", "12.1.1"]


def report(*verdicts):
    """Return a report on the first known cases: (behavior, closing) of each."""
    results = [
        {
            "id": case,
            "behavior": behavior,
            "closing": closing,
            "why": "Why.",
        }
        for case, (behavior, closing) in zip(KNOWN, verdicts)
    ]
    return {"known": KNOWN, "results": results}


class ResultTests(unittest.TestCase):
    def test_all_pass(self):
        found = result(
            report(
                ("OK", "OK"), ("NON-STRICT", "OK"), ("INFORMATIONAL", "INFORMATIONAL")
            )
        )
        self.assertTrue(found.ok)
        self.assertEqual(found.passed, 3)

    def test_what_does_not_pass(self):
        for behavior, closing in [
            ("FAILED", "OK"),
            ("ERROR", "OK"),
            ("UNIMPLEMENTED", "OK"),
            ("OK", "UNCLEAN"),
            ("OK", "WRONG CODE"),
            ("OK", "FAILED BY CLIENT"),
        ]:
            with self.subTest(behavior=behavior, closing=closing):
                found = result(report(("OK", "OK"), (behavior, closing), ("OK", "OK")))
                self.assertEqual(
                    found.failed, [f"1.1.2: {behavior}, closing {closing}. Why."]
                )
                self.assertFalse(found.ok)

    def test_a_case_that_did_not_run(self):
        self.assertFalse(result(report(("OK", "OK"), ("OK", "OK"))).complete)
