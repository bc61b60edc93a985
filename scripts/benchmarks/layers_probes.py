"""The probes of the benchmark of layers: what is measured, and between whom."""

import signal
import statistics
import subprocess
import time
from contextlib import ExitStack
from dataclasses import dataclass

from fork.base import Problem

from . import load
from .inprocess import Caller
from .layers_stores import Store
from .servers import STOP_TIMEOUT, Server
from .sides import Side

# Messages a second that a drain is planned for, wakes a second.
DRAIN_RATE = 10_000
WAKE_RATE = 3


@dataclass(frozen=True)
class Subject:
    """
    What a probe measures: channels on a store, or what they are compared with.
    ``kind`` is "channels" or "bare", see layers_player.py.
    """

    side: Side
    store: Store = None
    kind: str = "channels"

    @property
    def name(self):
        return f"{self.kind}-{self.store.key}"

    def player(self):
        return Player(self.side, **self.store.environment)


class Player(Caller):
    module = "benchmarks.layers_player"


class Worker:
    """A process of runworker."""

    def __init__(self, subject):
        self.subject = subject

    def __enter__(self):
        side = self.subject.side
        self.log = open(side.scratch / f"worker-{self.subject.store.key}.log", "w")
        self.process = subprocess.Popen(
            [side.python, "-m", "django", "runworker", "--skip-checks"],
            env=side.environment(**self.subject.store.environment),
            cwd=side.scratch,
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
            start_new_session=True,
        )
        return self

    def __exit__(self, *exc_info):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()

    def check(self, answer):
        """Return the answer to a question to the worker, which has to be there."""
        if answer is None:
            raise Problem(f"runworker did not answer; see {self.log.name}.")
        return answer


class Probe:
    """A context with the processes of one subject."""

    with_worker = False

    def __init__(self, subject, measure):
        self.subject = subject

    def __enter__(self):
        with ExitStack() as stack:
            self.open(stack)
            self.stack = stack.pop_all()
        return self

    def open(self, stack):
        """Start the processes."""
        self.player = stack.enter_context(self.subject.player())
        if self.with_worker:
            self.worker = stack.enter_context(Worker(self.subject))
            self.ask_worker()

    def __exit__(self, *exc_info):
        self.stack.close()

    def ask_worker(self):
        return self.worker.check(self.player.ask("ask_worker"))


class QueueProbe(Probe):
    """Measures sends and receives a second."""

    def sample(self, seconds):
        return self.player.ask("time_queue", self.subject.kind, seconds)


class TurnProbe(Probe):
    """Measures the microseconds of a send and a receive in one thread."""

    def sample(self, seconds):
        return self.player.ask("time_turns", self.subject.kind, seconds) * 1e6


class ExchangeProbe(Probe):
    """Measures the microseconds of a message to another process and its reply."""

    def open(self, stack):
        super().open(stack)
        self.other = stack.enter_context(self.subject.player())

    def sample(self, seconds):
        kind = self.subject.kind
        self.other.tell("answer", kind)
        exchange = self.player.ask("time_exchanges", kind, "bench.answered", seconds)
        self.player.ask("end_answers", kind)
        self.other.hear()
        return exchange * 1e6


class WorkerExchangeProbe(Probe):
    """Measures the same with a consumer of runworker that sends the reply."""

    with_worker = True

    def sample(self, seconds):
        question = ("time_exchanges", "channels", "bench.echo", seconds)
        return self.player.ask(*question) * 1e6


def worker_exchange_probe(subject, measure):
    """Return the probe of a worker, or what it is compared with."""
    is_bare = subject.kind == "bare"
    return (ExchangeProbe if is_bare else WorkerExchangeProbe)(subject, measure)


class DrainProbe(Probe):
    """Measures messages a second, of a worker that is started for each sample."""

    def sample(self, seconds):
        count = int(seconds * DRAIN_RATE)
        if self.subject.kind == "bare":
            return self.player.ask("drain_bare", count)
        channels = self.player.ask("fill", count)
        with Worker(self.subject) as worker:
            elapsed = worker.check(self.player.ask("time_between", *channels))
        return (count - 1) / elapsed


class RestProbe(Probe):
    """Measures how much of a processor a worker takes that has nothing to do."""

    with_worker = True

    def sample(self, seconds):
        before = self.ask_worker()
        time.sleep(seconds)
        after = self.ask_worker()
        return (after["cpu"] - before["cpu"]) / (after["now"] - before["now"]) * 100


class WakeProbe(Probe):
    """Measures the milliseconds in which a worker at rest wakes up."""

    with_worker = True

    def sample(self, seconds):
        times = self.player.ask("time_wakes", int(seconds * WAKE_RATE))
        return [value * 1e3 for value in median_and_last_percent(times)]


def median_and_last_percent(values):
    """Return the median, and what 99 of 100 values are below."""
    percentiles = statistics.quantiles(values, n=100, method="inclusive")
    return percentiles[49], percentiles[98]


class PlainServer(Server):
    """Measures requests a second and their latency (ms): median, 99 of 100."""

    def __init__(self, subject, measure):
        super().__init__(subject.side, measure)
        self.subject = subject
        self.connections = measure.connections

    def start(self, fd):
        # Not on a processor of its own: a worker and Redis need one as well.
        return self.spawn(fd)

    def sample(self, seconds):
        elapsed, latencies = load.measure(
            self.port, self.url, seconds, self.connections
        )
        latency = [value * 1e3 for value in median_and_last_percent(latencies)]
        return [len(latencies) / elapsed, *latency]


class ThreadedServer(PlainServer):
    """The same with threads."""

    options = ("--workers", "1", "--worker-class", "gthread", "--threads", "32")


class ChannelsServer(ThreadedServer):
    """The same with a worker, for which each request waits in a thread."""

    def environment(self):
        return self.side.environment(self.middleware, **self.subject.store.environment)

    def __enter__(self):
        self.worker = Worker(self.subject).__enter__()
        try:
            return super().__enter__()
        except BaseException:
            self.worker.__exit__()
            raise

    def __exit__(self, *exc_info):
        super().__exit__(*exc_info)
        self.worker.__exit__()


def server_probe(subject, measure):
    """Return the probe of gunicorn with or without channels."""
    if subject.store:
        return ChannelsServer(subject, measure)
    return (ThreadedServer if measure.threads else PlainServer)(subject, measure)
