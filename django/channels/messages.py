"""
What may be sent: the names of channels, and the format of messages.

A message is a dict of JSON values with string keys:

    {"response_channel": "django.wsgi.response.3f9a6c81!7", "path": "/foo/"}

On the wire it is compact JSON text (RFC 8259) in ASCII:

    {"response_channel":"django.wsgi.response.3f9a6c81!7","path":"/foo/"}

The values are None, booleans, integers of up to 64 bits, finite floats,
strings, lists and dicts. Tuples become lists, and subclasses of these types
become the plain type. Everything else is refused when it is sent, with an
error that names the key, on each backend alike. Bytes travel as base64 text,
see encode_bytes().

The name of a channel has letters, digits, "_", "-" and ".". It may have one
"!", as in "django.wsgi.response.3f9a6c81!7": what stands before it, together
with the "!", names the inbox on which one interface process or thread
receives the messages of many such channels.
"""

import binascii
import json
import math
import re
from collections.abc import Mapping

from django.channels.exceptions import InvalidChannelName, InvalidMessage
from django.channels.ids import ReceivedMessage, SentMessage, SentText, with_id

try:
    # Many times faster, which is most of the time that a large body takes.
    from pybase64 import b64decode, b64encode_as_string
except ImportError:
    from base64 import b64decode, b64encode

    def b64encode_as_string(data):
        return b64encode(data).decode("ascii")


# Version of the format of messages, for interface servers in other languages.
FORMAT_VERSION = 1

MAX_NAME_LENGTH = 200  # Characters.
MAX_DEPTH = 32  # Lists and dicts inside one another.
MIN_INTEGER = -(2**63)
MAX_INTEGER = 2**64 - 1

# Types of values that are as they are.
PLAIN = frozenset([str, bool, type(None)])

# Keys that name an argument of every consumer.
RESERVED_KEYS = frozenset(["channel"])

_NAME = re.compile(r"[a-zA-Z0-9_.-]+(?:![a-zA-Z0-9_.-]+)?")
_INBOX = re.compile(r"[a-zA-Z0-9_.-]+!")

# What clean_message() returns is not circular.
_encode = json.JSONEncoder(
    separators=(",", ":"), allow_nan=False, check_circular=False
).encode


def _refuse_constant(name):
    raise ValueError(f"JSON has no {name}.")


def _parse_int(text):
    number = int(text) if len(text) <= 20 else None
    if number is None or not MIN_INTEGER <= number <= MAX_INTEGER:
        raise ValueError("an integer of more than 64 bits")
    return number


def _parse_float(text):
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is not finite")
    return number


_decode = json.JSONDecoder(
    parse_constant=_refuse_constant, parse_int=_parse_int, parse_float=_parse_float
).decode


def check_channel_name(name):
    """
    Raise InvalidChannelName unless messages can be sent to the channel `name`.
    """
    if not isinstance(name, str):
        raise InvalidChannelName(
            f"The name of a channel must be a string, not {type(name).__name__}."
        )
    if len(name) > MAX_NAME_LENGTH or not _NAME.fullmatch(name):
        raise InvalidChannelName(
            f"{name[:MAX_NAME_LENGTH]!r} is not a valid name for a channel. Use at "
            f"most {MAX_NAME_LENGTH} letters, digits, '_', '-' and '.', and at most "
            "one '!' between two such parts."
        )


def check_queue_name(name):
    """
    Raise InvalidChannelName unless messages can be received from `name`, which
    is an inbox ("prefix!") or a channel that is in no inbox.
    """
    if (
        isinstance(name, str)
        and len(name) <= MAX_NAME_LENGTH
        and _INBOX.fullmatch(name)
    ):
        return
    check_channel_name(name)
    if "!" in name:
        raise InvalidChannelName(
            f"{name!r} cannot be received from by itself: receive from its inbox "
            f"{queue_name(name)!r}."
        )


def check_group_name(name):
    """Raise InvalidChannelName unless a group can have this name."""
    if not isinstance(name, str) or "!" in name:
        raise InvalidChannelName(f"{name!r} is not a valid name for a group.")
    check_channel_name(name)


def group_address(inbox, group):
    """
    Return the name under which one message goes to all members of `group` that
    are channels of `inbox`. It is no channel that an application can name.
    """
    return f"{inbox}*{group}"


def split_address(channel):
    """Return the group in a name that group_address() has made, else None."""
    _, separator, group = channel.partition("!*")
    return group if separator else None


def queue_name(channel):
    """
    Return the name of the queue that holds the messages of `channel`: its
    inbox for a channel with a "!", else the channel itself.
    """
    inbox, separator, _ = channel.partition("!")
    return inbox + separator


def clean_message(message):
    """
    Return a copy of `message` in plain JSON types, which shares nothing with
    it. Raise InvalidMessage, naming the key, if it holds anything else.
    """
    if not isinstance(message, Mapping):
        raise InvalidMessage(f"A message must be a dict, not {type(message).__name__}.")
    for key in RESERVED_KEYS:
        if key in message:
            raise InvalidMessage(
                f"The key {key!r} is reserved: consumers are called with the name "
                "of the channel under it. Use another key."
            )
    cleaned = _clean_dict(message, "", 1)
    if type(message) is SentMessage:
        return with_id(SentMessage, cleaned, message.id)
    return cleaned


def encode_message(message):
    """Return the JSON text of a message that clean_message() has returned."""
    text = _encode(message)
    if type(message) is SentMessage:
        return with_id(SentText, text, message.id)
    return text


def decode_message(text):
    """
    Return the message in a JSON text, or raise InvalidMessage. If the text has an
    id, it is a ReceivedMessage.
    """
    number = getattr(text, "id", None)
    message = _decode_text(text)
    if number is not None:
        return with_id(ReceivedMessage, message, number)
    return message


def _decode_text(text):
    try:
        text = text if isinstance(text, str) else text.decode()
        message = _decode(text)
    except (ValueError, RecursionError) as exc:
        raise InvalidMessage(f"The message is not JSON text: {exc}") from exc
    if (
        type(message) is not dict
        or not RESERVED_KEYS.isdisjoint(message)
        # It may be nested too deep. The rest JSON and the decoder have seen to.
        or text.count("{") + text.count("[") > MAX_DEPTH
    ):
        return clean_message(message)
    return message


def encode_bytes(data):
    """Return the base64 text (RFC 4648, section 4) under which bytes travel."""
    return b64encode_as_string(data)


def decode_bytes(text, key="bytes"):
    """
    Return the bytes in the base64 text that stood under `key`. Raise
    InvalidMessage if it is not base64.
    """
    try:
        return b64decode(text, validate=True)
    except (TypeError, ValueError, binascii.Error) as exc:
        raise InvalidMessage(f"The value of {key!r} is not base64 text.") from exc


def _clean_value(value, path, depth):
    if type(value) in PLAIN:
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        if not MIN_INTEGER <= value <= MAX_INTEGER:
            raise _refusal(path, "is an integer of more than 64 bits")
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise _refusal(path, f"is {value}, which JSON does not have")
        return float(value)
    if depth > MAX_DEPTH:
        raise _refusal(path, f"is nested more than {MAX_DEPTH} deep")
    if isinstance(value, Mapping):
        return _clean_dict(value, f"{path}.", depth + 1)
    if isinstance(value, (list, tuple)):
        return [
            (
                item
                if type(item) in PLAIN
                else _clean_value(item, f"{path}[{index}]", depth + 1)
            )
            for index, item in enumerate(value)
        ]
    raise _refusal(path, f"is of the type {type(value).__name__}", _way_out(value))


def _clean_dict(mapping, prefix, depth):
    cleaned = {}
    for key, value in mapping.items():
        if not isinstance(key, str):
            raise InvalidMessage(
                f"The keys of a message must be strings, but {prefix or 'it'} has "
                f"the key {key!r}."
            )
        if type(value) not in PLAIN:
            value = _clean_value(value, prefix + key, depth)
        cleaned[str.__str__(key)] = value
    return cleaned


def _refusal(path, fault, way_out=""):
    return InvalidMessage(
        f"The value of {path!r} {fault}, so the message cannot be sent.{way_out}"
    )


def _way_out(value):
    if isinstance(value, (bytes, bytearray, memoryview)):
        return (
            " Send bytes as base64 text, see django.channels.messages.encode_bytes()."
        )
    return " Send a string, a number, a boolean, None, a list or a dict instead."
