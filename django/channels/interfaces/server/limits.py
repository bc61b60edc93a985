"""What one WebSocket may take of an interface process."""

from typing import NamedTuple


class Limits(NamedTuple):
    """
    The limits of each WebSocket. Sizes are in bytes, times in seconds.

    Whoever sends more than it may is closed. Whoever sends faster than workers
    work is read no further, until they have caught up.
    """

    message_size: int = 2**20  # Also of a frame, and after decompression.
    fragments: int = 1000  # Frames of one message.
    waiting_frames: int = 16  # Messages that wait for their turn with the workers.
    waiting_bytes: int = 2**20
    unsent_frames: int = 64  # What waits for a client that reads slowly.
    unsent_bytes: int = 2**20
    ping_after: float = 20  # Silence after which the client is asked for a pong.
    silence: float = 60  # Silence after which it is taken as gone.
    closing: float = 5  # For the client's part of the closing handshake.
    rate: float | None = None  # Messages a second, and as many at once.
    compression: bool = False  # Whether permessage-deflate is offered.


class Rate:
    """Counts the messages of a socket that may send `rate` of them a second."""

    __slots__ = ("rate", "_left", "_at")

    def __init__(self, rate, now):
        self.rate = rate
        self._left = max(rate, 1)
        self._at = now

    def take(self, now):
        """Return whether another message may come at the time `now`."""
        earned = (now - self._at) * self.rate
        self._left = min(self._left + earned, max(self.rate, 1))
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True
