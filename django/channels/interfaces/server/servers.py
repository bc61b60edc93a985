"""
The interface server: HTTP, long polls, server-sent events and WebSockets on
one address, in one thread.

    client -> ConnectionHandler -> Exchange ---+            +--> worker
                     |                         +-> Relay <--+
                     +-> WebSocket ------------+

User code never runs here: requests and frames become messages, and what comes
in the inbox of the process goes to the connection that it is for.
"""

import itertools
import logging
import secrets
import time
from collections import Counter
from functools import lru_cache, partial
from http import HTTPStatus
from itertools import takewhile

import gevent
from gevent import pywsgi

from django.channels.interfaces.server.addressing import (
    check_host,
    decode_query,
    forwarded,
    named_host,
)
from django.channels.interfaces.server.counters import Counters
from django.channels.interfaces.server.handlers import ConnectionHandler
from django.channels.interfaces.server.handshakes import Upgrade
from django.channels.interfaces.server.patience import Patience
from django.channels.interfaces.server.settings import (
    read_limits,
    room_for_connections,
)
from django.channels.interfaces.server.websockets import WebSockets
from django.channels.interfaces.server.wires import Wire
from django.channels.memberships import Memberships
from django.channels.messages import split_address
from django.channels.processes.console import handlers_of
from django.core.handlers.wsgi import get_path_info

access_logger = logging.getLogger("django.channels.access")
logger = logging.getLogger("django.channels.interface")

INBOX_PREFIX = "django.interface"

# Seconds between two looks at connections that wait for a request.
INTERVAL = 1
REQUEST_CHANNEL = "django.wsgi.request"


class InterfaceServer(pywsgi.WSGIServer):
    """
    Serves `listener`, a listening socket of gevent or an address.

    `make_relay` is called with the name of the inbox and the function that takes
    what comes there, and returns the Relay. `limits` are ServerLimits, those of
    the settings unless given. `name` is for the Server header, which is absent
    without it. `answer` is called with the message of each request, and with what to
    call if it fails; unless given, they are sent to django.wsgi.request. With
    `trust_proxy` the address and the scheme of a client are what
    the last proxy says.
    """

    handler_class = ConnectionHandler
    wire_class = Wire
    scheme = "http"

    # Whether requests for hosts that the site is not for are refused here.
    checks_hosts = True

    def __init__(
        self,
        listener,
        make_relay,
        *,
        limits=None,
        name=None,
        answer=None,
        trust_proxy=False,
        **options,
    ):
        self.limits = limits or read_limits()
        room = self.limits.connections or room_for_connections()
        super().__init__(listener, None, spawn=room, log=None, **options)
        self.name = name
        self.trust_proxy = trust_proxy
        self.is_stopping = False
        # Handlers of connections that wait for their next request.
        self.idle = {}
        self.counters = Counters()
        self.inbox = f"{INBOX_PREFIX}.{secrets.token_hex(8)}!"
        self.relay = make_relay(self.inbox, self.deliver)
        self.backend = self.relay.backend
        self.answer = answer or partial(self.relay.send, REQUEST_CHANNEL)
        self.memberships = Memberships(self.relay.groups, self.inbox)
        self.patience = Patience()
        # How many connections there are, and how many each address has.
        self.connections, self.room = 0, room
        self._addresses = Counter()
        # Channel -> what takes its messages.
        self._receivers = {}
        # The requests that have no complete answer yet.
        self.exchanges = set()
        # The addresses of WebSockets, by channel.
        self._hosts = {}
        self._numbers = itertools.count(1)
        self.websockets = WebSockets(
            self.relay,
            self.backend,
            limits=self.limits.websocket,
            counters=self.counters,
            left=self._leave,
            # A consumer may have added it to a group since it left.
            ended=lambda websocket: self.close_channel(websocket.channel),
            wire_class=self.wire_class,
        )

    def handle(self, sock, address):
        """Serve a connection, unless its address has too many."""
        host = address[0] if address else ""
        most = self.limits.connections_per_address
        # All clients of a Unix socket have the same, which tells nothing.
        if most is not None and host and self._addresses[host] >= most:
            self.counters["connections.too_many"] += 1
            sock.close()
            return
        if self.connections >= self.room:
            # Those of WebSockets count as well, which the pool does not know of.
            self.counters["connections.no_room"] += 1
            sock.close()
            return
        self._addresses[host] += 1
        self.connections += 1
        self.counters["connections"] += 1
        handler = self.handler_class(sock, address, self)
        try:
            handler.handle()
        finally:
            if not handler.is_detached:
                self._forget_address(host)

    def _forget_address(self, host):
        self.connections -= 1
        self._addresses[host] -= 1
        if not self._addresses[host]:
            del self._addresses[host]

    # Channels of this process.

    def open_channel(self, receiver):
        """Return a new channel, whose messages `receiver` is called with."""
        channel = f"{self.inbox}{next(self._numbers)}"
        self._receivers[channel] = receiver
        return channel

    def close_channel(self, channel):
        """Drop what comes on `channel` from now on."""
        if self._receivers.pop(channel, None) is not None:
            self.memberships.close(channel)

    def _leave(self, websocket):
        self._forget_address(self._hosts.pop(websocket.channel))
        self.memberships.close(websocket.channel)

    def _keep_groups(self):
        """Tell the store again and again which members are here."""
        while True:
            gevent.sleep(self.memberships.interval)
            self.memberships.renew()

    def deliver(self, channel, message):
        """Give a message of the inbox to whom it is for."""
        if (group := split_address(channel)) is not None:
            self._deliver_to_group(group, message)
        elif self.memberships.note(channel, message, channel in self._receivers):
            return
        elif (receiver := self._receivers.get(channel)) is not None:
            receiver(message)
        else:
            self.counters["messages.late"] += 1
            credit_channel = message.get("credit_channel")
            if isinstance(credit_channel, str):
                self.relay.send(credit_channel, {"closed": True})

    def _deliver_to_group(self, group, message):
        sockets = []
        for channel in self.memberships.members(group):
            receiver = self._receivers.get(channel)
            if receiver is None:
                continue
            websocket = getattr(receiver, "__self__", None)
            if websocket in self.websockets:
                sockets.append(websocket)
            else:
                receiver(message)
        if sockets:
            self.websockets.broadcast(sockets, message)

    # Requests.

    def request_message(self, connection, head):
        """
        Return the message for the request with this Head, without its channels. Raise
        RequestRefused if the site is not for the host that it names.
        """
        meta = head.meta()
        address, scheme = connection.client_address or ("", None), self.scheme
        if self.trust_proxy:
            address, scheme = forwarded(meta, address)
        host, port = self.environ["SERVER_NAME"], self.environ["SERVER_PORT"]
        meta.update(
            SERVER_NAME=host,
            SERVER_PORT=str(port),
            SCRIPT_NAME="",
            REMOTE_ADDR=address[0],
            REMOTE_PORT=str(address[1] or ""),
        )
        if self.checks_hosts or head.upgrade:
            check_host(named_host(meta), host)
        # Text, as in the environ of a WSGIRequest.
        path = meta["PATH_INFO"] = get_path_info(meta)
        return {
            "method": head.method.upper(),
            "scheme": scheme,
            "path": path,
            "script_name": "",
            "GET": decode_query(head.query) if head.query else [],
            "META": meta,
            "client": [address[0], address[1]],
        }

    def open_websocket(self, connection, head):
        """Turn a connection into a WebSocket."""
        message = self.request_message(connection, head)
        upgrade = Upgrade(
            method=head.method,
            protocol=f"HTTP/{head.version}",
            headers=head.headers,
            path=message["path"],
            GET=message["GET"],
            META=message["META"],
            client=message["client"],
            scheme=message["scheme"],
        )
        channel = self.open_channel(None)
        address = connection.client_address
        self._hosts[channel] = address[0] if address else ""
        sock, ahead = connection.detach()
        websocket = self.websockets.open(sock, channel, upgrade, ahead)
        if channel in self._receivers:
            self._receivers[channel] = websocket.deliver

    def _end_idle(self):
        """End the connections that have waited too long for a request."""
        then = time.monotonic() - self.limits.keep_alive
        # The oldest come first.
        for handler, since in list(takewhile(lambda i: i[1] < then, self.idle.items())):
            handler.end_idle()

    def log_request(self, connection, head, status, size, seconds):
        """Log a request: `size` is in bytes, without the head."""
        if self._logs_requests:
            access_logger.info(
                '%s "%s %s HTTP/%s" %d %d %.4f s',
                connection.client_address[0] if connection.client_address else "-",
                head.method,
                head.target,
                head.version,
                status,
                size,
                seconds,
            )

    def log_error(self, head, error):
        """Log why a request has no proper answer."""
        logger.error("%s %s: %s", head.method, head.path, error)

    @staticmethod
    def reason(status):
        """Return the reason phrase of a status."""
        return reason_phrase(status)

    # The life of the server.

    def start(self):
        self._logs_requests = is_heard(access_logger, logging.INFO)
        self.patience.start()
        self._idle_timer = gevent.get_hub().loop.timer(INTERVAL, INTERVAL, ref=False)
        self._idle_timer.start(self._end_idle)
        self.relay.start()
        self._keeper = gevent.spawn(self._keep_groups)
        super().start()

    def stop(self, timeout=None):
        """
        Accept no more, let requests in hand finish for `timeout` seconds, and close
        WebSockets with 1001 (going away). Requests that views have left to channels
        may wait for long, and end at once: with 503, or in the middle of a stream.
        """
        self.is_stopping = True
        self.websockets.close_all()
        for exchange in list(self.exchanges):
            if exchange.is_left or self.memberships.has(exchange.channel):
                exchange.stop()
        for handler in list(self.idle):
            handler.end_idle()
        super().stop(timeout)
        self.websockets.stop()
        self._keeper.kill()
        self.patience.stop()
        self._idle_timer.close()
        self.relay.stop()


def is_heard(logger, level):
    """
    Return whether any handler takes what `logger` says at `level`. For access logs
    there is none unless a site wants them, and making records takes time.
    """
    record = logger.makeRecord(logger.name, level, "", 0, "", (), None)
    return logger.isEnabledFor(level) and any(
        handler.level <= level and handler.filter(record)
        for handler in handlers_of(logger)
    )


@lru_cache
def reason_phrase(status):
    """Return the reason phrase of a status (RFC 9110, section 15)."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"
