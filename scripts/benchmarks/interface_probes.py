"""The probes of the benchmark of the interface server."""

import time
from contextlib import ExitStack

from fork.base import Problem

from .inprocess import Caller
from .interface_servers import Servers

# WebSockets that are open before memory is looked at.
FIRST = 200

# Seconds in which an attack has begun.
BEGINNING = 0.5


class Load(Caller):
    module = "benchmarks.interface_load"


class Hostile(Caller):
    module = "benchmarks.interface_hostile"


class LoadProbe:
    """
    Measures what a function of interface_load.py returns, for a measure that has
    its name and its arguments: the first figure, or the last ones as parts.
    """

    def __init__(self, subject, measure):
        self.subject = subject
        self.measure = measure

    def __enter__(self):
        with ExitStack() as stack:
            self.servers = stack.enter_context(Servers(self.subject))
            self.load = stack.enter_context(Load(self.subject.side))
            self.open(stack)
            self.stack = stack.pop_all()
        return self

    def open(self, stack):
        """Start what else there is."""

    def __exit__(self, *exc_info):
        self.stack.close()

    def sample(self, seconds):
        measure = self.measure
        question = measure.load, self.servers.port, measure.path, measure.connections
        figures = self.load.ask(*question, seconds)
        # What it does to close connections must not be the other side's burden.
        self.servers.settle()
        return figures[-len(measure.parts) :] if measure.parts else figures[0]


class NeighbourProbe(LoadProbe):
    """Measures the same while another client is hostile, in the measure's way."""

    def open(self, stack):
        self.hostile = stack.enter_context(Hostile(self.subject.side))

    def sample(self, seconds):
        kind, port = self.measure.hostile, self.servers.port
        self.hostile.tell(kind, port, seconds + 2 * BEGINNING)
        time.sleep(BEGINNING)
        figures = super().sample(seconds)
        if not self.hostile.hear():
            raise Problem("The hostile client came to send nothing.")
        return figures


class IdleProbe:
    """Measures bytes of an idle WebSocket, in servers that are new each time."""

    def __init__(self, subject, measure):
        self.subject = subject
        self.measure = measure

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        pass

    def sample(self, seconds):
        path, held = self.measure.path, self.measure.connections
        with Servers(self.subject) as servers, Load(self.subject.side) as load:
            figures = []
            for count in (FIRST, held):
                load.ask("hold", servers.port, path, count)
                servers.settle()
                figures.append(servers.memory())
            return (figures[1] - figures[0]) / held
