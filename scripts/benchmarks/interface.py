"""
Measure the interface server, side by side with its peers.

One process of runinterface, one of runworker and a Redis server of their own
answer the same requests and WebSockets as what they are compared with:

  gunicorn      the unpatched Django under gunicorn with one sync worker
  daphne,       Channels 4.3 in the process of daphne or of uvicorn, as their
  uvicorn       documentation recommends for production, without an access log
  with worker   the same in daphne, which sends each frame to a worker of Channels
                through channels_redis, and that its echo back

A round takes a sample of the sides A and B in the order A B B A; the figures are
medians over all rounds, the spread is the range of the middle half of the rounds.
All processes start anew several times, and each sample opens connections of its
own. What loads them is one process with one thread, the same for all. The system
chooses the processors of all processes: on two cores the load, Redis, the
interface process and its worker share what a peer in one process shares with the
load alone. All of it takes some twenty minutes, on a machine that should be doing
nothing else.

  hello      requests a second for a trivial view, of so many (c) at once, on
             connections that are used again if the server lets them, as browsers
             and proxies do: gunicorn's sync worker does not; "anew" each on a new
             connection; with an async view, the view of the reference is one,
             which spares it a thread
  echo       echoes a second; each of 50 WebSockets sends when the last came back
  broadcast  what 500 WebSockets hear a second of broadcasts to all of them, each
             of which all of them have to hear; 4 are under way at once
  lone       the time of the echo of one WebSocket that is alone
  idle       memory of the server (Pss) for each of 3,000 idle WebSockets
  neighbour  the time of a request of a client that is alone while another one is
             hostile: 200 heads that come byte by byte, 4 WebSockets that flood it
             with small frames, that send 16 MB as 16 KB, or that announce frames
             of 1 GB, and 8 connections of broken requests

--idle N holds N idle WebSockets for --minutes M, answers pings, and sends to all
of them at the end; nothing else is measured then. Each 10,000 of them have an
interface process and a client process of their own.
"""

from dataclasses import dataclass, replace

from fork.base import BUILD, Problem

from . import interface_idle, interface_servers
from .comparing import Bound, Measure, Plan, compare
from .interface_hostile import KINDS
from .interface_probes import IdleProbe, LoadProbe, NeighbourProbe
from .layers_stores import open_stores
from .memory import conclude
from .reporting import Table, write_json
from .sides import add_side_arguments, find_sides

LOADS = Plan(starts=2, rounds=4, seconds=0.7)
BROADCASTS = Plan(starts=2, rounds=3, seconds=1.5)
LONE = Plan(starts=2, rounds=3, seconds=2)
IDLE = Plan(starts=1, rounds=2, seconds=0, warm_up=False)
NEIGHBOURS = Plan(starts=1, rounds=3, seconds=2, warm_up=False)

KEYS = ("hello", "echo", "broadcast", "lone", "idle", "neighbour")
SIDES = ("interface", "reference")
FREE, FREE_RATIO = Bound("figure"), Bound("ratio")

REFERENCES = {
    "gunicorn": interface_servers.Gunicorn,
    "daphne": interface_servers.Daphne,
    "daphne with worker": interface_servers.DaphneWorker,
    "uvicorn": interface_servers.Uvicorn,
}


@dataclass(frozen=True)
class InterfaceMeasure(Measure):
    """
    A measure by a function of interface_load.py, ``load``, with ``path`` and
    ``connections``. ``reference`` is the name of what it is compared with, if
    there is any, and ``hostile`` the name of a function of interface_hostile.py.
    """

    load: str = "hello"
    path: str = "/"
    connections: int = 1
    reference: str = None
    hostile: str = None

    def quick(self):
        """Return the measure of a smoke run."""
        connections = min(self.connections, 500)
        return replace(self, plan=self.plan.quick(), connections=connections)


def measure(key, title, unit, bound, plan, probe=LoadProbe, parts=(), **options):
    """
    Return a measure. ``parts`` are (key, words, bound) of each figure if there
    are several.
    """
    key = key.replace(", ", "-").replace(" ", "-")
    if reference := options.get("reference"):
        title = f"{title}, {reference}"
    parts = tuple(
        Measure(f"{key}-{name}", f"{title}, {words}", unit, limit, probe, plan)
        for name, words, limit in parts
    )
    return InterfaceMeasure(
        key, title, unit, bound, probe, plan, parts=parts, **options
    )


def median_and_p99(median, p99):
    """Return the parts of a measure that have these bounds."""
    return [("median", "median", median), ("p99", "99 of 100", p99)]


def hello(connections, reference, at_least=None, words="", load="hello", path="/"):
    return measure(
        *(f"hello{words}-{connections}-{reference}", f"hello{words}, c={connections}"),
        *("requests/s", Bound("ratio", at_least=at_least), LOADS),
        load=load,
        path=path,
        connections=connections,
        reference=reference,
    )


def echo(reference, path, at_least=None):
    return measure(
        *(f"echo-{reference}", "echo, 50 sockets", "echoes/s"),
        *(Bound("ratio", at_least=at_least), LOADS),
        load="echo",
        path=path,
        connections=50,
        reference=reference,
    )


def broadcast(reference):
    return measure(
        *(f"broadcast-{reference}", "broadcast to 500", "heard/s"),
        *(Bound("ratio", at_least=20), BROADCASTS),
        load="broadcast",
        path="/group/",
        connections=500,
        reference=reference,
    )


def lone(reference, path):
    return measure(
        *(f"lone-{reference}", "lone echo", "ms", FREE, LONE),
        parts=median_and_p99(FREE, Bound("figure", at_most=2)),
        load="echo",
        path=path,
        reference=reference,
    )


def idle(reference, at_most=None):
    return measure(
        *(f"idle-{reference}", "idle socket", "bytes"),
        *(Bound("figure", at_most=at_most), IDLE, IdleProbe),
        path="/echo/",
        connections=3000,
        reference=reference,
    )


def neighbour(kind, function):
    return measure(
        *(f"neighbour-{function.__name__}", f"hello beside {kind}", "ms"),
        *(FREE, NEIGHBOURS, NeighbourProbe),
        parts=median_and_p99(Bound("figure", at_most=10), FREE),
        hostile=function.__name__,
    )


def all_measures():
    """Return all measures, in their order."""
    return [
        hello(32, "gunicorn", 1),
        hello(32, "daphne", 5),
        hello(32, "uvicorn", 5),
        hello(32, "uvicorn", words=", async view", path="/async/"),
        hello(1, "gunicorn"),
        hello(8, "gunicorn"),
        *(
            hello(count, "gunicorn", words=" anew", load="hello_anew")
            for count in (1, 8, 32)
        ),
        hello(32, "uvicorn", words=" anew", load="hello_anew"),
        echo("daphne with worker", "/worker/", 10),
        echo("daphne", "/echo/", 1.2),
        echo("uvicorn", "/echo/"),
        broadcast("daphne"),
        broadcast("uvicorn"),
        lone("daphne with worker", "/worker/"),
        idle("daphne", 7000),
        idle("uvicorn"),
        *(neighbour(kind, function) for kind, function in KINDS.items()),
    ]


def add_arguments(parser):
    parser.add_argument(
        "--only", nargs="+", choices=KEYS, metavar="KEY", help="measure these alone"
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
        "--idle",
        type=int,
        nargs="?",
        const=20_000,
        metavar="N",
        help="hold N idle WebSockets instead (default: 20000)",
    )
    parser.add_argument(
        "--minutes",
        type=float,
        default=10,
        metavar="M",
        help="for so many minutes (default: 10)",
    )
    add_side_arguments(parser)


def run(options):
    """Measure what the options ask for and return the exit status."""
    if options.repeat < 1 or (options.idle is not None and options.idle < 1000):
        raise Problem("--repeat must be 1 or more, and --idle 1000 or more.")
    raise_descriptor_limit()
    sides = find_sides(options.patched, options.unpatched, BUILD / "bench")
    table, results = Table(SIDES), []
    with open_stores(sides[0], ["redis"]) as stores:
        if not stores:
            raise Problem("Interface servers and workers meet on Redis.")
        if options.idle:
            interface = interface_servers.Interface(sides[0], stores["redis"])
            found = interface_idle.hold(interface, options.idle, options.minutes)
        else:
            found = compare_all(options, sides, stores["redis"])
        for result in found:
            table.print_row(result)
            results.append(result)
    if options.json:
        write_json(options.json, sides, results, SIDES)
    return conclude(results, options.quick)


def raise_descriptor_limit():
    """Let processes have as many descriptors as the system allows."""
    import resource  # Not on Windows, where other benchmarks run.

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def compare_all(options, sides, store):
    """Yield the results of the measures that the options ask for."""
    for measure in all_measures():
        if options.only and measure.key.split("-")[0] not in options.only:
            continue
        if options.quick:
            measure = measure.quick()
        subjects = make_subjects(measure, sides, store)
        result = compare(measure, subjects, measure.plan.repeated(options.repeat))
        yield from result.split() if measure.parts else [result]


def make_subjects(measure, sides, store):
    """Return what is measured, and what it is compared with."""
    # Compression is an option that makes bombs possible.
    limits = '{"COMPRESSION": true}' if measure.hostile else "{}"
    subjects = [interface_servers.Interface(sides[0], store, limits=limits)]
    if measure.reference:
        kind = REFERENCES[measure.reference]
        is_peer = issubclass(kind, interface_servers.Peer)
        side = interface_servers.peers_side(sides[1]) if is_peer else sides[1]
        subjects.append(kind(side, store))
    return subjects
