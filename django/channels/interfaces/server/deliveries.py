"""
What the messages on a send channel say to its WebSocket:

    {"content": "text"}
    {"bytes": "Ynl0ZXM="}
    {"accept": true, "subprotocol": "chat"}
    {"close": true}
    {"close": 4001, "reason": "Signed out"}
    {"state": {"user": 7}}

One message may say several of these. Those of a HTTP response are understood as
well, so that one message may go to a group of WebSockets and long polls: only its
content goes out.
"""

from typing import NamedTuple

from websockets.frames import BINARY, TEXT

from django.channels.exceptions import InvalidMessage
from django.channels.messages import clean_message, decode_bytes

# Codes that a server may send (RFC 6455, section 7.4, and the registry of IANA),
# besides those from 3000 on, which are for libraries and applications.
CLOSE_CODES = frozenset(
    [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1011, 1012, 1013, 1014]
)

MAX_REASON = 123  # Bytes: what a control frame has room for beside the code.

_KEYS = {
    "content": str,
    "bytes": str,
    "accept": bool,
    "subprotocol": str,
    "close": int,
    "reason": str,
    "state": dict,
}


class Delivery(NamedTuple):
    """What a message says. Its defaults say nothing."""

    opcode: int | None = None
    data: bytes = b""
    accept: bool = False
    subprotocol: str | None = None
    close: int | None = None
    reason: str = ""
    state: dict | None = None

    @property
    def accepts(self):
        """Whether a handshake that it comes for is accepted."""
        return self.close is None and (
            self.accept or self.subprotocol is not None or self.opcode is not None
        )


def parse_delivery(message):
    """
    Return the Delivery of `message`, a dict that has come on a send channel. Raise
    InvalidMessage, naming the key, if it is not of the format.
    """
    if not message.keys() & _KEYS.keys():
        raise InvalidMessage(
            f"It has none of the keys that a WebSocket knows: {', '.join(_KEYS)}."
        )
    for key in message.keys() & _KEYS.keys():
        if not isinstance(message[key], _KEYS[key]):
            raise InvalidMessage(
                f"The value of {key!r} must be of the type {_KEYS[key].__name__}, not "
                f"{message[key]!r:.50}."
            )
    opcode, data = _parse_data(message)
    close = _parse_close(message.get("close"))
    state = message.get("state")
    return Delivery(
        opcode,
        data,
        message.get("accept", False),
        message.get("subprotocol"),
        close,
        # That of a HTTP response is another thing.
        "" if close is None else _check_reason(message.get("reason", "")),
        None if state is None else clean_message(state),
    )


def _parse_data(message):
    content, encoded = message.get("content"), message.get("bytes")
    if content is not None and encoded is not None:
        raise InvalidMessage("It has both 'content' and 'bytes': send two messages.")
    if encoded is not None:
        return BINARY, decode_bytes(encoded)
    if content is None:
        return None, b""
    try:
        return TEXT, content.encode()
    except UnicodeEncodeError as exc:
        raise InvalidMessage("The value of 'content' has half a character.") from exc


def _parse_close(code):
    if code is None or code is False:
        return None
    if code is True:
        return 1000
    if code in CLOSE_CODES or 3000 <= code < 5000:
        return code
    raise InvalidMessage(
        f"The value of 'close' must be true or a code that a server may send, such as "
        f"1000, or 4000 to 4999 for codes of your own, not {code}."
    )


def _check_reason(reason):
    if len(reason.encode(errors="replace")) > MAX_REASON or not reason.isprintable():
        raise InvalidMessage(
            f"The value of 'reason' must be printable text of at most {MAX_REASON} "
            "bytes in UTF-8."
        )
    return reason
