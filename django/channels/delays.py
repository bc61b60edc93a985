"""
Delayed messages: which delays there are, and when to look for what is due.

A delay is a number of seconds or a timedelta. A message that is sent with one
lies in the store beside its queue. When it is due it goes to the end of the
queue, as if it were sent then.
"""

import time
from datetime import timedelta

from django.channels.exceptions import InvalidDelay

# Seconds by which a message can be delayed at most: 30 days.
MAX_DELAY = 30 * 24 * 60 * 60

# Seconds between two looks of a process at what is delayed in a store, unless it
# knows that something is due earlier.
LOOK_INTERVAL = 1


def clean_delay(delay, channel):
    """
    Return `delay`, seconds or a timedelta, as the number of seconds by which a
    message to `channel` is delayed.

    Raise InvalidDelay if it is no such number, or if the channel belongs to an
    inbox, which may be gone by then.
    """
    if type(delay) is int and delay == 0:
        return 0
    seconds = delay.total_seconds() if isinstance(delay, timedelta) else delay
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise InvalidDelay(
            "A delay must be a number of seconds or a timedelta, not "
            f"{type(delay).__name__}."
        )
    if not 0 <= seconds <= MAX_DELAY:
        raise InvalidDelay(
            f"A delay must be from 0 to {MAX_DELAY} seconds (30 days), not {delay!r}."
        )
    if seconds and "!" in channel:
        raise InvalidDelay(
            f"A message to {channel!r} cannot be delayed, as the channel belongs to a "
            "client that may be gone by then. Delay one to a channel that has a "
            "consumer, and let that send it."
        )
    return seconds


class Looks:
    """
    When this process is to look for messages in a store that have fallen due.

    Other processes delay messages, too, so that it is not known for certain.
    """

    def __init__(self):
        self._next = 0

    def take(self, timeout):
        """
        Return whether to look now: it is time, or a receiver with this `timeout`
        will not look again. For LOOK_INTERVAL no other thread has to.
        """
        now = time.monotonic()
        if timeout > 0 and now < self._next:
            return False
        self._next = now + LOOK_INTERVAL
        return True

    def note(self, seconds):
        """Note that a message will be due in so many seconds."""
        self._next = min(self._next, time.monotonic() + seconds)

    def limit(self, timeout):
        """Return for how much of `timeout` a receiver may wait until the next look."""
        return max(min(timeout, self._next - time.monotonic()), 0)
