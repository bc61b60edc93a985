"""
Measure the channel layers, and workers on them.

Each row has the median of its samples and, where there is something to compare
with, that of the reference and the ratio of both, taken in the order A B B A.
The spread is the range of the middle half of the rounds. All of it takes some
twenty minutes, on a machine that should be doing nothing else.

  queue      sends and receives a second of one thread, in bursts of 100
  turn       a send and a receive in one thread, one after the other
  exchange   a message that another process answers in the first one's inbox:
             one that calls receive() and reply(), and a consumer of runworker
  drain      messages a second of one process of runworker that finds them
             waiting, by a consumer that does nothing
  hello      a hello view by gunicorn, Redis and one process of runworker
  rest       the share of a processor that an idle runworker takes
  wake       the time from a send until an idle runworker calls the consumer

The reference is redis-py's client with RPUSH and BLPOP of the same text, in the
same number of processes; it pops messages one by one, which a worker does not if
consumers are quick. For "hello" it is the unpatched Django under gunicorn with one
sync worker. The patched one is under gunicorn with one worker of 32 threads, of
which each waits for one answer at a time; "by threads" compares it with the
unpatched one under the same gunicorn. The system chooses the processors of all.
"""

from dataclasses import dataclass

from fork.base import BUILD, Problem, say

from . import layers_probes as probes
from .comparing import Bound, Measure, Plan, compare
from .layers_probes import Subject
from .layers_stores import REMOTE, TITLES, open_stores
from .memory import conclude
from .reporting import Table, write_json
from .sides import add_side_arguments, find_sides

QUEUES = Plan(starts=2, rounds=5, seconds=0.2)
EXCHANGES = Plan(starts=4, rounds=10, seconds=0.2)
DRAINS = Plan(starts=1, rounds=4, seconds=2, warm_up=False)
LOADS = Plan(starts=3, rounds=8, seconds=0.5)
RESTS = Plan(starts=1, rounds=2, seconds=20, warm_up=False)
WAKES = Plan(starts=1, rounds=2, seconds=35, warm_up=False)

KEYS = ("queue", "turn", "exchange", "drain", "hello", "rest", "wake")
COMPARED = ("redis", "socket")
AT_REST = ("redis", "sqlite", "postgresql")
CONNECTIONS = (1, 8, 32)

# Milliseconds, in the median and of 99 of 100.
WAKE_BOUNDS = {"redis": 2, "sqlite": 100, "postgresql": 10}

SIDES = ("channels", "reference")
FREE, FREE_RATIO = Bound("figure"), Bound("ratio")


@dataclass(frozen=True)
class LayerMeasure(Measure):
    """A measure of the layer with the key ``store``."""

    store: str = "redis"
    is_compared: bool = False
    connections: int = 1
    threads: bool = False


def measure(key, title, unit, store, probe, plan, bound=None, parts=(), **options):
    """
    Return a measure of a store. ``parts`` are (key, title, unit, bound) of each
    figure if there are several.
    """
    options = {"is_compared": store in COMPARED} | options
    free = FREE_RATIO if options["is_compared"] else FREE
    return LayerMeasure(
        key=f"{key}-{store}",
        title=f"{title}, {TITLES[store]}",
        unit=unit,
        bound=bound or free,
        probe=probe,
        plan=plan,
        store=store,
        parts=tuple(
            measure(f"{key}-{name}", words, unit, store, probe, plan, limit, **options)
            for name, words, unit, limit in parts
        ),
        **options,
    )


def all_measures():
    """Yield all measures, in their order."""
    rate = "messages/s"
    for store in TITLES:
        parts = [("sends", "sends", rate, None), ("receives", "receives", rate, None)]
        yield measure("queue", "", "", store, probes.QueueProbe, QUEUES, parts=parts)
    for store in TITLES:
        title = "send and receive"
        yield measure("turn", title, "µs", store, probes.TurnProbe, QUEUES)
    yield from exchange_measures()
    for store in COMPARED:
        yield measure(
            *("drain", "drain by a worker", rate, store, probes.DrainProbe, DRAINS),
            Bound("figure", at_least=8000),
        )
    for count in CONNECTIONS:
        yield hello_measure("hello", f"hello, c={count}", count)
    for count in CONNECTIONS:
        title = f"hello by threads, c={count}"
        yield hello_measure("hello-threads", title, count, threads=True)
    for store in AT_REST:
        bound = Bound("figure", at_most=1) if store == "redis" else FREE
        yield measure(
            *("rest", "worker at rest", "% of CPU", store, probes.RestProbe, RESTS),
            *(bound,),
            is_compared=False,
        )
    for store in AT_REST:
        bound = Bound("figure", at_most=WAKE_BOUNDS[store])
        parts = [
            ("median", "wake-up, median", "ms", bound),
            ("p99", "wake-up, 99 of 100", "ms", bound),
        ]
        yield measure(
            *("wake", "", "", store, probes.WakeProbe, WAKES),
            parts=parts,
            is_compared=False,
        )


def exchange_measures():
    for store in REMOTE:
        bound = Bound("ratio", at_most=2.5) if store in COMPARED else None
        title, probe = "push and reply", probes.ExchangeProbe
        yield measure("exchange", title, "µs", store, probe, EXCHANGES, bound)
    for store in REMOTE:
        title, probe = "push and reply of a worker", probes.worker_exchange_probe
        yield measure("exchange-worker", title, "µs", store, probe, QUEUES)


def hello_measure(key, title, connections, threads=False):
    parts = [
        ("rate", title, "requests/s", None),
        ("median", f"{title}, median", "ms", None),
        ("p99", f"{title}, 99 of 100", "ms", None),
    ]
    return measure(
        *(f"{key}-{connections}", "", "", "redis", probes.server_probe, LOADS),
        parts=parts[:1] if threads else parts,
        connections=connections,
        threads=threads,
    )


def add_arguments(parser):
    parser.add_argument(
        "--only", nargs="+", choices=KEYS, metavar="KEY", help="measure these alone"
    )
    parser.add_argument(
        "--stores",
        nargs="+",
        choices=list(TITLES),
        default=list(TITLES),
        metavar="STORE",
        help=f"measure these alone: {', '.join(TITLES)}",
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
        "--profile",
        action="store_true",
        help="measure nothing: profile sends, and a worker's loop",
    )
    add_side_arguments(parser)


def run(options):
    """Measure what the options ask for and return the exit status."""
    if options.repeat < 1:
        raise Problem("--repeat must be 1 or more.")
    sides = find_sides(options.patched, options.unpatched, BUILD / "bench")
    with open_stores(sides[0], options.stores) as stores:
        if options.profile:
            return profile(sides[0], stores)
        table, results = Table(SIDES), []
        for measure in all_measures():
            wanted = not options.only or measure.key.split("-")[0] in options.only
            if wanted and measure.store in stores:
                plan = measure.plan.quick() if options.quick else measure.plan
                subjects = make_subjects(measure, sides, stores[measure.store])
                result = compare(measure, subjects, plan.repeated(options.repeat))
                for part in result.split() if measure.parts else [result]:
                    table.print_row(part)
                    results.append(part)
    if options.json:
        write_json(options.json, sides, results, SIDES)
    return conclude(results, options.quick)


def make_subjects(measure, sides, store):
    """Return what is measured, and what it is compared with."""
    subjects = [Subject(sides[0], store)]
    if measure.key.startswith("hello"):
        subjects.append(Subject(sides[1]))
    elif measure.is_compared:
        subjects.append(Subject(sides[0], store, "bare"))
    return subjects


def profile(side, stores):
    """Print profiles of the layers, and return the exit status."""
    for key in REMOTE:
        if key in stores:
            with Subject(side, stores[key]).player() as player:
                say(f"{TITLES[key]}\n{player.ask('profile_layer', 5000)}")
    return 0
