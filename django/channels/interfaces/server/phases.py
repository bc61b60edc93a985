"""What comes next for a WebSocket, see django.channels.interfaces.server.sockets."""

from enum import IntEnum


class Phase(IntEnum):
    """A WebSocket goes through these in their order, and may leave some out."""

    CONNECTING = 0  # The answer to the handshake.
    OPEN = 1  # Messages, both ways.
    CLOSING = 2  # The client's close frame.
    LINGERING = 3  # The end of the TCP connection.
    GONE = 4  # What workers have to hear yet.
    ENDED = 5


CONNECTING, OPEN, CLOSING, LINGERING, GONE, ENDED = Phase
