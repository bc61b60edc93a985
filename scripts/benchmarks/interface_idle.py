"""Many WebSockets that are idle for minutes and then hear a broadcast."""

import math
from contextlib import ExitStack
from dataclasses import replace

from fork.base import say

from .comparing import Bound, Measure, Plan, Result
from .interface_probes import Load
from .interface_servers import Servers

# Descriptors are limited, to 20,000 a process on some systems.
SOCKETS_PER_PROCESS = 10_000
CLIENTS = 2  # At least.
FIRST = 50  # WebSockets of each client before memory is looked at.

PATIENCE = 30  # Seconds.
PATH = "/group/"


def hold(interface, count, minutes):
    """
    Hold so many WebSockets, by the interface server ``interface``, a subject, for so
    many minutes. Return the results.
    """
    processes = math.ceil(count / SOCKETS_PER_PROCESS)
    if processes > 1:
        interface = replace(interface, options=("--processes", str(processes)))
    with ExitStack() as stack:
        servers = stack.enter_context(Servers(interface))
        clients = [
            stack.enter_context(Load(interface.side))
            for _ in range(max(CLIENTS, processes))
        ]
        open_on(servers.port, clients, FIRST * len(clients))
        before = servers.memory()
        opened = open_on(servers.port, clients, count - FIRST * len(clients))
        memory = servers.memory() - before
        say(f"{opened:,} WebSockets are open. They are held for {minutes:g} minutes.")
        answers = ask_all(clients, ("keep", minutes * 60))
        left, pings = (sum(figures) for figures in zip(*answers))
        servers.check()
        heard, seconds = broadcast(clients)
    each = memory / (count - FIRST * len(clients))
    return [
        figure("open", "idle WebSockets that stayed open", "", left, at_least=count),
        figure("pings", "pings that they answered", "", pings),
        figure("heard", "of them heard a broadcast", "", heard, at_least=count),
        figure("last", "the last of them after", "s", seconds, at_most=2),
        figure("each", "memory of each", "bytes", each),
        figure("memory", "memory of all", "MB", memory / 1e6),
    ]


def open_on(port, clients, count):
    """Have the clients open so many WebSockets, and return how many are open."""
    shares = [count // len(clients)] * len(clients)
    shares[0] += count % len(clients)
    for number, (client, share) in enumerate(zip(clients, shares)):
        # Of an address each: one has some 28,000 ports.
        client.tell("hold", port, PATH, share, f"127.0.0.{number + 2}")
    return sum(client.hear() for client in clients)


def ask_all(clients, question):
    """Ask all at once, and return their answers."""
    for client in clients:
        client.tell(*question)
    return [client.hear() for client in clients]


def broadcast(clients):
    """
    Have the last client send to all. Return how many have heard, and the seconds
    until the last of them had.
    """
    for client in clients:
        client.tell("hear", PATIENCE, client is clients[-1])
    answers = [client.hear() for client in clients]
    began = answers[-1][1]
    return (
        sum(heard for heard, *_ in answers),
        max(last for *_, last in answers) - began,
    )


def figure(key, title, unit, value, **limits):
    """Return the Result of a figure that is taken once."""
    plan = Plan(starts=1, rounds=1, seconds=0, warm_up=False)
    bound = Bound("figure", **limits)
    measure = Measure(f"idle-{key}", title, unit, bound, probe=None, plan=plan)
    return Result(measure, [[value]], [[]])
