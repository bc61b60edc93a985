"""
Compare the patched Django, on its memory layer, with the unpatched release.

A round takes a sample of the sides A and B in the order A B B A; its ratio is
the one of their means. The figures are medians over all rounds; the spread is
the range of the middle half of the rounds (interquartile range). Each side runs
in processes of its own, which are started anew several times. All of it takes
some five minutes, on a machine that should be doing nothing else.

  call, call-middleware    a call of the WSGI handler on a hello view, without
                           middleware and with startproject's
  hello, hello-middleware  the same view under gunicorn with one sync worker,
                           loaded by a client on another processor
  upload, download         10 MB to a view that reads them, and from a
                           FileResponse, through the same server
  rest                     memory of a process that has served one request
"""

from fork.base import BUILD, Problem, say

from .comparing import Bound, Measure, Plan, compare
from .inprocess import CallProbe, MemoryProbe, profile
from .reporting import Table, write_json
from .servers import DownloadProbe, HelloProbe, UploadProbe
from .sides import add_side_arguments, find_sides

CALLS = Plan(starts=5, rounds=12, seconds=0.05)
# Many short ones: the speed of a machine drifts by more than the sides differ.
LOADS = Plan(starts=4, rounds=75, seconds=0.1)
TRANSFERS = Plan(starts=3, rounds=6, seconds=0.4)
MEMORY = Plan(starts=1, rounds=6, seconds=0)

MEASURES = [
    Measure(
        key="call",
        title="handler call",
        unit="µs",
        bound=Bound("ratio", at_most=1.20),
        probe=CallProbe,
        plan=CALLS,
    ),
    Measure(
        key="call-middleware",
        title="handler call, startproject's middleware",
        unit="µs",
        bound=Bound("ratio", at_most=1.10),
        probe=CallProbe,
        plan=CALLS,
        middleware=True,
    ),
    Measure(
        key="hello",
        title="gunicorn, hello",
        unit="requests/s",
        bound=Bound("ratio", at_least=0.97),
        probe=HelloProbe,
        plan=LOADS,
    ),
    Measure(
        key="hello-middleware",
        title="gunicorn, hello, startproject's middleware",
        unit="requests/s",
        bound=Bound("ratio", at_least=0.97),
        probe=HelloProbe,
        plan=LOADS,
        middleware=True,
    ),
    Measure(
        key="upload",
        title="gunicorn, 10 MB upload",
        unit="MB/s",
        bound=Bound("ratio", at_least=0.95),
        probe=UploadProbe,
        plan=TRANSFERS,
        middleware=True,
    ),
    Measure(
        key="download",
        title="gunicorn, 10 MB file response",
        unit="MB/s",
        bound=Bound("ratio", at_least=0.95),
        probe=DownloadProbe,
        plan=TRANSFERS,
        middleware=True,
    ),
    Measure(
        key="rest",
        title="memory at rest",
        unit="MB",
        bound=Bound("difference", at_most=3),
        probe=MemoryProbe,
        plan=MEMORY,
        middleware=True,
    ),
]


def add_arguments(parser):
    keys = [measure.key for measure in MEASURES]
    parser.add_argument(
        "--only", nargs="+", choices=keys, metavar="KEY", help="measure these alone"
    )
    parser.add_argument(
        "--repeat", type=int, default=1, metavar="N", help="take N times the samples"
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="a smoke run of a few samples, in which no bound is an error",
    )
    parser.add_argument(
        "--control",
        action="store_true",
        help="compare the unpatched side with itself: what strays from a ratio of 1 "
        "is the machine's noise",
    )
    parser.add_argument(
        "--profile",
        action="store_true",
        help="measure nothing: profile the handler calls of the patched side",
    )
    add_side_arguments(parser)


def run(options):
    """Measure what the options ask for and return the exit status."""
    if options.repeat < 1:
        raise Problem("--repeat must be 1 or more.")
    sides = find_sides(options.patched, options.unpatched, BUILD / "bench")
    if options.control:
        say("control: both columns are the unpatched Django")
        sides = (sides[1], sides[1])
    if options.profile:
        for middleware in (False, True):
            say(profile(sides[0], middleware))
        return 0
    measures = [m for m in MEASURES if not options.only or m.key in options.only]
    table, results = Table(), []
    for measure in measures:
        plan = measure.plan.quick() if options.quick else measure.plan
        results.append(compare(measure, sides, plan.repeated(options.repeat)))
        table.print_row(results[-1])
    if options.json:
        write_json(options.json, sides, results)
    return conclude(results, options.quick)


def conclude(results, quick):
    """Say which bounds do not hold, and return the exit status."""
    failed = [result.measure.key for result in results if not result.holds]
    if quick:
        say("A smoke run: the samples are too few to judge by.")
        return 0
    say(f"Bounds that do not hold: {', '.join(failed)}." if failed else "All hold.")
    return int(bool(failed))
