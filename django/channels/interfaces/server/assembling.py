"""Messages of WebSockets that come in several parts (RFC 6455, section 5.4)."""

import codecs

from websockets.frames import TEXT

from django.channels.exceptions import ChannelError
from django.channels.interfaces.server.deflating import Deflated, Inflater

_new_decoder = codecs.getincrementaldecoder("utf-8")


class TooMuch(ChannelError):
    """
    A client sends more than it may: too long a message, too many frames or too
    many messages. `code` is that of the close frame for it.
    """

    def __init__(self, text, code=1009):
        super().__init__(text)
        self.code = code


class Assembly:
    """A message that comes by and by. `frame` is its first frame."""

    __slots__ = ("size", "_decoder", "_inflater", "_parts", "_count")

    def __init__(self, frame):
        self.size = 0
        self._decoder = _new_decoder() if frame.opcode is TEXT else None
        self._inflater = Inflater() if type(frame) is Deflated else None
        self._parts = []
        self._count = 0

    def add(self, frame, limits):
        """
        Take the next frame. If it is compressed, yield None after each slice of it.

        Raise TooMuch, ProtocolError if it cannot be decompressed, or
        UnicodeDecodeError at the first slice that is not UTF-8.
        """
        self._count += 1
        if self._count > limits.fragments:
            raise TooMuch("too many fragments")
        if self._inflater is None:
            self._append(frame.data, limits)
            return
        for part in self._inflater.slices(frame.data, frame.fin):
            self._append(part, limits)
            yield

    def _append(self, part, limits):
        self.size += len(part)
        if self.size > limits.message_size:
            raise TooMuch("message too big")
        if self._decoder is not None:
            part = self._decoder.decode(part)
        if part:
            self._parts.append(part)

    def end(self):
        """Return the message, or raise UnicodeDecodeError."""
        if self._decoder is None:
            return b"".join(self._parts)
        return "".join(self._parts) + self._decoder.decode(b"", True)
