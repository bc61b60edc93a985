"""
HTTP requests and responses as messages.

A request, as it comes on django.wsgi.request (the body is base64 text, and
absent when it is empty):

    {"response_channel": "django.wsgi.response.3f9a6c81d20b7e45!7",
     "method": "POST", "scheme": "https", "path": "/foo/", "script_name": "",
     "GET": [["query", "value"]], "META": {"HTTP_HOST": "example.com", ...},
     "client": ["192.0.2.7", 50312], "body": "cD0x"}

A response, as it goes to the response channel. Only the content is needed:

    {"status": 200, "reason": "OK", "content_type": "text/plain",
     "headers": [["X-Frame-Options", "DENY"]], "content": "Hello World"}

"bytes", base64 text, stands for content that is not text, and "mimetype" is
taken as "content_type". With "more": true the content of the next message on
the same channel continues the body.
"""

import re

from django.channels.exceptions import InvalidMessage
from django.channels.messages import decode_bytes, encode_bytes
from django.http import HttpResponse, StreamingHttpResponse

# Keys of a WSGI environ that travel, besides those of headers (HTTP_*).
META_KEYS = frozenset(
    [
        "CONTENT_LENGTH",
        "CONTENT_TYPE",
        "HTTPS",
        "PATH_INFO",
        "QUERY_STRING",
        "REDIRECT_URL",
        "REMOTE_ADDR",
        "REMOTE_HOST",
        "REMOTE_PORT",
        "REQUEST_METHOD",
        "REQUEST_URI",
        "SCRIPT_NAME",
        "SCRIPT_URL",
        "SERVER_NAME",
        "SERVER_PORT",
        "SERVER_PROTOCOL",
    ]
)

RESPONSE_KEYS = {
    "status": int,
    "reason": str,
    "content_type": str,
    "mimetype": str,
    "headers": list,
    "content": str,
    "bytes": str,
    "more": bool,
}

# RFC 9110, sections 5.1 and 5.5.
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[^\r\n\0]*")

# Statuses whose responses have no body (RFC 9110, sections 15.3.5 and 15.4.5).
BODILESS = frozenset([204, 304])


def request_to_message(request, response_channel):
    """Return the message for a request that came by WSGI. Reads its body."""
    meta = {
        key: value
        for key, value in request.META.items()
        if (key in META_KEYS or key.startswith("HTTP_")) and isinstance(value, str)
    }
    message = {
        "response_channel": response_channel,
        "method": request.method,
        "scheme": request.scheme,
        "path": request.path,
        "script_name": meta.get("SCRIPT_NAME", ""),
        "GET": [
            [key, value] for key, values in request.GET.lists() for value in values
        ],
        "META": meta,
        "client": [meta.get("REMOTE_ADDR", ""), _port(meta.get("REMOTE_PORT"))],
    }
    if request.body:
        message["body"] = encode_bytes(request.body)
    return message


def response_to_messages(response):
    """Yield the messages that carry `response`, a HttpResponse of any kind."""
    head = {
        "status": response.status_code,
        "reason": response.reason_phrase,
        "headers": [
            *([name, value] for name, value in response.items()),
            *(
                ["Set-Cookie", cookie.OutputString()]
                for cookie in response.cookies.values()
            ),
        ],
    }
    if response.streaming:
        yield head | {"bytes": "", "more": True}
        for chunk in response:
            yield {"bytes": encode_bytes(chunk), "more": True}
        yield {"bytes": ""}
    else:
        yield head | {"bytes": encode_bytes(response.content)}


def response_from_message(message, next_message=None):
    """
    Return the HttpResponse that a message describes.

    If the message says that more is to come, the response is a streaming one
    and calls `next_message` for each further message, until one says nothing
    of more. Raise InvalidMessage, naming the key, for what is no response.
    """
    check_response_message(message)
    headers = [tuple(pair) for pair in message.get("headers", [])]
    content_type = message.get("content_type", message.get("mimetype"))
    try:
        if message.get("more"):
            response = MessageStreamingResponse(headers, content_type)
            response.streaming_content = _chunks(message, next_message, response)
        else:
            response = MessageResponse(headers, content_type)
            response.content = _content(message, response)
        if not message.get("more") and message.get("status") not in BODILESS:
            response.headers.setdefault("Content-Length", str(len(response.content)))
    except (UnicodeError, LookupError) as exc:
        raise InvalidMessage(
            f"The content does not fit the charset of its 'content_type': {exc}"
        ) from exc
    response.status_code = message.get("status", 200)
    response.reason_phrase = message.get("reason")
    return response


def check_response_message(message):
    """Raise InvalidMessage, naming the key, if `message` is no response."""
    for key, value in message.items():
        if key not in RESPONSE_KEYS:
            raise InvalidMessage(
                f"A response has no key {key!r}. It has {', '.join(RESPONSE_KEYS)}."
            )
        if type(value) is not RESPONSE_KEYS[key]:
            raise InvalidMessage(
                f"{key!r} of a response must be of the type "
                f"{RESPONSE_KEYS[key].__name__}, not {type(value).__name__}."
            )
    if not {"content", "bytes", "status"} & message.keys():
        raise InvalidMessage("A response needs 'content', 'bytes' or 'status'.")
    if {"content", "bytes"} <= message.keys():
        raise InvalidMessage("A response has 'content' or 'bytes', not both.")
    if not 200 <= message.get("status", 200) <= 599:
        raise InvalidMessage(
            f"'status' of a response must be from 200 to 599, not {message['status']}."
        )
    for key in ("reason", "content_type", "mimetype"):
        if not _HEADER_VALUE.fullmatch(message.get(key, "")):
            raise InvalidMessage(f"{key!r} of a response must be of one line.")
    for pair in message.get("headers", []):
        check_header(pair)


def check_header(pair):
    """Raise InvalidMessage unless `pair` is the name and the value of a header."""
    if not isinstance(pair, list) or [type(item) for item in pair] != [str, str]:
        raise InvalidMessage(
            f"'headers' of a response must be pairs of strings, not {pair!r}."
        )
    name, value = pair
    if not _HEADER_NAME.fullmatch(name):
        raise InvalidMessage(f"'headers' of a response: {name!r} is not a valid name.")
    if not _HEADER_VALUE.fullmatch(value):
        raise InvalidMessage(f"'headers' of a response: {name!r} must be of one line.")


class MessageHeaders:
    """Mixin for responses whose headers come as a list of pairs."""

    def __init__(self, headers, content_type):
        super().__init__(content_type=content_type)
        self._set_cookies = []
        names = set()
        for name, value in headers:
            if name.lower() == "set-cookie":
                # Each has a line of its own, so the others' dict cannot hold it.
                self._set_cookies.append(("Set-Cookie", value))
            elif name.lower() in names:
                self.headers[name] = f"{self.headers[name]}, {value}"
            else:
                self.headers[name] = value
            names.add(name.lower())

    def items(self):
        return [*super().items(), *self._set_cookies]


class MessageResponse(MessageHeaders, HttpResponse):
    """A whole response that came as a message."""


class MessageStreamingResponse(MessageHeaders, StreamingHttpResponse):
    """A response whose content comes as several messages."""


def _content(message, response):
    if "bytes" in message:
        return decode_bytes(message["bytes"])
    return message.get("content", "").encode(response.charset)


def _chunks(message, next_message, response):
    while True:
        if chunk := _content(message, response):
            yield chunk
        if not message.get("more"):
            return
        message = next_message()
        check_response_message(message)


def _port(value):
    return int(value) if value and value.isdecimal() else None
