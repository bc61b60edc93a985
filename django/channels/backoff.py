"""How long to wait before another try."""

import random
import time


class Backoff:
    """
    Waits longer after each failure in a row, up to `most` seconds, and never
    as long as others that have failed at the same time.
    """

    def __init__(self, first=0.05, most=2.0):
        self.first = first
        self.most = most
        self.reset()

    def reset(self):
        """Forget the failures, after a success."""
        self._next = self.first

    def delay(self):
        """Return the seconds to wait after another failure."""
        delay = self._next * random.uniform(0.5, 1)
        self._next = min(self._next * 2, self.most)
        return delay

    def wait(self, deadline=float("inf")):
        """
        Wait, until `deadline` of time.monotonic() at most. Return whether it is
        still to come.
        """
        left = deadline - time.monotonic()
        if left > 0:
            time.sleep(min(self.delay(), left))
        return time.monotonic() < deadline
