"""
HTTP responses as messages, as they go to a response channel:

    {"status": 200, "reason": "OK", "content_type": "text/plain",
     "headers": [["X-Frame-Options", "DENY"]], "content": "Hello World"}

Only the content is needed. "bytes", base64 text, stands for content that is
not text, and "mimetype" is taken as "content_type".

With "more": true the content of the next message on the same channel continues
the body. If such a message names a "credit_channel", its sender stops after
django.channels.bodies.WINDOW messages until it is told there that they have
gone out, or that the client is gone:

    {"read": 1}
    {"closed": true}

{"error": "..."} in the middle of a body says that the rest will not come.
"""

import re
from http.cookies import CookieError, Morsel, SimpleCookie

from django.channels.exceptions import InvalidMessage, ResponseBroken
from django.channels.messages import decode_bytes, encode_bytes

KEYS = {
    "status": int,
    "reason": str,
    "content_type": str,
    "mimetype": str,
    "headers": list,
    "content": str,
    "bytes": str,
    "more": bool,
    "credit_channel": str,
}

# The keys of the messages that continue a body.
PART_KEYS = {"content", "bytes", "more"}

# RFC 9110, sections 5.1 and 5.5.
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[^\r\n\0]*")


class RawCookie(Morsel):
    """A Set-Cookie header that goes out as it came."""

    def __init__(self, line):
        super().__init__()
        self.line = line

    def OutputString(self, attrs=None):
        return self.line


def encode_response(response):
    """
    Return the message of `response`, a HttpResponse. That of a streaming one
    has no content and says that more is to come.
    """
    message = {
        "status": response.status_code,
        "reason": response.reason_phrase,
        "content_type": response.get("Content-Type", ""),
        "headers": [
            *([name, value] for name, value in response.items()),
            *(
                ["Set-Cookie", cookie.OutputString()]
                for cookie in response.cookies.values()
            ),
        ],
    }
    if response.streaming:
        return message | {"bytes": "", "more": True}
    return message | encode_content(response.content, response.charset)


def encode_content(content, charset):
    """Return {"content": text} if the bytes are UTF-8 text, else {"bytes": ...}."""
    if charset.lower() == "utf-8":
        try:
            return {"content": content.decode()}
        except UnicodeDecodeError:
            pass
    return {"bytes": encode_bytes(content)}


def split_message(message, size):
    """
    Yield `message`, or as many messages as it takes for each to have `size`
    bytes of content at most.
    """
    if "content" in message:
        # A character has up to four bytes.
        key, step = "content", size // 4
    else:
        # Three bytes are four letters of base64.
        key, step = "bytes", size // 3 * 4
    content = message.get(key, "")
    # What is no text is refused when it is sent.
    if not isinstance(content, str) or len(content) <= step:
        yield message
        return
    rest = {name: value for name, value in message.items() if name not in PART_KEYS}
    for start in range(0, len(content), step):
        last = start + step >= len(content)
        more = {} if last and not message.get("more") else {"more": True}
        yield rest | {key: content[start : start + step]} | more
        rest = {}


def decode_response(message, parts=(), response_class=None):
    """
    Return the HttpResponse that `message` describes.

    If it says that more is to come, the response is a streaming one and takes
    the further messages from `parts`. Otherwise channel_decode() of
    `response_class` makes it, HttpResponse unless given. Raise InvalidMessage,
    naming the key, for what is no response.
    """
    from django.http import HttpResponse, StreamingHttpResponse

    if not message.get("more"):
        return (response_class or HttpResponse).channel_decode(message)
    response = fill_response(StreamingHttpResponse(), message)
    response.streaming_content = join_parts(message, parts, response.charset)
    return response


def fill_response(response, message):
    """Give `response` what `message` says, and return it."""
    check_response(message)
    response.status_code = message.get("status", 200)
    response.reason_phrase = message.get("reason")
    decode_headers(message, response)
    try:
        content = decode_content(message, response.charset)
    except (UnicodeError, LookupError) as exc:
        raise InvalidMessage(
            f"The content does not fit the charset of its 'content_type': {exc}"
        ) from exc
    if not response.streaming:
        response.content = content
    return response


def decode_headers(message, response):
    """Give `response` the headers and cookies of `message`."""
    headers = message.get("headers", [])
    content_type = message.get("content_type", message.get("mimetype"))
    if content_type == "" or any(name.lower() == "content-type" for name, _ in headers):
        # None is wanted, or its place is among the others.
        del response.headers["Content-Type"]
    elif content_type is not None:
        response.headers["Content-Type"] = content_type
    names = set()
    for name, value in headers:
        if name.lower() == "set-cookie":
            decode_cookie(value, response.cookies)
        elif name.lower() in names:
            response.headers[name] = f"{response.headers[name]}, {value}"
        else:
            response.headers[name] = value
        names.add(name.lower())


def decode_cookie(line, cookies):
    """Add the cookie of a Set-Cookie header to `cookies`, so that it goes out alike."""
    try:
        parsed = SimpleCookie(line)
    except CookieError:
        parsed = {}
    if len(parsed) == 1:
        ((name, cookie),) = parsed.items()
        if cookie.OutputString() == line and name not in cookies:
            dict.__setitem__(cookies, name, cookie)
            return
    dict.__setitem__(cookies, line, RawCookie(line))


def join_parts(message, parts, charset):
    """Yield the content of `message` and of those that continue it."""
    parts = iter(parts)
    while True:
        if chunk := decode_content(message, charset):
            yield chunk
        if not message.get("more"):
            return
        message = next(parts, {"error": "The parts of the response ended early."})
        check_part(message)


def decode_content(message, charset):
    """Return the bytes of the content of a message."""
    if "bytes" in message:
        return decode_bytes(message["bytes"])
    return message.get("content", "").encode(charset)


def check_response(message):
    """Raise InvalidMessage, naming the key, if `message` is no response."""
    check_types(message)
    if not {"content", "bytes", "status"} & message.keys():
        raise InvalidMessage("A response needs 'content', 'bytes' or 'status'.")
    if not 200 <= message.get("status", 200) <= 599:
        raise InvalidMessage(
            f"'status' of a response must be from 200 to 599, not {message['status']}."
        )
    for key in ("reason", "content_type", "mimetype"):
        if not _HEADER_VALUE.fullmatch(message.get(key, "")):
            raise InvalidMessage(f"{key!r} of a response must be of one line.")
    for pair in message.get("headers", []):
        check_header(pair)


def check_part(message):
    """Raise ResponseBroken or InvalidMessage if `message` does not continue a body."""
    if "error" in message:
        raise ResponseBroken(f"The response ended early: {message['error']}")
    check_types(message)
    if wrong := message.keys() - PART_KEYS:
        raise InvalidMessage(
            f"A second response began before the first had ended: {sorted(wrong)[0]!r} "
            "is no key of a message that continues one."
        )


def check_types(message):
    for key, value in message.items():
        if key not in KEYS:
            raise InvalidMessage(
                f"A response has no key {key!r}. It has {', '.join(KEYS)}."
            )
        if type(value) is not KEYS[key]:
            raise InvalidMessage(
                f"{key!r} of a response must be of the type {KEYS[key].__name__}, "
                f"not {type(value).__name__}."
            )
    if {"content", "bytes"} <= message.keys():
        raise InvalidMessage("A response has 'content' or 'bytes', not both.")


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
