"""The interface server as a LiveServerTestCase has it."""

import threading
from contextlib import contextmanager

from django.channels.background import background
from django.channels.layers import DEFAULT_CHANNEL_ALIAS, channels
from django.channels.registry import registry
from django.channels.signals import (
    consumer_finished,
    consumer_started,
    worker_started,
    worker_stopped,
)
from django.core.handlers.wsgi import WSGIHandler
from django.db import connections
from django.test.testcases import _MediaFilesHandler

# Seconds for which a thread waits for the one that uses the shared connections. One
# that waits for another to answer must not wait for ever.
PATIENCE = 1

WEBSOCKET_CHANNELS = (
    "django.websocket.connect",
    "django.websocket.receive",
    "django.websocket.disconnect",
)


class SharedConnections:
    """
    Has the threads of consumers use `overrides`, database connections by alias, as
    those of requests do in turn().

    They are those to SQLite in memory, whose tables belong to one connection. It has
    one transaction at a time, so that its threads take turns.
    """

    def __init__(self, overrides):
        self._overrides = overrides
        self._lock = threading.Lock()
        self._local = threading.local()

    def connect(self):
        """Begin with the threads that start from now on."""
        if self._overrides:
            for signal, receiver in self._receivers():
                signal.connect(receiver)

    def disconnect(self):
        """End, when the threads have ended."""
        for signal, receiver in self._receivers():
            signal.disconnect(receiver)

    def _receivers(self):
        return [
            (worker_started, self._share),
            (worker_stopped, self._give_back),
            (consumer_started, self._begin),
            (consumer_finished, self._end),
        ]

    @contextmanager
    def turn(self):
        """Return a context in which the current thread uses the connections."""
        if not self._overrides:
            yield
            return
        self._share()
        self._begin()
        try:
            yield
        finally:
            self._end()
            self._give_back()

    def _share(self, **kwargs):
        for alias, connection in self._overrides.items():
            connections[alias] = connection

    def _give_back(self, **kwargs):
        for alias in self._overrides:
            del connections[alias]

    def _begin(self, **kwargs):
        self._local.has_turn = self._lock.acquire(timeout=PATIENCE)

    def _end(self, **kwargs):
        if self._local.has_turn:
            self._local.has_turn = False
            self._lock.release()


class LiveInterface:
    """
    Has what LiveServerTestCase wants of a LiveServerThread, and serves by an
    InterfaceServer.
    """

    def __init__(self, host, static_handler, connections_override=None, port=0):
        self.host = host
        self.port = port
        self.static_handler = static_handler
        self.connections_override = connections_override or {}
        self._shared = SharedConnections(self.connections_override)
        self.is_ready = threading.Event()
        self.error = None

    def start(self):
        # Needs gevent, which those do without who use no live server.
        from django.channels.interfaces.server.threads import ServerThread

        background.stop()
        self._application = self.static_handler(_MediaFilesHandler(WSGIHandler()))
        # Raises OSError if it cannot have the address.
        self._thread = ServerThread((self.host, self.port), self._answer)
        self._shared.connect()
        self._thread.start()
        self.port = self._thread.port
        self.start_consumers()
        self.is_ready.set()

    def terminate(self):
        self._thread.stop()
        background.stop()
        self._shared.disconnect()

    def _answer(self, environ, start_response):
        with self._shared.turn():
            return self._application(environ, start_response)

    def start_consumers(self):
        """Let the consumers of WebSockets run in this process, whatever the backend."""
        backend = channels[DEFAULT_CHANNEL_ALIAS]
        for channel in WEBSOCKET_CHANNELS:
            if registry.get(channel) is not None:
                background.message_sent(backend, channel)
        for channel, queue in backend.queues().items():
            if queue.delayed:
                background.message_sent(backend, channel)
