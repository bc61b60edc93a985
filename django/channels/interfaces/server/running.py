"""An interface process: a server in the main thread, until a signal ends it."""

import signal
import threading

import gevent
from gevent.event import Event

from django.channels.background import background
from django.channels.interfaces.server.relays import HubRelay, ThreadRelay
from django.channels.interfaces.server.servers import InterfaceServer
from django.channels.layers import channels
from django.channels.processes.supervisor import Supervisor
from django.channels.registry import registry

# Seconds that requests in hand are given when the process ends.
GRACE = 30


class BackgroundRelay(ThreadRelay):
    """A relay on a process-local backend, whose consumers run in this process."""

    def pushed(self, channel):
        background.message_sent(self.backend, channel)


def make_relay(alias, inbox, deliver):
    """Return the Relay for the channel backend `alias`."""
    backend = channels[alias]
    if is_redis(backend):
        from django.channels.interfaces.server.stores import HubRedisBackend

        return HubRelay(
            HubRedisBackend(alias, channels.settings[alias]), inbox, deliver
        )
    relay_class = BackgroundRelay if backend.process_local else ThreadRelay
    return relay_class(backend, inbox, deliver)


def is_redis(backend):
    """Return whether the hub itself can talk to the store of `backend`."""
    try:
        from django.channels.backends.redis import RedisBackend
    except Exception:
        return False
    return type(backend) is RedisBackend


class InterfaceProcess:
    """
    Serves `listener` with the channel backend `alias`, and starts and supervises
    `workers` worker processes by `worker_command`.
    """

    def __init__(self, listener, alias, *, workers=0, worker_command=(), **options):
        registry.autodiscover()
        self.server = InterfaceServer(
            listener,
            lambda inbox, deliver: make_relay(alias, inbox, deliver),
            **options,
        )
        self._supervisor = None
        if workers:
            self._supervisor = Supervisor(worker_command, workers)
        self._ended = Event()
        self._signals = 0

    def start(self):
        """Begin to listen."""
        self.server.start()

    @property
    def address(self):
        """The address that it listens at, for people."""
        return "{}:{}".format(*self.server.address)

    def run(self):
        """Serve until SIGTERM or SIGINT. A second one ends the process at once."""
        watchers = [
            gevent.signal_handler(number, self._stop)
            for number in (signal.SIGTERM, signal.SIGINT)
        ]
        if self._supervisor is not None and hasattr(signal, "SIGHUP"):
            watchers.append(
                gevent.signal_handler(signal.SIGHUP, self._supervisor.restart)
            )
        thread = self._start_supervisor()
        try:
            self._ended.wait()
            self.server.stop(timeout=GRACE)
        finally:
            for watcher in watchers:
                watcher.cancel()
            if thread is not None:
                self._supervisor.stop()
                gevent.get_hub().threadpool.apply(thread.join)

    def _start_supervisor(self):
        if self._supervisor is None:
            return None
        thread = threading.Thread(target=self._supervisor.run, name="supervisor")
        thread.start()
        return thread

    def _stop(self):
        self._signals += 1
        if self._signals > 1:
            gevent.kill(gevent.getcurrent())
        self._ended.set()
