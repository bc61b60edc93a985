"""
Frames of WebSockets (RFC 6455, section 5) and the messages that they make.

There is no I/O here: bytes go in and messages come out, and the other way.
"""

from struct import pack

from websockets.exceptions import ProtocolError
from websockets.frames import BINARY, CLOSE, CONT, TEXT
from websockets.protocol import OPEN, SERVER, Protocol
from websockets.streams import StreamReader

from django.channels.interfaces.server.assembling import Assembly, TooMuch
from django.channels.interfaces.server.deflating import Deferral, Deflated
from django.channels.interfaces.server.limits import Rate

# The code that stands for a connection which ended without a close frame.
ABNORMAL = 1006

# A control frame may come when a message is as large as it may be.
CONTROL_SIZE = 125

# Bytes from which on compression is worth its while.
COMPRESS_FROM = 256

# What a client is turned away for, by the code of the close frame.
_FAILURES = {
    1002: "websocket.protocol_error",
    1007: "websocket.invalid_data",
    1008: "websocket.rate",
    1009: "websocket.too_big",
    1011: "websocket.silent",
    1013: "websocket.not_taken",
}

_DATA = frozenset([TEXT, BINARY, CONT])


def encode_frame(opcode, data):
    """
    Return the one frame of a message as a server sends it: not masked, and not
    compressed, which permessage-deflate leaves open for each message.
    """
    length = len(data)
    if length < 126:
        return pack("!BB", 0x80 | opcode, length) + data
    if length < 65536:
        return pack("!BBH", 0x80 | opcode, 126, length) + data
    return pack("!BBQ", 0x80 | opcode, 127, length) + data


class Reader(StreamReader):
    """
    A StreamReader that lets no frame have a length in more bytes than it needs (RFC
    6455, section 5.2).

    The parser asks for the end before each frame, then for the first two bytes, the
    longer length if there is one, the four of the mask, and the data. While
    `is_held` is true it begins no frame.
    """

    is_held = False
    _step = 0

    def at_eof(self):
        self._step = 0
        while self.is_held:
            yield
        return (yield from super().at_eof())

    def read_exact(self, n):
        self._step += 1
        if self._step == 2 and n != 4:
            return self._read_length(n)
        return super().read_exact(n)

    def _read_length(self, n):
        data = yield from super().read_exact(n)
        if int.from_bytes(data, "big") < (126 if n == 2 else 65536):
            raise ProtocolError("length in too many bytes")
        return data


class Engine(Protocol):
    """
    A Protocol for which a close frame between the frames of a message is no fault:
    it is a control frame, and may stand there (RFC 6455, section 5.4).
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.reader = Reader()
        self.parser = self.parse()
        # As far as the first byte, as the Protocol begins.
        next(self.parser)

    def recv_frame(self, frame):
        if frame.opcode is CLOSE:
            # The names in different releases of websockets.
            self.current_size = self.cur_size = None
        super().recv_frame(frame)
        if type(frame) is Deflated and self.state is OPEN:
            # What stands behind it waits until it is decompressed.
            self.reader.is_held = True


class Framing:
    """
    The frames of a connection whose handshake has been answered at the time `now`:
    `extensions` are those that have been negotiated in it.

    `failure` is the code with which the client had to be turned away, or None.
    """

    __slots__ = ("failure", "_limits", "_protocol", "_assembly", "_rate", "_work")

    def __init__(self, limits, extensions, now):
        self.failure = None
        self._limits = limits
        self._assembly = None
        self._work = None
        self._rate = None if limits.rate is None else Rate(limits.rate, now)
        # Not the one of the handshake, which holds its request.
        self._protocol = Engine(SERVER, max_size=limits.message_size + CONTROL_SIZE)
        self._protocol.extensions = [Deferral(item) for item in extensions]

    @property
    def is_busy(self):
        """Whether there is more in what has come: the next to call is feed(b"")."""
        return self._work is not None

    @property
    def is_open(self):
        """Whether no close frame has been sent."""
        return self._protocol.state is OPEN

    @property
    def failure_name(self):
        """The name under which the failure is counted."""
        return _FAILURES.get(self.failure, "websocket.failed")

    @property
    def close_code(self):
        """The code that the client has closed with: 1006 if it has not, or wrongly."""
        received = self._protocol.close_rcvd
        if received is None or self.failure is not None:
            return ABNORMAL
        return int(received.code)

    def feed(self, data, now):
        """
        Take bytes that came at the time `now`: none while it is busy. Return a list
        of the messages that are complete, each as (str or bytes, size in bytes).
        After a close frame from either side there are none.
        """
        messages = []
        if self._work is None:
            self._parse(data)
        try:
            for item in self._work or ():
                if item is None:
                    return messages
                self._check_rate(now)
                messages.append(item)
        except TooMuch as exc:
            self.fail(exc.code, str(exc))
        except ProtocolError as exc:
            self.fail(1002, str(exc))
        except UnicodeDecodeError:
            self.fail(1007, "text is not UTF-8")
        self._end_work()
        return messages

    def _end_work(self):
        self._work = None
        if self._protocol.reader.is_held:
            self._protocol.reader.is_held = False
            self._parse(b"")

    def _parse(self, data):
        """Take bytes, up to the end of the next frame that is compressed."""
        wanted = self.is_open
        self._protocol.receive_data(data)
        frames = self._protocol.events_received()
        if wanted:
            self._note_failure()
            self._work = self._take_all(frames) if frames else None

    def _note_failure(self):
        protocol = self._protocol
        if protocol.parser_exc is not None and protocol.close_sent is not None:
            self.failure = int(protocol.close_sent.code)

    def _take_all(self, frames):
        """
        Yield the messages that are complete with `frames`, and None wherever one
        that is being decompressed could wait.
        """
        for frame in frames:
            if frame.opcode not in _DATA:
                continue
            if frame.fin and frame.opcode is not CONT and type(frame) is not Deflated:
                yield self._whole(frame)
                continue
            if frame.opcode is not CONT:
                self._assembly = Assembly(frame)
            yield from self._assembly.add(frame, self._limits)
            if frame.fin:
                assembly, self._assembly = self._assembly, None
                yield assembly.end(), assembly.size

    def _whole(self, frame):
        data = frame.data
        if len(data) > self._limits.message_size:
            raise TooMuch("message too big")
        message = str(data, "utf-8") if frame.opcode is TEXT else bytes(data)
        return message, len(data)

    def _check_rate(self, now):
        if self._rate is not None and not self._rate.take(now):
            raise TooMuch("too many messages", 1008)

    def encode(self, opcode, data):
        """Return the frame of a message, compressed if that has been negotiated."""
        protocol = self._protocol
        if not protocol.extensions or len(data) < COMPRESS_FROM:
            return encode_frame(opcode, data)
        send = protocol.send_text if opcode == TEXT else protocol.send_binary
        send(data)
        return b"".join(protocol.data_to_send())

    def ping(self):
        """Ask the client for a sign of life (RFC 6455, section 5.5.2)."""
        self._protocol.send_ping(b"")

    def close(self, code, reason=""):
        """Begin the closing handshake, and drop what is being decompressed."""
        self._protocol.send_close(code, reason)
        self._assembly = None
        self._end_work()

    def fail(self, code, reason=""):
        """Send a close frame, and take nothing more (RFC 6455, section 7.1.7)."""
        self.failure = code
        self._protocol.fail(code, reason)

    def data_to_send(self):
        """
        Return the bytes of control frames that have to go out, and whether they
        are the last.
        """
        if not self._protocol.writes:
            return b"", False
        writes = self._protocol.data_to_send()
        return b"".join(writes), b"" in writes

    def end(self):
        """Free memory at once: the protocol and its parser refer to each other."""
        self._protocol.parser = None
        self._assembly = self._work = None
