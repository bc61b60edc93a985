"""An interface process: a server in the main thread, until a signal ends it."""

import gc
import signal
import threading

import gevent
from gevent import get_hub
from gevent.event import Event

from django.channels.interfaces.server.counters import describe
from django.channels.interfaces.server.relays import HubRelay, make_relay
from django.channels.interfaces.server.servers import InterfaceServer
from django.channels.interfaces.server.status import StatusServer
from django.channels.interfaces.server.tls import TlsServer
from django.channels.processes.announcing import Announcer
from django.channels.processes.handlers import STOP_SIGNALS, exit_now
from django.channels.processes.supervisor import Supervisor
from django.channels.registry import registry

# Seconds that requests in hand are given when the process ends.
GRACE = 30


def make_server(*args, context=None, **options):
    """Return an InterfaceServer, with a Context for TLS one of https."""
    if context is None:
        return InterfaceServer(*args, **options)
    return TlsServer(*args, context=context, **options)


class InterfaceProcess:
    """
    Serves `listener`, a Listener, with the channel backend `alias`, and starts and
    supervises `workers` worker processes by `worker_command`. `link` is its
    ProcessLink, if it has a supervisor itself, and `status` a Listener to tell at
    what it does. `options` are of make_server().
    """

    def __init__(
        self,
        listener,
        alias,
        *,
        workers=0,
        worker_command=(),
        link=None,
        status=None,
        **options,
    ):
        registry.autodiscover()
        self.server = make_server(
            listener.sock,
            lambda inbox, deliver: make_relay(alias, inbox, deliver),
            environ=listener.environ,
            **options,
        )
        backend = self.server.backend
        self._announcer = Announcer(
            backend,
            "interface",
            lambda: {"address": listener.name, **describe(self.server)},
        )
        self._announces = not backend.process_local
        self._status = status and StatusServer(status, self._processes)
        self._link = link
        self._supervisor = Supervisor(worker_command, workers) if workers else None
        self._ended = Event()
        self._signals = 0

    def start(self):
        """Begin to listen."""
        # What is there now stays: looking at all of it takes tens of milliseconds.
        gc.collect()
        gc.freeze()
        self.server.start()
        if self._status is not None:
            self._status.start()

    def run(self):
        """Serve until SIGTERM or SIGINT. A second one ends the process at once."""
        watchers = [
            gevent.signal_handler(number, self._stop, number) for number in STOP_SIGNALS
        ]
        if self._supervisor is not None and hasattr(signal, "SIGHUP"):
            watchers.append(
                gevent.signal_handler(signal.SIGHUP, self._supervisor.restart)
            )
        thread = self._start_supervisor()
        announcing = gevent.spawn(self._announce)
        self._follow_link()
        try:
            self._ended.wait()
            self.server.stop(timeout=GRACE)
        finally:
            announcing.kill()
            self._call(self._announcer.end)
            if self._status is not None:
                self._status.stop()
            if thread is not None:
                self._supervisor.stop()
                get_hub().threadpool.apply(thread.join)
            for watcher in watchers:
                watcher.cancel()

    def _processes(self):
        """Return what the status is told of, in a thread of it."""
        return [self._announcer.info()]

    def _announce(self):
        """Tell the store again and again what the process does."""
        while self._announces:
            self._call(self._announcer.announce_if_due)
            gevent.sleep(self._announcer.seconds_left())

    def _call(self, function):
        """Call one of the Announcer without keeping the hub from its work."""
        if not self._announces:
            return
        relay = self.server.relay
        if isinstance(relay, HubRelay):
            function(relay.outage.is_on)
        else:
            get_hub().threadpool.apply(self._call_in_thread, (function,))

    def _call_in_thread(self, function):
        try:
            function(self.server.relay.outage.is_on)
        finally:
            self.server.backend.release()

    def _start_supervisor(self):
        if self._supervisor is None:
            return None
        thread = threading.Thread(target=self._supervisor.run, name="supervisor")
        thread.start()
        return thread

    def _follow_link(self):
        """Tell the supervisor that the process serves, and end when it is gone."""
        if self._link is not None:
            # Its thread wakes the hub.
            self._orphaned = get_hub().loop.async_()
            self._orphaned.start(self._ended.set)
            self._link.call_at_end(self._orphaned.send)
            self._link.say_ready()

    def _stop(self, number):
        self._signals += 1
        # A supervisor ends by itself what does not end in time, and its signal may
        # come twice.
        if self._signals > 1 and self._link is None:
            if self._supervisor is not None:
                self._supervisor.kill()
            exit_now(128 + number)
        self._ended.set()
