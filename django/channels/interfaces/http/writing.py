r"""
The bytes of responses (RFC 9112, sections 4 to 7).

A ResponseWriter decides how a body is framed, and whether there is one:

    writer = ResponseWriter.for_request(head)
    data = writer.head(200, "OK", [("Content-Type", "text/plain")])
    data += writer.body(b"Hello") + writer.end()

    HTTP/1.1 200 OK
    Content-Type: text/plain
    Date: Thu, 01 Jan 2026 00:00:00 GMT
    Transfer-Encoding: chunked

    5\r\nHello\r\n0\r\n\r\n

The connection may be used again if `writer.keep_alive` is true after end().
"""

import re
from functools import lru_cache
from http.client import responses
from time import time

from django.channels.interfaces.http.errors import InvalidResponse
from django.channels.interfaces.http.grammar import (
    FIELD_LINES,
    TEXT_CHAR,
    split_list,
)
from django.utils.http import http_date

# RFC 9110, section 15.2.1: tells a client that expects it to send its body.
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

# RFC 9112, section 7.1, without trailers.
LAST_CHUNK = b"0\r\n\r\n"

# RFC 9110, sections 15.3.5 and 15.4.5. Their Content-Length is left out as well: a
# 204 must not have it, and that of a 304 is of another response (section 8.6).
BODILESS = (204, 304)

# They belong to the connection, which is not the application's (RFC 9110, section
# 7.6.1, and PEP 3333). Of Connection, "close" is honoured.
HOP_BY_HOP = frozenset(
    [
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ]
)

# How a body is framed.
NONE, LENGTH, CHUNKED, UNTIL_CLOSE = range(4)

_head_re = re.compile(rf"HTTP/1\.1 [1-5][0-9][0-9] {TEXT_CHAR}*\r\n{FIELD_LINES}")
_length_re = re.compile("[0-9]{1,18}")


def response_head(status, reason, headers):
    """
    Return the bytes of a status line, `headers` and the empty line. `headers` are
    (name, value) pairs; those of the framing must be among them.

    `reason` is the phrase of the status if it is None. Raise InvalidResponse for
    control characters, line ends among them, and what is not in ISO-8859-1.
    """
    if reason is None:
        reason = responses.get(status, "Unknown Status Code")
    lines = [f"HTTP/1.1 {status} {reason}\r\n"]
    for name, value in headers:
        # The expression would take it for a shorter name.
        if ":" in name:
            raise InvalidResponse(f"{name[:200]!r} is not the name of a header.")
        lines.append(f"{name}: {value}\r\n")
    text = "".join(lines)
    # A line end within a value makes a line that looks well, but is one too many.
    if not _head_re.fullmatch(text) or text.count("\r\n") != len(lines):
        raise InvalidResponse(_find_fault(lines))
    return f"{text}\r\n".encode("iso-8859-1")


def _find_fault(lines):
    for line in lines[1:]:
        if not re.fullmatch(FIELD_LINES, line) or line.count("\r\n") != 1:
            return f"The header {line.rstrip()[:200]!r} is not a valid one."
    return f"The status line {lines[0].rstrip()[:200]!r} is not a valid one."


def encode_chunk(data):
    """
    Return `data` as a chunk (RFC 9112, section 7.1), or nothing if it is empty,
    for an empty chunk would be the last one.
    """
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""


def simple_response(status, text, close=True, headers=(), method="GET", server=None):
    """
    Return the bytes of a response of one sentence, such as those for
    RequestRefused. `close` says that the connection will be closed after it, and
    `method` is that of the request, as far as it is known.
    """
    writer = ResponseWriter(method, keep_alive=not close, server=server)
    body = text.encode()
    headers = [("Content-Type", "text/plain; charset=utf-8"), *headers]
    return writer.head(status, None, headers, len(body)) + writer.body(body)


@lru_cache(maxsize=1)
def _date(second):
    return http_date(second)


class ResponseWriter:
    """
    Writes one response.

    `method` and `version` are those of the request. `keep_alive` says that the
    connection would be used again, and turns false if this response cannot be
    told from the next one. `server` is the Server header, which is absent if it
    is None.

    `left` is the number of bytes that are announced and have not been written,
    None if nothing is announced. `excess` is the number of bytes that were given
    beyond it, which are not written.
    """

    def __init__(self, method="GET", version="1.1", keep_alive=True, server=None):
        self.method = method
        self.version = version
        self.keep_alive = keep_alive
        self.server = server
        self.left = None
        self.excess = 0
        self._framing = NONE

    @classmethod
    def for_request(cls, head, server=None):
        """Return the writer for the response to the request with this Head."""
        return cls(head.method, head.version, head.keep_alive, server)

    def head(self, status, reason, headers, length=None):
        """
        Return the bytes of the head of the response.

        `headers` are (name, value) pairs. `length` is the number of bytes of the
        body if this is known; a Content-Length among the headers comes first.
        Raise InvalidResponse if no such response can be written; another one
        may be, then.
        """
        if not 200 <= status <= 599:
            raise InvalidResponse(f"{status} is not the status of a response.")
        lines, names, lengths, closes = split_headers(headers)
        if lengths:
            length = parse_length(lengths)
        framing = self._choose(status, length)
        keep_alive = self.keep_alive and not closes and framing != UNTIL_CLOSE
        lines += self._own_headers(names, keep_alive)
        if framing == CHUNKED:
            lines.append(("Transfer-Encoding", "chunked"))
        elif framing == LENGTH or self._tells_length(status, length):
            lines.append(("Content-Length", length))
        data = response_head(status, reason, lines)
        # A response that is refused leaves the writer as it was.
        self.keep_alive = keep_alive
        self.left = length if framing == LENGTH else None
        self._framing = framing
        return data

    def body(self, data):
        """Return what to write for `data`, bytes of the body, of which may be more."""
        if self._framing == CHUNKED:
            return encode_chunk(data)
        if self._framing == NONE:
            return b""
        if self._framing == LENGTH:
            if len(data) > self.left:
                self.excess += len(data) - self.left
                data = data[: self.left]
            self.left -= len(data)
        return data

    def end(self):
        """
        Return what to write after the body. Whoever cannot give the rest of a body
        closes the connection instead, so that the client does not take it for whole.
        """
        if self.left:
            self.keep_alive = False
        return LAST_CHUNK if self._framing == CHUNKED else b""

    def _choose(self, status, length):
        """Return how the body is framed (RFC 9112, section 6.3)."""
        if self.method == "HEAD" or status in BODILESS:
            return NONE
        if length is not None:
            return LENGTH
        return CHUNKED if self.version == "1.1" else UNTIL_CLOSE

    def _tells_length(self, status, length):
        """
        Return whether a response without a body says how long it would be. Views
        may leave out the content for HEAD, so 0 says nothing, as in runserver.
        """
        return self.method == "HEAD" and status not in BODILESS and bool(length)

    def _own_headers(self, names, keep_alive):
        """Return the headers that the server adds to those with the given names."""
        headers = []
        if "date" not in names:
            headers.append(("Date", _date(int(time()))))
        if self.server is not None and "server" not in names:
            headers.append(("Server", self.server))
        if not keep_alive:
            headers.append(("Connection", "close"))
        elif self.version == "1.0":
            headers.append(("Connection", "keep-alive"))
        return headers


def split_headers(headers):
    """
    Return what is in the headers of an application: those that go out as they
    are, their names in lower case, the values of Content-Length, and whether the
    connection is to be closed.
    """
    lines, names, lengths, closes = [], set(), [], False
    for name, value in headers:
        lower = name.lower()
        if lower == "content-length":
            lengths.append(value)
        elif lower == "connection":
            closes = closes or "close" in split_list(value)
        elif lower not in HOP_BY_HOP:
            lines.append((name, value))
            names.add(lower)
    return lines, names, lengths, closes


def parse_length(values):
    """
    Return the number of bytes that the Content-Length headers of an application
    say. Raise InvalidResponse unless they are one number.
    """
    if len(values) > 1 or not _length_re.fullmatch(str(values[0])):
        raise InvalidResponse("Content-Length of a response must be one number.")
    return int(values[0])
