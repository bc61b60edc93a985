"""The interface server on a thread of its own, in the process of a site."""

import atexit
import socket
import threading
from contextlib import suppress

from gevent import get_hub
from gevent import socket as gevent_socket
from gevent.event import Event

from django.channels.interfaces.server.applications import RequestThreads
from django.channels.interfaces.server.relays import make_relay
from django.channels.interfaces.server.servers import InterfaceServer
from django.channels.layers import DEFAULT_CHANNEL_ALIAS, channels

# Connections that the system takes before the server does.
BACKLOG = 1024


class ServerThread(threading.Thread):
    """
    Serves `application`, a WSGI application, and WebSockets at `address`, a pair of
    host and port, until stop() or the end of the process. Raise OSError if the
    address cannot be had.

    `alias` is that of the channel backend, and `options` are those of
    `server_class`, an InterfaceServer.
    """

    def __init__(
        self,
        address,
        application,
        *,
        ipv6=False,
        alias=DEFAULT_CHANNEL_ALIAS,
        server_class=InterfaceServer,
        **options,
    ):
        super().__init__(name="django-channels-interface", daemon=True)
        family = socket.AF_INET6 if ipv6 else socket.AF_INET
        self._listener = socket.create_server(
            address,
            family=family,
            backlog=BACKLOG,
            dualstack_ipv6=ipv6 and socket.has_dualstack_ipv6(),
        )
        self.port = self._listener.getsockname()[1]
        self._application = application
        self._alias = alias
        self._server_class = server_class
        self._options = options
        self._is_ready = threading.Event()
        # As is_alive() may be wrong after a KeyboardInterrupt in join().
        self._has_ended = threading.Event()
        self._error = None

    def start(self):
        """Begin to serve. Raise what keeps the server from it."""
        super().start()
        self._is_ready.wait()
        if self._error is not None:
            raise self._error
        # Python must not end while the hub runs, for that may crash it.
        atexit.register(self.stop)

    def run(self):
        try:
            self._serve()
        finally:
            get_hub().destroy(destroy_loop=True)
            self._has_ended.set()

    def _serve(self):
        try:
            server = self._make_server()
            server.start()
            self._end = Event()
            self._stopper = get_hub().loop.async_()
            self._stopper.start(self._end.set)
        except BaseException as exc:
            self._error = exc
            return
        finally:
            self._is_ready.set()
        try:
            self._end.wait()
            server.stop(timeout=self._grace)
        finally:
            self._stopper.close()

    def _make_server(self):
        listener = self._listener
        return self._server_class(
            gevent_socket.socket(
                listener.family, listener.type, fileno=listener.detach()
            ),
            lambda inbox, deliver: make_relay(self._alias, inbox, deliver),
            answer=RequestThreads(self._application, channels[self._alias]).send,
            **self._options,
        )

    def wait(self):
        """Wait until the server has been stopped, or for a KeyboardInterrupt."""
        # Not for ever, as on some systems that would keep CONTROL-C out.
        while not self._has_ended.wait(1):
            pass

    def stop(self, grace=0):
        """
        Close all sockets, after requests in hand have had `grace` seconds, and
        return when the thread has ended. Any other thread may call it.
        """
        if not self._has_ended.is_set():
            self._grace = grace
            # The hub may be gone already, as another call has stopped it.
            with suppress(ValueError):
                self._stopper.send()
            self.wait()
            self.join()
        # Not earlier, as an interrupt may have ended this call.
        atexit.unregister(self.stop)
