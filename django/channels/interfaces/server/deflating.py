"""
What clients send compressed (permessage-deflate, RFC 7692).

It is decompressed in slices. Between two of them others can have their turn, and
of a message that is too large no more comes out than shows that.
"""

import zlib

from websockets.exceptions import ProtocolError
from websockets.frames import BINARY, CONT, TEXT, Frame

# Bytes that come out at once, which takes some 0.1 ms.
SLICE = 2**16

# Bytes that go in at once: blocks may be empty, and take some 2 µs each.
INTAKE = 2**12

# What a sender takes off the end of a message (section 7.2.1).
_TAIL = b"\x00\x00\xff\xff"


class Deflated(Frame):
    """A frame of a message that is compressed."""


class Deferral:
    """
    In place of `extension`, a PerMessageDeflate: it compresses as that does, and
    marks the frames that come compressed, for Inflater.
    """

    __slots__ = ("encode", "_is_deflated")

    def __init__(self, extension):
        self.encode = extension.encode
        self._is_deflated = False

    def decode(self, frame, *, max_size=None):
        """Return `frame`, or a Deflated of it. Called by Frame.parse()."""
        is_first = frame.opcode is TEXT or frame.opcode is BINARY
        if is_first:
            self._is_deflated = frame.rsv1
        elif frame.opcode is not CONT or frame.rsv1:
            # Where the bit may not stand, Frame.check() refuses it.
            return frame
        if not self._is_deflated:
            return frame
        return Deflated(
            frame.opcode, frame.data, frame.fin, False, frame.rsv2, frame.rsv3
        )


class Inflater:
    """Decompresses the frames of one message."""

    __slots__ = ("_decompressor",)

    def __init__(self):
        # The largest window, which takes what has been made with any.
        self._decompressor = zlib.decompressobj(-zlib.MAX_WBITS)

    def slices(self, data, is_last):
        """
        Yield what is in `data`, the data of the next frame, in parts of at most
        SLICE bytes. `is_last` says whether the message ends with this frame.

        Raise websockets.exceptions.ProtocolError if it is not compressed data.
        """
        data = bytes(data) + _TAIL if is_last else data
        for start in range(0, len(data), INTAKE):
            rest, part = data[start : start + INTAKE], None
            # Of a full part there may be more within the decompressor.
            while part is None or rest or len(part) == SLICE:
                try:
                    part = self._decompressor.decompress(rest, SLICE)
                except zlib.error as exc:
                    raise ProtocolError("decompression failed") from exc
                yield part
                rest = self._decompressor.unconsumed_tail
