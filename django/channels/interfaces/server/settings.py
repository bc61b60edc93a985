"""The limits of an interface process, and the settings that they come from."""

import resource
from typing import NamedTuple

from django.channels.interfaces.http.limits import Limits as HttpLimits
from django.channels.interfaces.server.limits import Limits as WebSocketLimits

# Descriptors that the process needs for other things than connections.
RESERVED = 100


class ServerLimits(NamedTuple):
    """The limits of connections. Sizes are in bytes, times in seconds."""

    http: HttpLimits = HttpLimits()
    websocket: WebSocketLimits = WebSocketLimits()
    body: int | None = None  # Of a request; CHANNELS_MAX_BODY_SIZE.
    head_time: float = 10  # From the first byte of a head to its last.
    body_time: float = 30  # Silence in a body.
    write_time: float = 30  # For which a client may take nothing.
    keep_alive: float = 75  # Silence between two requests.
    connections: int | None = None  # As many as the descriptor limit leaves room for.


def room_for_connections():
    """Return how many connections the descriptor limit of the process allows."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return 2**20
    return max(soft - RESERVED, soft // 2)
