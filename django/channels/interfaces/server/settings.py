"""
The limits of an interface process.

They come from the setting CHANNELS_LIMITS, a dict of what shall not be as here:

    CHANNELS_LIMITS = {"SILENCE": 300, "COMPRESSION": True}
"""

from typing import NamedTuple

from django.channels.interfaces.http.limits import Limits as HttpLimits
from django.channels.interfaces.server.limits import Limits as WebSocketLimits
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

# Connections where nobody tells how many descriptors there may be.
ROOM = 1000

# Descriptors that the process needs for other things than connections.
RESERVED = 100


class ServerLimits(NamedTuple):
    """The limits of connections. Sizes are in bytes, times in seconds."""

    http: HttpLimits = HttpLimits()
    websocket: WebSocketLimits = WebSocketLimits()
    body: int | None = None  # Of a request; the setting CHANNELS_MAX_BODY_SIZE.
    head_time: float = 10  # From the first byte of a head to its last.
    spool: int = 2**26  # Of a body in chunks, if `body` is None.
    body_time: float = 30  # Silence in a body.
    write_time: float = 30  # For which a client may take nothing.
    keep_alive: float = 75  # Silence between two requests.
    connections: int | None = None  # As many as there are descriptors for.
    connections_per_address: int | None = None


# Key of the setting -> (part of ServerLimits, field there, type).
KEYS = {
    "BODY_TIME": ("", "body_time", float),
    "COMPRESSION": ("websocket", "compression", bool),
    "CONNECTIONS": ("", "connections", int),
    "CONNECTIONS_PER_ADDRESS": ("", "connections_per_address", int),
    "FRAGMENTS": ("websocket", "fragments", int),
    "HEAD_SIZE": ("http", "head", int),
    "HEAD_TIME": ("", "head_time", float),
    "KEEP_ALIVE": ("", "keep_alive", float),
    "MESSAGE_RATE": ("websocket", "rate", float),
    "MESSAGE_SIZE": ("websocket", "message_size", int),
    "PING_AFTER": ("websocket", "ping_after", float),
    "SPOOL_SIZE": ("", "spool", int),
    "SILENCE": ("websocket", "silence", float),
    "UNSENT_MESSAGES": ("websocket", "unsent_frames", int),
    "UNSENT_SIZE": ("websocket", "unsent_bytes", int),
    "WRITE_TIME": ("", "write_time", float),
}

# Those that may be None: no limit, or one that follows from something else.
OPTIONAL = {"CONNECTIONS", "CONNECTIONS_PER_ADDRESS", "MESSAGE_RATE"}


def read_limits():
    """
    Return the ServerLimits of the settings. Raise ImproperlyConfigured, naming the
    key, for what is no limit.
    """
    parts = {"": {"body": settings.CHANNELS_MAX_BODY_SIZE}, "http": {}, "websocket": {}}
    for key, value in getattr(settings, "CHANNELS_LIMITS", {}).items():
        if key not in KEYS:
            raise ImproperlyConfigured(
                f"CHANNELS_LIMITS has the key {key!r}. It knows {', '.join(KEYS)}."
            )
        part, field, kind = KEYS[key]
        check_limit(key, value, kind)
        parts[part][field] = value
    return ServerLimits(
        http=HttpLimits(**parts["http"]),
        websocket=WebSocketLimits(**parts["websocket"]),
        **parts[""],
    )


def check_limit(key, value, kind):
    """Raise ImproperlyConfigured unless `value` is a limit of a kind."""
    if value is None and key in OPTIONAL:
        return
    if kind is bool:
        fits, wanted = isinstance(value, bool), "True or False"
    else:
        types = (int,) if kind is int else (int, float)
        fits, wanted = type(value) in types and value > 0, "a number above 0"
    if not fits:
        raise ImproperlyConfigured(
            f"CHANNELS_LIMITS[{key!r}] must be {wanted}, not {value!r}."
        )


def room_for_connections():
    """Return how many connections the descriptor limit of the process allows."""
    try:
        import resource
    except ModuleNotFoundError:
        return ROOM  # On Windows.
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return 2**20
    return max(soft - RESERVED, soft // 2)
