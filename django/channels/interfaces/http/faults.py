"""
Why the head of a request was refused.

parse_head() asks when a head is not well-formed, so nothing here decides what
is taken: it only finds the first fault, and the status that the RFCs have for it.
"""

import re

from django.channels.interfaces.http.errors import RequestRefused
from django.channels.interfaces.http.grammar import (
    MAX_METHOD,
    bare_line_end_re,
    text_re,
    token_re,
)

_version_re = re.compile(r"HTTP/[0-9]\.[0-9]")


def explain(text, limits):
    """
    Return the RequestRefused that says what is wrong with `text`, a head decoded
    as ISO-8859-1.
    """
    if len(text) > limits.head:
        return RequestRefused(431, "The head of the request is too large.")
    if bare_line_end_re.search(text.encode("iso-8859-1")):
        return RequestRefused(400, "Lines must end with CRLF.")
    request_line, _, lines = text.removeprefix("\r\n").partition("\r\n")
    if len(request_line) > limits.request_line:
        return RequestRefused(414, "The request line is too long.")
    return (
        find_request_line_fault(request_line)
        or find_field_fault(lines)
        or RequestRefused(400, "The head of the request is not complete.")
    )


def find_request_line_fault(line):
    """Return a RequestRefused for the request line (RFC 9112, section 3), or None."""
    method, *target, version = line.split(" ") if " " in line else (line, "")
    if not token_re.fullmatch(method):
        return RequestRefused(400, "The request line does not begin with a method.")
    if not _version_re.fullmatch(version):
        return RequestRefused(400, "The request line does not end with a version.")
    if version not in ("HTTP/1.0", "HTTP/1.1"):
        return RequestRefused(505, "Only HTTP/1.0 and HTTP/1.1 are spoken here.")
    if len(method) > MAX_METHOD:
        return RequestRefused(501, "The method is not known.")
    if len(target) != 1 or not target[0]:
        return RequestRefused(400, "The request line has not three words.")
    return find_target_fault(target[0])


def find_target_fault(target):
    """Return a RequestRefused for what stands in a target, or None."""
    path, _, query = target.partition("?")
    if not path:
        return RequestRefused(400, "The target has no path.")
    if not path.isascii():
        return RequestRefused(400, "The path must be ASCII, with %XX for the rest.")
    if "#" in target:
        return RequestRefused(400, "A target has no fragment.")
    if not text_re.fullmatch(target) or "\t" in target:
        return RequestRefused(400, "The target has a control character.")
    return None


def find_field_fault(lines):
    """Return a RequestRefused for header lines (RFC 9112, section 5), or None."""
    for line in lines.split("\r\n"):
        name, colon, value = line.partition(":")
        if not line:
            continue
        if line[0] in " \t":
            return RequestRefused(400, "Header lines must not be folded.")
        if not colon:
            return RequestRefused(400, "A header line has no colon.")
        if name[-1:] in (" ", "\t"):
            return RequestRefused(400, "A header has a space before its colon.")
        if not token_re.fullmatch(name):
            return RequestRefused(400, "The name of a header is not valid.")
        if not text_re.fullmatch(value):
            return RequestRefused(400, "A header has a control character.")
    return None
