"""Upstream's suite on the patched tree against the same on unpatched Django."""

import hashlib
import json
import os
import platform
import re
from dataclasses import asdict

from .base import BUILD, ROOT, pinned_version, say
from .suites import Layer, Result, apps, run_tests

UNPATCHED = Layer("unpatched")

LIST = "docs/internals/channels-design.txt"
LIST_TITLE = "Upstream's tests that cannot hold"


def unpatched_result(env, tree, parallel):
    """
    Return the Result of the suite on unpatched Django on this machine.

    It is measured once for an upstream version, a Python and a set of
    installed packages, and kept in build/unpatched.
    """
    user = os.geteuid() if hasattr(os, "geteuid") else None
    key = [pinned_version(), platform.python_version(), env.packages(), user]
    digest = hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16]
    kept = BUILD / "unpatched" / f"{digest}.json"
    if kept.exists():
        result = Result(**json.loads(kept.read_text()))
        say(f"Measured before on unpatched Django: {describe(result)}.")
        return result
    say(f"Upstream's suite on unpatched Django {pinned_version()}:")
    result = run_tests(env.python, tree, apps(tree / "tests"), UNPATCHED, parallel)
    if result.failed:
        say("Failed on unpatched Django; once more, alone, to leave out chance:")
        again = run_tests(env.python, tree, result.failed, UNPATCHED, 1)
        result.failed = [test for test in result.failed if test in again.failed]
    if result.complete:
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps(asdict(result)))
    return result


def describe(result):
    """Return the numbers of a Result in words."""
    return f"{result.ran} tests, {len(result.failed)} failed, {result.skipped} skipped"


def listed():
    """
    Return the labels of upstream's tests that cannot hold on a wire, from the
    page of the docs that gives the reason for each.
    """
    text = (ROOT / LIST).read_text(encoding="utf-8")
    _, _, section = text.partition(f"\n{LIST_TITLE}\n")
    section, *_ = re.split(r"\n.+\n[=-]{4,}\n", section.lstrip("=-\n"))
    return re.findall(r"^\* ``([\w.]+\.test_\w+)``", section, re.MULTILINE)


def compare(patched, unpatched, rerun, known=()):
    """
    Return (Result to count, defects, notes), the latter two lists of sentences.

    A test that fails on both, or that is one of ``known``, is no defect. A test
    that fails on the patched tree alone is run once more by itself: ``rerun``
    takes labels and returns the Results of the patched and of the unpatched tree.
    """
    defects, notes = [], []
    if not patched.complete or not unpatched.complete:
        which = "unpatched" if patched.complete else "patched"
        defects.append(f"The run on {which} Django did not come to its end.")
    if patched.ran != unpatched.ran:
        defects.append(f"{patched.ran} tests ran, {unpatched.ran} on unpatched Django.")
    if patched.skipped != unpatched.skipped:
        defects.append(
            f"{patched.skipped} tests were skipped, {unpatched.skipped} on unpatched "
            "Django."
        )
    for test in patched.failed:
        if test in unpatched.failed:
            notes.append(f"fails also on unpatched Django: {test}")
        elif test in known:
            notes.append(f"cannot hold on a wire, see {LIST}: {test}")
    new = [test for test in patched.failed if test not in [*unpatched.failed, *known]]
    failed = []
    if new:
        failed, more = judge(new, *rerun(new))
        defects += [f"fails on patched Django only: {test}" for test in failed]
        notes += more
    excused = len(patched.failed) - len(failed)
    counted = Result(patched.ran - excused, failed, patched.skipped, patched.complete)
    return counted, defects, notes


def judge(new, patched, unpatched):
    """
    Return (failed, notes) for tests that failed in the patched run only, given
    the Results of running them alone on both trees.
    """
    failed, notes = [], []
    for test in new:
        if not patched.complete or test in patched.failed:
            if test in unpatched.failed:
                notes.append(f"fails alone, also on unpatched Django: {test}")
            else:
                failed.append(test)
        else:
            alone = "fails" if test in unpatched.failed else "passes"
            notes.append(
                f"UNSTABLE: failed in the patched run, passed there when run alone "
                f"(unpatched: passed in the run, {alone} alone): {test}"
            )
    return failed, notes
