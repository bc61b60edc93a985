"""One timer for all that wait for an answer."""

import time
from collections import deque

from gevent import get_hub

# Seconds after which what waits for an answer is told that none has come yet.
PATIENCE = 0.2

# What it is told.
IMPATIENT = object()


class Patience:
    """
    Puts IMPATIENT into queues that have been watched for PATIENCE seconds, whether
    something else has come in the meantime or not. Most answers come earlier, and
    a timer for each would cost more than the rest of the waiting.
    """

    def __init__(self):
        # (when to tell, queue), in the order of both.
        self._watched = deque()

    def start(self):
        """Begin, in the hub of this thread, which does not wait for the end."""
        self._timer = get_hub().loop.timer(PATIENCE / 4, PATIENCE / 4, ref=False)
        self._timer.start(self._tell)

    def stop(self):
        """Tell nobody any more."""
        self._timer.stop()
        self._timer.close()

    def watch(self, queue):
        """Tell `queue` in PATIENCE seconds, or little later."""
        self._watched.append((time.monotonic() + PATIENCE, queue))

    def _tell(self):
        now = time.monotonic()
        while self._watched and self._watched[0][0] <= now:
            self._watched.popleft()[1].put(IMPATIENT)
