"""
The WebSockets of an interface process (RFC 6455).

There is no greenlet for a socket: the hub calls it when bytes come, see
django.channels.interfaces.server.wires, and one timer looks after all.
"""

import logging
import time

from gevent import get_hub

from django.channels.exceptions import InvalidMessage
from django.channels.interfaces.server.backlogs import Backlog
from django.channels.interfaces.server.counters import Counters
from django.channels.interfaces.server.deliveries import parse_delivery
from django.channels.interfaces.server.frames import encode_frame
from django.channels.interfaces.server.handshakes import Handshake, Refusal
from django.channels.interfaces.server.limits import Limits
from django.channels.interfaces.server.sockets import GOING_AWAY, WebSocket
from django.channels.interfaces.server.wires import Wire
from django.channels.registry import registry

logger = logging.getLogger("django.channels.interface")

# Seconds between two looks at what is due.
INTERVAL = 1


class WebSockets:
    """
    All WebSockets of the hub of the current thread.

    `backend` is the channel backend and `relay` what sends its messages: it has
    send(channel, message, failed), and calls nothing back before that returns.
    `limits` are the Limits of each socket and `counters` are the Counters that are
    told what happens. `left` is called with each WebSocket when its client is gone,
    `ended` when no message comes for it any more. `clock` is as time.monotonic(), and
    `wire_class` what takes the sockets.
    """

    def __init__(
        self,
        relay,
        backend,
        *,
        limits=Limits(),
        counters=None,
        left=None,
        ended=None,
        clock=time.monotonic,
        wire_class=Wire,
    ):
        self.relay = relay
        self.alias = backend.alias
        self.expiry = backend.expiry
        self.limits = limits
        self.counters = Counters() if counters is None else counters
        self.clock = clock
        self.wire_class = wire_class
        self.leave = left or (lambda websocket: None)
        self._ended = ended or (lambda websocket: None)
        self.backlog = Backlog()
        self._sockets = set()
        # It keeps nobody from ending the hub.
        self._timer = get_hub().loop.timer(INTERVAL, INTERVAL, ref=False)
        self._timer.start(self.check)

    def __len__(self):
        return len(self._sockets)

    def __contains__(self, websocket):
        return websocket in self._sockets

    def __iter__(self):
        return iter(self._sockets)

    def open(self, sock, channel, upgrade, ahead=b""):
        """
        Return the WebSocket for `sock`, a connected socket of gevent, which must
        not be used any more. Whatever becomes of it, `left` and `ended` are called.

        `channel` is its send channel, `upgrade` the Upgrade that the client asks
        for and `ahead` what has been read after that.
        """
        websocket = WebSocket(self, self.wire_class.take(sock), channel, upgrade, ahead)
        self._sockets.add(websocket)
        try:
            try:
                handshake = Handshake(upgrade, self.limits.compression)
            except Refusal as refusal:
                websocket.refuse(refusal, reported=False)
            else:
                websocket.start(handshake, upgrade)
        except Exception:
            logger.exception("The WebSocket of %r failed.", channel)
            websocket.abort()
        return websocket

    def broadcast(self, websockets, message):
        """
        Deliver one message to many. Its frame is made once, and is not compressed.

        It accepts no handshake: what it says waits until that has an answer.
        """
        try:
            delivery = parse_delivery(message)
        except InvalidMessage as exc:
            self.count("websocket.invalid_message")
            logger.error("A message to a group was dropped: %s", exc)
            return
        frame = None
        if delivery.opcode is not None:
            frame = encode_frame(delivery.opcode, delivery.data)
        is_plain = delivery.close is None and delivery.state is None
        websockets = list(websockets)
        if is_plain and frame is not None:
            self.count("websocket.sent", len(websockets))
        for websocket in websockets:
            if not is_plain:
                websocket.apply(delivery, frame)
            elif frame is not None:
                websocket.send_frame(frame)

    def check(self):
        """Do what is due: pings, time limits and second tries."""
        now = self.clock()
        for websocket in [item for item in self._sockets if item.timing.due <= now]:
            try:
                websocket.check(now)
            except Exception:
                logger.exception("The WebSocket of %r failed.", websocket.channel)
                websocket.abort()

    def close_all(self, code=GOING_AWAY, reason=""):
        """Begin to close all: they are gone after Limits.closing at the latest."""
        for websocket in list(self._sockets):
            websocket.close(code, reason)

    def stop(self):
        """
        End what is left, at once. Workers hear that it is gone, without having
        acknowledged what went before, and not what still waited.
        """
        self._timer.stop()
        self._timer.close()
        for websocket in list(self._sockets):
            websocket.give_up()
        self.backlog.close()

    def consumer(self, channel):
        """Return the Consumer of `channel`, or None."""
        return registry.get(channel, self.alias)

    def count(self, what, number=1):
        """Add to the counter `what`."""
        self.counters[what] += number

    def forget(self, websocket):
        """Called when no message comes for a socket any more."""
        self._sockets.discard(websocket)
        self._ended(websocket)
