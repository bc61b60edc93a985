"""
The heads of requests (RFC 9112, sections 2 to 6, and RFC 9110).

    GET /foo/?query=value HTTP/1.1
    Host: example.com

find_head_end() says where a head ends in what has come from a connection, and
parse_head() makes a Head of it. One regular expression takes exactly the heads
that are well-formed, and explain() finds out why another one was not taken.
"""

import re
from urllib.parse import unquote

from django.channels.interfaces.http.errors import RequestRefused
from django.channels.interfaces.http.faults import explain
from django.channels.interfaces.http.grammar import (
    FIELD_LINES,
    MAX_METHOD,
    TOKEN_CHAR,
    bare_line_end_re,
    split_list,
)
from django.channels.interfaces.http.limits import LIMITS
from django.channels.interfaces.http.targets import check_host, resolve_target

# Digits of a Content-Length that may be a size. More would not fit 64 bits.
MAX_LENGTH_DIGITS = 18

# An empty line may precede the request line (RFC 9112, section 2.2). The target
# has visible characters but "#", and bytes from 0x80 in its query only: curl
# sends these as they were typed, but encodes those of the path, as browsers do.
_head_re = re.compile(
    rf"(?:\r\n)?({TOKEN_CHAR}{{1,{MAX_METHOD}}}) "
    r"(([!\"$->@-~]+)(?:\?([!\"$-~\x80-\xff]*))?) "
    rf"HTTP/(1\.[01])\r\n({FIELD_LINES})\r\n"
)
# Only for what the one above has taken.
_field_re = re.compile(r"([^:]+):[ \t]*([^\r]*)\r\n")

# What may begin a request, so that TLS is refused before a time limit does it.
_beginning_re = re.compile(rf"(?:\r\n)?{TOKEN_CHAR}|\r?\n?\Z".encode())

# Not str.isdigit(), which takes a superscript two.
_digits_re = re.compile("[0-9]+")


class Head:
    """
    The head of a request.

    Text is decoded as ISO-8859-1, as in a WSGI environ (PEP 3333):

    - `method`: as it came, for it is case-sensitive.
    - `target`: as it came, with `path` and `query` split from it, all of them
      still percent-encoded. `path` starts with "/", or is the "*" of OPTIONS.
    - `version`: "1.0" or "1.1".
    - `headers`: (name, value) pairs in their order, the names in lower case.
    - `fields`: the same in a dict, repeated ones joined by ",", cookies by "; ".
    - `host`: the Host header, or that of an absolute target, or "".
    - `keep_alive`: whether the client would send another request.
    - `content_length`: in bytes, or None if no header says it.
    - `chunked`: whether the body comes in chunks.
    - `expect_continue`: whether the client waits for 100 before it sends a body.
    - `upgrade`: the protocols that the client offers to change to, lower-case.

    Headers with an underscore in their name are left out, as runserver does: in
    META they could not be told from those with a dash.
    """

    __slots__ = (
        "method",
        "target",
        "path",
        "query",
        "version",
        "headers",
        "fields",
        "host",
        "keep_alive",
        "content_length",
        "chunked",
        "expect_continue",
        "upgrade",
    )

    def __repr__(self):
        return f"<{type(self).__name__}: {self.method} {self.target!r}>"

    @property
    def has_body(self):
        """Whether bytes of a body follow (RFC 9112, section 6.3)."""
        return self.chunked or bool(self.content_length)

    @property
    def path_info(self):
        """The path without percent-encoding, as PATH_INFO has it in WSGI."""
        return unquote(self.path, "iso-8859-1") if "%" in self.path else self.path

    def meta(self):
        """Return the keys of a WSGI environ (PEP 3333) that the head decides."""
        meta = {
            _META_KEYS.get(name) or meta_key(name): value
            for name, value in self.fields.items()
        }
        meta["REQUEST_METHOD"] = self.method
        meta["PATH_INFO"] = self.path_info
        meta["QUERY_STRING"] = self.query
        meta["SERVER_PROTOCOL"] = f"HTTP/{self.version}"
        return meta


def meta_key(name):
    """Return the key of a WSGI environ for the header `name`."""
    key = name.upper().replace("-", "_")
    return key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"


# Those that most requests have, for speed.
_META_KEYS = {
    name: meta_key(name)
    for name in (
        "accept accept-encoding accept-language cache-control connection "
        "content-length content-type cookie host if-modified-since if-none-match "
        "origin referer sec-ch-ua sec-ch-ua-mobile sec-ch-ua-platform "
        "sec-fetch-dest sec-fetch-mode sec-fetch-site sec-fetch-user "
        "upgrade-insecure-requests user-agent x-forwarded-for x-forwarded-host "
        "x-forwarded-proto x-real-ip x-requested-with"
    ).split()
}


def find_head_end(buffer, start=0, limits=LIMITS):
    """
    Return the number of bytes that the head at the start of `buffer` has with
    its empty line, or -1 if more of it must come first.

    `start` is the number of bytes that an earlier call has seen already. Raise
    RequestRefused once it is certain that no head can come of it.
    """
    end = buffer.find(b"\r\n\r\n", max(start - 3, 0), limits.head)
    if end >= 0:
        return end + 4
    if not _beginning_re.match(buffer):
        raise RequestRefused(400, "This is not an HTTP request.")
    if bare_line_end_re.search(buffer, max(start - 1, 0)):
        raise RequestRefused(400, "Lines must end with CRLF.")
    # A leading empty line and half a line end may stand around the line.
    if (
        len(buffer) > limits.request_line + 3
        and buffer.find(b"\r\n", 2, limits.request_line + 4) < 0
    ):
        raise RequestRefused(414, "The request line is too long.")
    if len(buffer) >= limits.head:
        raise RequestRefused(431, "The head of the request is too large.")
    return -1


def parse_head(data, limits=LIMITS):
    """
    Return the Head in `data`, the bytes up to and including the empty line.
    Raise RequestRefused for everything that is not one.
    """
    text = str(data, "iso-8859-1")
    # What is not a header are the request line and two empty ones.
    if text.count("\r\n") > limits.fields + 3 and len(text) <= limits.head:
        raise RequestRefused(431, "The request has too many headers.")
    match = _head_re.fullmatch(text)
    if match is None or len(text) > limits.head:
        raise explain(text, limits)
    if match.start(6) - match.start(1) - 2 > limits.request_line:
        raise RequestRefused(414, "The request line is too long.")
    head = Head()
    head.method, head.target, head.path, query, head.version, lines = match.groups()
    head.query = query or ""
    read_fields(head, lines, limits)
    check_host(head)
    if head.path[0] != "/" or head.method == "CONNECT":
        resolve_target(head)
    read_framing(head)
    read_connection(head)
    return head


def read_fields(head, lines, limits):
    """Set the `headers` and `fields` of `head` to what its header lines say."""
    pairs = _field_re.findall(lines)
    if len(pairs) > limits.fields:
        raise RequestRefused(431, "The request has too many headers.")
    head.headers = headers = []
    head.fields = fields = {}
    for name, value in pairs:
        name = name.lower()
        if "_" in name:
            continue
        value = value.rstrip(" \t")
        headers.append((name, value))
        if name in fields:
            # RFC 9113, section 8.2.3, says the same of cookies.
            separator = "; " if name == "cookie" else ","
            value = f"{fields[name]}{separator}{value}"
        fields[name] = value


def read_framing(head):
    """
    Set what `head` says of the body (RFC 9112, section 6). A header that is
    repeated has a comma in `fields`, and so is neither a number nor a coding.
    """
    fields = head.fields
    head.chunked = "transfer-encoding" in fields
    head.content_length = None
    if head.chunked:
        check_transfer_coding(head)
    elif "content-length" in fields:
        head.content_length = parse_content_length(fields["content-length"])
    head.expect_continue = False
    if "expect" in fields and head.version == "1.1":
        if fields["expect"].lower() != "100-continue":
            raise RequestRefused(417, "Only 100-continue can be expected.")
        head.expect_continue = head.has_body


def check_transfer_coding(head):
    """
    Raise RequestRefused unless the body is framed by chunks alone, which are
    for HTTP/1.1 and no company for a Content-Length (RFC 9112, section 6.1).
    """
    if head.version == "1.0":
        raise RequestRefused(400, "HTTP/1.0 has no Transfer-Encoding.")
    if "content-length" in head.fields:
        raise RequestRefused(
            400, "Content-Length and Transfer-Encoding cannot be together."
        )
    codings = [
        coding.strip(" \t")
        for coding in head.fields["transfer-encoding"].lower().split(",")
    ]
    if codings == ["chunked"]:
        return
    if codings[-1] != "chunked" or codings.count("chunked") > 1 or "" in codings:
        raise RequestRefused(400, "Transfer-Encoding must be chunked.")
    raise RequestRefused(501, "Only the transfer coding chunked is known.")


def parse_content_length(value):
    """
    Return the number of bytes in a Content-Length header (RFC 9110, section
    8.6). Raise RequestRefused unless it is one number of digits.
    """
    if not _digits_re.fullmatch(value):
        raise RequestRefused(400, "Content-Length must be one number.")
    if len(value) > MAX_LENGTH_DIGITS:
        raise RequestRefused(413, "The body of the request is too large.")
    return int(value)


def read_connection(head):
    """
    Set what `head` says of the connection (RFC 9112, section 9.3, and RFC 9110,
    section 7.8: HTTP/1.0 has no Upgrade, and it must be among the options).
    """
    head.keep_alive = head.version == "1.1"
    head.upgrade = ()
    if "connection" not in head.fields:
        return
    options = split_list(head.fields["connection"])
    if "close" in options:
        head.keep_alive = False
    elif "keep-alive" in options:
        head.keep_alive = True
    if "upgrade" in options and "upgrade" in head.fields and head.version == "1.1":
        head.upgrade = tuple(filter(None, split_list(head.fields["upgrade"])))
