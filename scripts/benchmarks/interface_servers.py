"""The processes of the interface server, and of what it is compared with."""

import os
import re
import signal
import socket
import subprocess
import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from fork.base import Problem
from fork.venvs import Venv

from . import load
from .layers_stores import Store
from .servers import START_TIMEOUT
from .sides import Side

# Django comes from the tree. With redis 8, whose reads time out after 5 seconds,
# channels_redis 4.3 fails where it waits that long.
PEERS = (
    "channels==4.3.*",
    "channels_redis==4.3.*",
    "daphne==4.*",
    "uvicorn[standard]>=0.30,<1",
    "redis>=5.1,<8",
    "hiredis>=3.0",
)

# What the site has the worker of Channels do; see peers/consumers.py.
WORKER_CHANNEL = "echo"

# Seconds; an interface server takes up to 30 for what is in hand.
STOP_TIMEOUT = 40

# Seconds in which processes take no time of a processor once they are done.
QUIET = 0.15
SETTLE_TIMEOUT = 10  # Seconds.


def peers_side(unpatched):
    """Return a Side with the packages PEERS, in an environment of their own."""
    venv = Venv("bench-peers", PEERS)
    if not venv.is_ready():
        venv.create()
        venv.pip("install", *PEERS)
        venv.pip("uninstall", "--yes", "Django")
        venv.finish()
    return replace(unpatched, name="peers", python=venv.python)


@dataclass(frozen=True)
class Subject:
    """Something that serves the site. ``store`` is where its processes meet."""

    side: Side
    store: Store

    def commands(self, port):
        """
        Return the arguments of Python of each process. The first is the one that
        listens on the port.
        """
        raise NotImplementedError

    def environment(self):
        return self.side.environment()


@dataclass(frozen=True)
class Interface(Subject):
    """
    The interface server and a worker. ``options`` are those of runinterface and
    ``limits`` is the setting CHANNELS_LIMITS, as JSON.
    """

    options: tuple = ()
    limits: str = "{}"

    def commands(self, port):
        server = ["runinterface", f"127.0.0.1:{port}", *self.options]
        return [
            ["-m", "django", *server, "--skip-checks"],
            ["-m", "django", "runworker", "--skip-checks"],
        ]

    def environment(self):
        return self.side.environment(
            **self.store.environment,
            BENCH_APP="benchmarks.project.sockets",
            BENCH_LIMITS=self.limits,
        )


class Gunicorn(Subject):
    def commands(self, port):
        options = ["--workers", "1", "--worker-class", "sync", "--threads", "1"]
        site = ["benchmarks.project.wsgi", "--bind", f"127.0.0.1:{port}"]
        return [["-m", "gunicorn", *site, *options]]


class Peer(Subject):
    """Channels 4 under an ASGI server."""

    application = "benchmarks.peers.asgi:application"

    def environment(self):
        env = self.side.environment(BENCH_REDIS=self.store.redis)
        return env | {"DJANGO_SETTINGS_MODULE": "benchmarks.peers.settings"}


class Daphne(Peer):
    def commands(self, port):
        # Else it would write an access log.
        options = ["--verbosity", "0", "--bind", "127.0.0.1", "--port", str(port)]
        return [["-m", "daphne", *options, self.application]]


class DaphneWorker(Daphne):
    """The same with a worker of Channels."""

    def commands(self, port):
        worker = ["-m", "django", "runworker", "--skip-checks", WORKER_CHANNEL]
        return [*super().commands(port), worker]


class Uvicorn(Peer):
    def commands(self, port):
        options = ["--no-access-log", "--log-level", "warning", "--port", str(port)]
        return [["-m", "uvicorn", *options, self.application]]


class Servers:
    """The processes of a subject, which serve at ``port`` within the context."""

    def __init__(self, subject):
        self.subject = subject

    def __enter__(self):
        self.port, self.processes = free_port(), []
        env = self.subject.environment()
        with ExitStack() as stack:
            stack.callback(self.stop)
            for number, arguments in enumerate(self.subject.commands(self.port)):
                self.processes.append(self.spawn(number, arguments, env))
            self.wait_for_answer()
            self.stack = stack.pop_all()
        return self

    def __exit__(self, *exc_info):
        self.stack.close()

    def log_path(self, number):
        name = type(self.subject).__name__.lower()
        return self.subject.side.scratch / f"{name}-{number}.log"

    def spawn(self, number, arguments, env):
        side = self.subject.side
        with open(self.log_path(number), "w") as log:
            return subprocess.Popen(
                [side.python, *arguments],
                env=env,
                cwd=side.scratch,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # CONTROL-C ends this script, which then stops them in order.
                start_new_session=True,
            )

    def wait_for_answer(self):
        request, deadline = load.request("GET", "/"), time.monotonic() + START_TIMEOUT
        while True:
            self.check()
            try:
                return load.transfer(self.port, request, START_TIMEOUT)
            except OSError as exc:
                if time.monotonic() > deadline:
                    raise Problem(
                        f"There was no answer; see {self.log_path(0)}"
                    ) from exc
                time.sleep(0.02)

    def check(self):
        """Raise Problem if a process has ended."""
        for number, process in enumerate(self.processes):
            if process.poll() is not None:
                raise Problem(f"A server has ended; see {self.log_path(number)}.")

    def stop(self):
        for process in self.processes:
            process.send_signal(signal.SIGTERM)
        for number, process in enumerate(self.processes):
            try:
                process.wait(STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                for pid in self.family(number):
                    os.kill(pid, signal.SIGKILL)
                process.wait()

    def family(self, number):
        """Return the process of this number and its children, as their numbers."""
        pids = [self.processes[number].pid]
        for pid in pids:
            children = Path(f"/proc/{pid}/task/{pid}/children")
            pids += map(int, children.read_text().split())
        return pids

    def memory(self):
        """
        Return the bytes of what listens on the port, with its share of what other
        processes have as well (Pss).
        """
        total = 0
        for pid in self.family(0):
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
            total += int(re.search(r"^Pss: *(\d+) kB", rollup, re.MULTILINE)[1]) * 1024
        return total

    def settle(self):
        """Return once the processes have no more to do, and raise if one is gone."""
        self.check()
        deadline, before = time.monotonic() + SETTLE_TIMEOUT, None
        while before != (now := self.ticks()) and time.monotonic() < deadline:
            before = now
            time.sleep(QUIET)
        self.check()

    def ticks(self):
        """Return the time of a processor that the processes have taken."""
        total = 0
        for number in range(len(self.processes)):
            for pid in self.family(number):
                fields = (
                    Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                )
                total += int(fields[11]) + int(fields[12])
        return total


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]
