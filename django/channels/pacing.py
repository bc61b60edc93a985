"""How many messages a worker takes from the store."""

import threading


class Allowance:
    """How many messages some workers may still take together: no limit for None."""

    def __init__(self, messages=None):
        self._left = None if messages is None else threading.Semaphore(messages)

    @property
    def is_limited(self):
        """Whether there is a limit."""
        return self._left is not None

    def take(self):
        """Return whether another message may be taken, which then is one less."""
        return self._left is None or self._left.acquire(blocking=False)

    def give_back(self):
        """Say that there was no message to take."""
        if self._left is not None:
            self._left.release()


class Pace:
    """
    How many messages to take from the store at a time.

    It is one, unless consumers are so quick that the way to the store takes most
    of the time. Then it is what they have done in `seconds`, at `most` messages.
    """

    seconds = 0.002
    most = 16

    def __init__(self):
        self._average = self.seconds

    def note(self, seconds):
        """Note how long a consumer took. A slow one weighs at once."""
        if seconds > self._average:
            self._average = seconds
        else:
            self._average += (seconds - self._average) / 8

    def batch(self):
        """Return the number of messages to take now."""
        return max(1, min(self.most, int(self.seconds / self._average)))
