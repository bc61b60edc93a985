"""Figures of a gunicorn server, which has one sync worker unless said otherwise."""

import os
import signal
import socket
import subprocess
import time
from contextlib import contextmanager

from fork.base import Problem

from . import load

START_TIMEOUT = 30  # Seconds.
STOP_TIMEOUT = 10  # Seconds.


@contextmanager
def processors(server):
    """
    Keep processes that are started within the context to one processor, that of
    servers, or to the others. Where both run would otherwise be left to chance,
    and tell more than what is measured.
    """
    if not hasattr(os, "sched_setaffinity") or len(os.sched_getaffinity(0)) < 2:
        yield
        return
    everywhere = os.sched_getaffinity(0)
    first = {min(everywhere)}
    os.sched_setaffinity(0, first if server else everywhere - first)
    try:
        yield
    finally:
        os.sched_setaffinity(0, everywhere)


class Server:
    """
    gunicorn with the site, on a free port of the loopback interface.

    ``url`` is the path that is asked for once before any measurement, ``options``
    are those of gunicorn.
    """

    url = "/"
    options = ("--workers", "1", "--worker-class", "sync", "--threads", "1")

    def __init__(self, side, measure):
        self.side = side
        self.middleware = measure.middleware

    def __enter__(self):
        self.log = open(self.side.scratch / f"gunicorn-{self.side.name}.log", "w")
        # The port is in use from here on, so that nothing else can take it.
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port = listener.getsockname()[1]
            self.process = self.start(listener.fileno())
        try:
            self.prepare()
        except BaseException:
            self.__exit__()
            raise
        return self

    def start(self, fd):
        with processors(server=True):
            return self.spawn(fd)

    def spawn(self, fd):
        command = ["-m", "gunicorn", "benchmarks.project.wsgi", "--bind", f"fd://{fd}"]
        return subprocess.Popen(
            [self.side.python, *command, *self.options],
            env=self.environment(),
            cwd=self.side.scratch,
            pass_fds=[fd],
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
            # The server and its worker are a group, which ends as a whole.
            start_new_session=True,
        )

    def environment(self):
        """Return the environment of the site."""
        return self.side.environment(self.middleware)

    def prepare(self):
        """Wait for the first answer."""
        try:
            self.transfer(START_TIMEOUT)
        except OSError as exc:
            raise Problem(
                f"gunicorn with the {self.side.name} Django gave no answer ({exc}); "
                f"see {self.log.name}."
            ) from exc

    def __exit__(self, *exc_info):
        self.process.send_signal(signal.SIGQUIT)  # At once: no request is open.
        try:
            self.process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self.log.close()

    def request(self):
        """Return the bytes of the request that is measured."""
        return load.request("GET", self.url)

    def transfer(self, timeout=load.TIMEOUT):
        return load.transfer(self.port, self.request(), timeout)


class HelloProbe(Server):
    """Measures requests per second."""

    def sample(self, seconds):
        with processors(server=False):
            return load.rate(self.port, self.url, seconds)


class TransferProbe(Server):
    """Measures megabytes per second of one transfer after another."""

    def sample(self, seconds):
        size = self.side.payload.stat().st_size
        transfers, start = 0, time.perf_counter()
        while True:
            self.transfer()
            transfers += 1
            elapsed = time.perf_counter() - start
            if elapsed >= seconds:
                return transfers * size / 1e6 / elapsed


class DownloadProbe(TransferProbe):
    url = "/download/"

    def prepare(self):
        super().prepare()
        received, size = self.transfer(), self.side.payload.stat().st_size
        if received < size:
            raise Problem(f"Of {size} bytes {received} came.")


class UploadProbe(TransferProbe):
    url = "/upload/"
    _request = None

    def request(self):
        if self._request is None:
            self._request = load.upload_request(self.url, self.side.payload)
        return self._request
