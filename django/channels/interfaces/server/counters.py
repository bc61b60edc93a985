"""What an interface process counts, for people and for monitoring."""

from bisect import bisect_left
from collections import Counter

# Upper bounds in seconds of what a Histogram tells apart.
BOUNDS = (
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1,
    2.5,
    5,
    10,
    30,
    60,
)

STATUS_CLASSES = tuple(f"http.answered.{digit}xx" for digit in range(10))

# The beginnings of names that have a place of their own in describe().
TOLD = (
    "connections",
    "http.answered.",
    "http.refused.",
    "websocket.accepted",
    "websocket.closed.",
    "websocket.received",
    "websocket.refused.",
    "websocket.sent",
)


class Histogram:
    """Durations, by how long they were."""

    __slots__ = ("counts", "sum")

    def __init__(self):
        # One for each of BOUNDS, and one for what is longer than all of them.
        self.counts = [0] * (len(BOUNDS) + 1)
        self.sum = 0

    def add(self, seconds):
        """Count a duration."""
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.sum += seconds

    def describe(self):
        """
        Return a dict of JSON values: "counts" by BOUNDS, "sum" in seconds, and "p50"
        and "p99", the seconds that half of the durations, or 99 of 100, do not exceed.
        """
        counts = list(self.counts)
        return {
            "counts": counts,
            "sum": round(self.sum, 6),
            "p50": quantile(counts, 0.5),
            "p99": quantile(counts, 0.99),
        }


def quantile(counts, part):
    """
    Return about which duration `part` of those in the counts of a Histogram do not
    exceed, or None without any. More than the last bound is not told apart.
    """
    wanted, seen, lower = sum(counts) * part, 0, 0
    if not wanted:
        return None
    for count, upper in zip(counts, BOUNDS):
        if seen + count >= wanted:
            return round(lower + (upper - lower) * (wanted - seen) / count, 6)
        seen, lower = seen + count, upper
    return lower


class Counters(Counter):
    """
    How often things have happened, by names such as "websocket.refused.origin". One
    thread changes it, and others may copy it.

    `answers` are the times from when a request was sent until the first message of
    its response came, `acknowledgements` those from when a message of a WebSocket
    was sent until a worker was done with it.
    """

    def __init__(self, *args):
        super().__init__(*args)
        self.answers = Histogram()
        self.acknowledgements = Histogram()

    def note_status(self, status):
        """Count a response."""
        self[STATUS_CLASSES[status // 100]] += 1

    def note_close(self, code):
        """Count a WebSocket that is closed. Codes from 3000 on are up to clients."""
        self[f"websocket.closed.{code if code < 3000 else f'{code // 1000}xxx'}"] += 1

    def below(self, prefix):
        """Return a dict of what has been counted, by what follows `prefix` in names."""
        return {
            name.removeprefix(prefix): number
            for name, number in sorted(dict(self).items())
            if name.startswith(prefix)
        }

    def beside(self, *prefixes):
        """Return a dict of what has been counted, but for names with `prefixes`."""
        return {
            name: number
            for name, number in sorted(dict(self).items())
            if not name.startswith(prefixes)
        }


def describe(server):
    """
    Return a dict of JSON values about `server`, an InterfaceServer, that says what it
    is doing and has done. Any thread may call it.
    """
    counters, websockets = server.counters, server.websockets
    return {
        "receiving": not server.relay.outage.is_on,
        "stopping": server.is_stopping,
        "connections": {
            "open": server.connections,
            "total": counters["connections"],
            "refused": counters["connections.too_many"],
        },
        "requests": counters.below("http.answered."),
        "refused": counters.below("http.refused."),
        "websockets": {
            "open": len(websockets),
            "accepted": counters["websocket.accepted"],
            "refused": counters.below("websocket.refused."),
            "closed": counters.below("websocket.closed."),
        },
        "messages": {
            "received": counters["websocket.received"],
            "sent": counters["websocket.sent"],
        },
        "events": counters.beside(*TOLD),
        "drops": dict(server.backend.drops),
        "answers": counters.answers.describe(),
        "acknowledgements": counters.acknowledgements.describe(),
    }
