"""Telling people that a store is away, once, and that it is back."""

import logging
import threading
import time

from django.channels.exceptions import BackendUnavailable

logger = logging.getLogger("django.channels.worker")


class Outage:
    """
    Whether the store of `backend` answers the receivers of this process.

    It begins with the first of them that fails, and ends when all that failed
    have received again. Both are logged, and no try between them.
    """

    def __init__(self, backend):
        self.backend = backend
        self._lock = threading.Lock()
        self._failing = set()
        self._began = 0

    @property
    def is_on(self):
        """Return whether a receiver has failed, and has not received since."""
        return bool(self._failing)

    def __contains__(self, receiver):
        return receiver in self._failing

    def note_failure(self, receiver, exception):
        """Note that `receiver` has failed to receive."""
        with self._lock:
            is_first = not self._failing
            self._failing.add(receiver)
            if is_first:
                self._began = time.monotonic()
        if is_first:
            expected = isinstance(exception, BackendUnavailable)
            logger.error(
                "Nothing can be received from the channel backend %r, %s: %s. Trying "
                "again until it answers.",
                self.backend.alias,
                self.backend.describe(),
                str(exception).rstrip(".") or type(exception).__name__,
                # A store that is away is no fault in the code.
                exc_info=None if expected else exception,
            )

    def note_success(self, receiver):
        """Note that `receiver` has received, or that nothing was there."""
        if receiver not in self:
            return
        with self._lock:
            self._failing.discard(receiver)
            is_over, began = not self._failing, self._began
        if is_over:
            logger.warning(
                "The channel backend %r answers again, after %.1f seconds.",
                self.backend.alias,
                time.monotonic() - began,
            )

    def forget(self, receiver):
        """Leave out a receiver that has ended."""
        with self._lock:
            self._failing.discard(receiver)
