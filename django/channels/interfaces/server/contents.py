"""The headers and the content in a response message."""

import codecs
from functools import lru_cache

from django.channels.exceptions import InvalidMessage
from django.utils.http import parse_header_parameters


def content_size(message):
    """Return the number of characters of the content of a message."""
    content = message.get("content") or message.get("bytes")
    return len(content) if isinstance(content, str) else 0


def response_headers(message):
    """Return the headers of a response message, as pairs."""
    headers = [tuple(pair) for pair in message.get("headers", ())]
    content_type = message.get("content_type", message.get("mimetype"))
    if not any(name.lower() == "content-type" for name, _ in headers):
        if content_type is None:
            content_type = "text/html; charset=utf-8"
        if content_type:
            headers.append(("Content-Type", content_type))
    return headers


def find_charset(headers):
    """
    Return the charset of the content among these headers. Raise InvalidMessage if
    there is none of this name.
    """
    for name, value in headers:
        if name.lower() == "content-type":
            return parse_charset(value)
    return "utf-8"


@lru_cache
def parse_charset(content_type):
    """Return the charset in the value of a Content-Type, utf-8 if it has none."""
    charset = parse_header_parameters(content_type)[1].get("charset", "utf-8")
    try:
        return codecs.lookup(charset).name
    except LookupError as exc:
        raise InvalidMessage(
            f"The 'content_type' has the charset {charset!r}."
        ) from exc
