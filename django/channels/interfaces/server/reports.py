"""
What workers are told about a WebSocket:

    django.websocket.connect     "META", "scheme", "subprotocols"
    django.websocket.receive     "data": {"content": text} or {"bytes": base64}
    django.websocket.disconnect  "code"

Each message also has "send_channel", "path", "GET", "client" and "state", and
"acknowledge", a number that the worker sends back to the send channel when the
consumer is done, so that the next message of the socket may go:

    {"acknowledged": 7}
    {"acknowledged": 7, "failed": true}
"""

import logging
from functools import partial

from django.channels.exceptions import BackendUnavailable, ChannelFull
from django.channels.interfaces.server.handshakes import Refusal
from django.channels.interfaces.server.turns import Turns
from django.channels.messages import clean_message, encode_bytes

logger = logging.getLogger("django.channels.interface")

CONNECT = "django.websocket.connect"
RECEIVE = "django.websocket.receive"
DISCONNECT = "django.websocket.disconnect"


class Reports:
    """
    The messages about `socket`, a WebSocket of `site`, in their order.

    A channel that has no consumer is not sent anything. `state` is what consumers
    have asked to be told again, a dict.
    """

    __slots__ = (
        "turns",
        "state",
        "_site",
        "_socket",
        "_path",
        "_query",
        "_client",
        "_code",
        "_is_told",
    )

    def __init__(self, site, socket, upgrade):
        self.turns = Turns()
        self.state = None
        self._site = site
        self._socket = socket
        self._path = upgrade.path
        self._query = upgrade.GET or ()
        self._client = tuple(upgrade.client)
        # That of the message that the client is gone, when there has to be one.
        self._code = None
        self._is_told = False

    @property
    def is_over(self):
        """Whether workers know all that they have to know."""
        return self.turns.is_over and (self._code is None or self._is_told)

    def connect(self, upgrade, subprotocols):
        """Ask for the answer to the handshake. Return whether anybody is asked."""
        if self._site.consumer(CONNECT) is None:
            return False
        extra = {
            "META": upgrade.META,
            "scheme": upgrade.scheme,
            "subprotocols": subprotocols,
        }
        self._send(CONNECT, extra, alone=True)
        return True

    def receive(self, message, size):
        """Let a str or bytes from the client wait for its turn."""
        self._site.count("websocket.received")
        if self._site.consumer(RECEIVE) is not None:
            self.turns.put(message, size)

    def end(self, code):
        """Tell that the client is gone, after all else. The first code counts."""
        if self._code is None:
            self._code = code

    def are_many(self, part=1):
        """Return whether `part` of the messages that may wait do."""
        return self.turns.is_full(self._site.limits, part)

    def send_waiting(self):
        """Send what may go now."""
        turns = self.turns
        while turns.are_waiting and (item := turns.take(self._window)):
            payload, size = item
            if isinstance(payload, str):
                data = {"content": payload}
            else:
                data = {"bytes": encode_bytes(payload)}
            self._send(RECEIVE, {"data": data}, payload, size)
        if self._code is not None and turns.is_over and not turns.is_held:
            self._send_end()

    def send_end_at_once(self):
        """Do without the messages that wait, for the process ends."""
        self.turns.clear()
        if self._code is not None:
            self._send_end()

    def acknowledge(self, number):
        """Return whether the message `number` was in hand, and is done now."""
        deadline = self.turns.end(number)
        if deadline is None:
            return False
        sent = deadline - self._site.expiry
        self._site.counters.acknowledgements.add(self._site.clock() - sent)
        self.turns.failing_since = None
        return True

    def check(self, now):
        """Give up what no worker has done, and try again what there was no room for."""
        self.turns.release()
        lost = self.turns.expire(now)
        if lost:
            self._site.count("websocket.lost_worker", lost)
            logger.warning(
                "%s of %r was not acknowledged within %s seconds.",
                "A message" if lost == 1 else f"{lost} messages",
                self._socket.channel,
                self._site.expiry,
            )

    @property
    def _window(self):
        consumer = self._site.consumer(RECEIVE)
        if getattr(consumer, "ordered", True):
            return 1
        return self._site.limits.waiting_frames

    def _send_end(self):
        if self._is_told:
            return
        self._is_told = True
        if self._site.consumer(DISCONNECT) is not None:
            self._send(DISCONNECT, {"code": self._code})

    def _send(self, channel, extra, payload=None, size=0, alone=False):
        deadline = self._site.clock() + self._site.expiry
        number = self.turns.begin(deadline, alone)
        self._socket.timing.wake_at(deadline)
        message = {
            "send_channel": self._socket.channel,
            "path": self._path,
            # Copies, as a consumer in this process may keep what it is given.
            "GET": [list(pair) for pair in self._query],
            "client": list(self._client),
            "state": clean_message(self.state) if self.state else {},
            **extra,
            "acknowledge": number,
        }
        failed = partial(self._fail, channel, number, payload, size)
        self._site.relay.send(channel, message, failed)

    def _fail(self, channel, number, payload, size, error):
        """The store has not taken a message, or may not have."""
        socket, now = self._socket, self._site.clock()
        is_sent = getattr(error, "may_be_sent", False)
        is_short = self._is_short_failure(error, now)
        self._site.count("websocket.not_sent")
        if channel == RECEIVE and is_sent and is_short:
            # A worker may have it, and is waited for as one that may be lost.
            self.turns.note_failure(now)
            return
        if self.turns.end(number) is None:
            return
        if channel == CONNECT:
            refusal = Refusal(503, "Try again later.", "unavailable")
            # If it may have been sent, it has to be taken back.
            socket.refuse(refusal, reported=is_sent)
        elif is_short and not is_sent:
            if channel == RECEIVE:
                self.turns.put_back(payload, size, now)
            else:
                self._is_told = False
                self.turns.hold(now)
            socket.timing.wake_at(0)
        else:
            logger.error("A message of %r was not sent: %s", socket.channel, error)
            if channel == RECEIVE:
                socket.fail(1013, "Try again later.")
        socket.go_on()

    def _is_short_failure(self, error, now):
        """Return whether the store may soon take messages again."""
        since = self.turns.failing_since
        return isinstance(error, (BackendUnavailable, ChannelFull)) and (
            since is None or now - since <= self._site.expiry
        )
