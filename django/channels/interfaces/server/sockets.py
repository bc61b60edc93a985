"""One WebSocket, from the request of its handshake until its client is gone."""

import logging
from time import perf_counter

from django.channels.exceptions import InvalidMessage
from django.channels.interfaces.server.backlogs import TURN
from django.channels.interfaces.server.deliveries import parse_delivery
from django.channels.interfaces.server.frames import ABNORMAL, Framing
from django.channels.interfaces.server.handshakes import Refusal
from django.channels.interfaces.server.phases import (
    CLOSING,
    CONNECTING,
    ENDED,
    GONE,
    LINGERING,
    OPEN,
)
from django.channels.interfaces.server.reports import Reports
from django.channels.interfaces.server.timings import Timing

logger = logging.getLogger("django.channels.interface")

# Bytes that are taken apart at once, so that a flood of small frames stays bytes
# until there is room for its messages. They may be 85 frames.
PIECE = 2**9

# Bytes that have come at once from which on they wait until others have had theirs.
BULK = 2**12

GOING_AWAY = 1001


class WebSocket:
    """
    A WebSocket whose send channel is `channel`.

    `site` is the WebSockets that it is one of, `sock` a stdlib socket, `upgrade`
    the Upgrade that it asks for and `ahead` are bytes that came after it.
    """

    __slots__ = (
        "channel",
        "phase",
        "timing",
        "_site",
        "_wire",
        "_reports",
        "_handshake",
        "_framing",
        "_unread",
    )

    def __init__(self, site, sock, channel, upgrade, ahead=b""):
        self.channel = channel
        self.phase = CONNECTING
        self.timing = Timing(site.limits)
        self._site = site
        self._wire = site.wire_class(sock, self, site.limits)
        self._reports = Reports(site, self, upgrade)
        self._handshake = None
        self._framing = None
        self._unread = ahead

    def start(self, handshake, upgrade):
        """Have `handshake`, a Handshake, answered. Nothing is read until then."""
        self._handshake = handshake
        self.timing.wait(self._site.clock(), self._site.expiry)
        if not self._reports.connect(upgrade, list(handshake.subprotocols)):
            self.accept()

    def accept(self, subprotocol=None):
        """Answer the handshake. From then on there are messages, both ways."""
        handshake, self._handshake = self._handshake, None
        now = self._site.clock()
        self._framing = Framing(self._site.limits, handshake.extensions, now)
        self.phase = OPEN
        self.timing.listen(now)
        self._site.count("websocket.accepted")
        self._wire.write(handshake.answer(subprotocol, self.channel))
        for frame in handshake.queued:
            self.send_frame(frame)
        self.go_on()

    def refuse(self, refusal, reported=True):
        """
        Answer the handshake with `refusal`, a Refusal, if it has no answer yet. With
        `reported` workers are told that the client is gone.
        """
        if self.phase is not CONNECTING:
            return
        if reported:
            self._reports.end(ABNORMAL)
        self._site.count(f"websocket.refused.{refusal.reason}")
        self._wire.write(refusal.serialize())
        self._linger()

    def deliver(self, message):
        """Do what `message`, a dict that came on the send channel, says."""
        if "acknowledged" in message:
            self._acknowledge(message)
            return
        try:
            delivery = parse_delivery(message)
        except InvalidMessage as exc:
            self._site.count("websocket.invalid_message")
            logger.error("A message on %r was dropped: %s", self.channel, exc)
            return
        if self.phase is CONNECTING and delivery.accepts:
            self.accept(delivery.subprotocol)
        self.apply(delivery)

    def _acknowledge(self, message):
        if not self._reports.acknowledge(message["acknowledged"]):
            return
        if self.phase is CONNECTING:
            if message.get("failed"):
                # Workers hear of its end: what was done before may need undoing.
                self.refuse(Refusal(500, "Server Error (500)", "failed"))
            else:
                self.accept()
        self.go_on()

    def apply(self, delivery, frame=None):
        """
        Do what a Delivery says, except to accept. `frame` is that of its content,
        if it has been made already.
        """
        if delivery.state is not None:
            self._reports.state = delivery.state
        if delivery.opcode is not None:
            if frame is None and self.phase is OPEN:
                frame = self._framing.encode(delivery.opcode, delivery.data)
            if frame is not None:
                self._site.count("websocket.sent")
                self.send_frame(frame)
        if delivery.close is not None:
            self.close(delivery.close, delivery.reason)

    def send_frame(self, frame):
        """
        Send the bytes of a frame. While the handshake has no answer they wait, and
        do not mean that it is accepted: they may be for all members of a group.
        """
        if self.phase is OPEN:
            if not self._wire.write(frame):
                self._drop_slow()
        elif self.phase is CONNECTING and not self._handshake.queue(
            frame, self._site.limits
        ):
            self.refuse(Refusal(503, "There is too much to send.", "slow"))

    def close(self, code=1000, reason=""):
        """
        Begin the closing handshake (RFC 6455, section 7.1.2), or answer the opening
        handshake with a refusal.
        """
        if self.phase is CONNECTING and code == GOING_AWAY:
            self.refuse(Refusal(503, "The server is going away.", "closing"))
        elif self.phase is CONNECTING:
            # By the consumer, who then knows.
            self.refuse(Refusal(403, "Not allowed.", "rejected"), reported=False)
        elif self.phase is OPEN:
            self.phase = CLOSING
            self.timing.wait(self._site.clock(), self._site.limits.closing)
            self._framing.close(code, reason)
            self._flush()
            self.go_on()

    def fail(self, code, reason=""):
        """Send a close frame if none is out, and take nothing more."""
        if self.phase in (OPEN, CLOSING):
            self._framing.fail(code, reason)
            self._flush()

    def abort(self):
        """End the connection at once."""
        if self.phase < GONE:
            self.lost(drop=True)

    def give_up(self):
        """Tell workers that the client is gone, without waiting for them."""
        self.abort()
        if self.phase is not ENDED:
            self._reports.send_end_at_once()
            self.phase = ENDED
            self._site.forget(self)

    def received(self, data):
        """Take bytes from the client."""
        if self.phase is LINGERING:
            return
        self.timing.hear(self._site.clock())
        self._unread = self._unread + data if self._unread else data
        if len(data) >= BULK:
            self._give_way()
        else:
            self.take_turn()

    def take_turn(self):
        """Take apart what has come."""
        try:
            if self.phase in (OPEN, CLOSING):
                self._read()
            self.go_on()
        except Exception:
            logger.exception("The WebSocket of %r failed.", self.channel)
            self.abort()

    def go_on(self):
        """Send workers what may go now, and read on if there is room for more."""
        self._reports.send_waiting()
        if self.phase in (OPEN, CLOSING):
            self._read_on()
        elif self.phase is GONE and self._reports.is_over:
            self.phase = ENDED
            self._site.forget(self)

    def _read_on(self):
        if not self._wire.is_paused or self._reports.are_many(0.5):
            return
        if len(self._unread) >= BULK:
            self._give_way()
            return
        if self._has_more:
            self._read()
            self._reports.send_waiting()
        if self.phase not in (OPEN, CLOSING) or self._reports.are_many():
            return
        if not self._has_more:
            self._wire.resume()

    @property
    def _has_more(self):
        return bool(self._unread) or self._framing.is_busy

    def _read(self):
        """
        Take apart what has come, as long as there is room for messages and others
        need not wait.
        """
        data, start = self._unread, 0
        until = perf_counter() + TURN
        framing = self._framing
        while start < len(data) or framing.is_busy:
            if self._reports.are_many():
                break
            piece = b""
            if not framing.is_busy:
                piece = data[start : start + PIECE]
                start += PIECE
            for message, size in framing.feed(piece, self.timing.heard):
                self._reports.receive(message, size)
            self._flush()
            if self.phase not in (OPEN, CLOSING) or perf_counter() > until:
                break
        if self.phase in (OPEN, CLOSING):
            self._unread = data[start:]
            if self._reports.are_many():
                self._wire.pause()
            elif self._has_more:
                self._give_way()

    def _give_way(self):
        """Read nothing, and go on when others have had their turn."""
        self._wire.pause()
        self._site.backlog.add(self)

    def _flush(self):
        data, is_last = self._framing.data_to_send()
        if data and not self._wire.write(data):
            self._drop_slow()
        elif is_last:
            if self._framing.failure is not None:
                self._site.count(self._framing.failure_name)
            self._linger()

    def _drop_slow(self):
        self._site.count("websocket.slow")
        if self._framing.is_open:
            self._framing.fail(1013, "the client reads too slowly")
            self._wire.cut(self._framing.data_to_send()[0])
            self._linger()
        else:
            self.abort()

    def _linger(self):
        """Wait until the client closes, for a reset could overtake the last frame."""
        self._finish()
        self.phase = LINGERING
        self.timing.wait(self._site.clock(), self._site.limits.closing)
        self._wire.finish()
        self._wire.resume()
        self.go_on()

    def lost(self, drop=False):
        """End: the client has closed the connection, or it is broken."""
        if self.phase is CONNECTING:
            self._reports.end(ABNORMAL)
        self._finish()
        self.phase = GONE
        self._site.backlog.discard(self)
        self._wire.close(drop)
        self._wire = None
        self._site.leave(self)
        self.go_on()

    def _finish(self):
        """Take nothing more from the client."""
        if self._framing is not None:
            code = self._framing.close_code
            self._reports.end(code)
            self._site.counters.note_close(code)
            self._framing.end()
        self._framing = self._handshake = None
        self._unread = b""

    def check(self, now):
        """Do what is due at the time `now`."""
        timing = self.timing
        if now >= timing.deadline:
            if self.phase is CONNECTING:
                self.refuse(Refusal(504, "Nobody has answered in time.", "timeout"))
            else:
                self.abort()
        elif self.phase is OPEN:
            self._check_silence(now)
        self._reports.check(now)
        self.go_on()
        timing.plan(now, self._reports.turns.deadline, self.phase is OPEN)

    def _check_silence(self, now):
        if self._wire.is_paused:
            # It is this side that does not listen.
            self.timing.hear(now)
        elif self.timing.has_to_ping(now):
            self._framing.ping()
            self._flush()
        elif self.timing.is_silent(now):
            # It has been asked, also if this process has slept for long.
            self.fail(1011, "no sign of life")
