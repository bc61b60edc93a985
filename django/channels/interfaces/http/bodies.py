r"""
The bodies of requests (RFC 9112, sections 6 and 7).

A decoder is fed with what comes after the head and gives the bytes of the body:

    decoder = body_decoder(head)
    while not decoder.done:
        data = decoder.feed(connection.recv(65536))

What belongs to the next request is in `decoder.rest` then. Chunks look like
this on the wire, with extensions and trailers that are checked and dropped:

    5;extension=value\r\nHello\r\n0\r\nTrailer: value\r\n\r\n
"""

import re

from django.channels.interfaces.http.errors import RequestRefused
from django.channels.interfaces.http.grammar import (
    FIELD_LINES,
    TEXT_CHAR,
    bare_line_end_re,
)
from django.channels.interfaces.http.limits import LIMITS

# RFC 9112, section 7.1. The line end after the chunk before is a part of it, as
# nothing else may stand there. 16 digits are 64 bits.
_SIZE = "[0-9A-Fa-f]{1,16}"
_EXTENSIONS = rf"[ \t]*;{TEXT_CHAR}*"
_chunk_line_re = re.compile(rf"({_SIZE})({_EXTENSIONS})?\r\n".encode())
_next_chunk_line_re = re.compile(b"\r\n" + _chunk_line_re.pattern)
# What may become such a line if more of it comes.
_half_line_re = re.compile(rf"(?:{_SIZE}(?:[ \t]*|{_EXTENSIONS})\r?)?\Z".encode())
_half_next_line_re = re.compile(rb"\r?\Z|\r\n" + _half_line_re.pattern)

_trailers_re = re.compile(rf"{FIELD_LINES}\r\n".encode())


def body_decoder(head, max_size=None, limits=LIMITS):
    """
    Return the decoder for the body of the request with this Head. Raise
    RequestRefused, there or later, for one of more than `max_size` bytes.
    """
    if head.chunked:
        return ChunkedDecoder(max_size, limits)
    length = head.content_length or 0
    check_size(length, max_size)
    return FixedDecoder(length)


def check_size(size, max_size):
    """Raise RequestRefused for a body of `size` bytes if it may not have these."""
    if max_size is not None and size > max_size:
        raise RequestRefused(413, "The body of the request is too large.")


class FixedDecoder:
    """
    Decodes a body of `length` bytes.

    `size` is the number of bytes that have come, `done` whether these were all,
    and `rest` what came after them.
    """

    def __init__(self, length):
        self.length = length
        self.size = 0
        self.done = length == 0
        self.rest = b""

    def feed(self, data):
        """Return the bytes of the body that are in `data`."""
        left = self.length - self.size
        if len(data) > left:
            self.rest += data[left:]
            data = data[:left]
        self.size += len(data)
        self.done = self.size == self.length
        return data


class ChunkedDecoder:
    """
    Decodes a body in chunks, of `max_size` bytes at most unless this is None.

    It has the attributes of FixedDecoder, `size` without what frames the body.
    It holds no more than half a line, or the trailers, between calls.
    """

    def __init__(self, max_size=None, limits=LIMITS):
        self.max_size = max_size
        self.limits = limits
        self.size = 0
        self.done = False
        self.rest = b""
        self._held = b""
        # Bytes that the chunk at hand still lacks.
        self._left = 0
        self._extensions = 0
        self._line_re, self._half_re = _chunk_line_re, _half_line_re
        self._read_line = self._read_chunk_line

    def feed(self, data):
        """
        Return the bytes of the body that are in `data`. Raise RequestRefused if it
        is not in chunks, after which there is nothing to feed any more.
        """
        if self._held:
            data = self._held + data
            self._held = b""
        parts = []
        position = 0
        while not self.done:
            if self._left:
                part = data[position : position + self._left]
                self._left -= len(part)
                self.size += len(part)
                position += len(part)
                parts.append(part)
                if self._left:
                    break
            end = self._read_line(data, position)
            if end < 0:
                self._held = data[position:]
                break
            position = end
        if self.done:
            self.rest += data[position:]
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _read_chunk_line(self, data, position):
        """Return where the line at `position` ends, or -1 if more of it must come."""
        match = self._line_re.match(data, position)
        end = match.end() if match else len(data)
        if end - position > self.limits.chunk_line:
            raise RequestRefused(400, "The line before a chunk is too long.")
        if not match:
            if self._half_re.match(data, position):
                return -1
            raise RequestRefused(400, "The body is not in chunks.")
        self._extensions += len(match[2] or b"")
        if self._extensions > self.limits.chunk_extensions:
            raise RequestRefused(400, "The chunk extensions are too long.")
        self._begin_chunk(int(match[1], 16))
        return end

    def _begin_chunk(self, size):
        check_size(self.size + size, self.max_size)
        self._left = size
        self._line_re, self._half_re = _next_chunk_line_re, _half_next_line_re
        if size == 0:
            self._read_line = self._read_trailers

    def _read_trailers(self, data, position):
        """Return where the trailers at `position` end, or -1 if more must come."""
        match = _trailers_re.match(data, position)
        end = match.end() if match else len(data)
        if (
            end - position > self.limits.trailers
            or data.count(b"\r\n", position, end) > self.limits.fields + 1
        ):
            raise RequestRefused(431, "The trailers of the body are too large.")
        if match:
            self.done = True
            return end
        if data.find(b"\r\n\r\n", position) >= 0 or bare_line_end_re.search(
            data[position:]
        ):
            raise RequestRefused(400, "The trailers of the body are not valid.")
        return -1
