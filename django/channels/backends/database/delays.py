"""
The delayed messages of DatabaseBackend.

They have a table of their own, and get their place in a queue when they are due:
by whichever process looks then, as each that receives does once a second, or
when it knows that something is due.
"""

import math

from django.channels.messages import queue_name
from django.channels.models import DelayedMessage, Message, milliseconds
from django.db import transaction

# Messages that one transaction puts into their queues.
MOST = 100


class DatabaseDelays:
    """The part of DatabaseBackend that has to do with delays."""

    supports_delay = True

    def push_delayed(self, channel, packed, delay):
        queue = queue_name(channel)
        self._sweep_if_due()
        if not self._links.run(self._delay, channel, queue, packed, delay):
            raise self._full(queue, "unread and delayed")
        self._looks.note(delay)
        # Receivers of this process need not wait for so long.
        self._bells.ring(queue)

    def _delay(self, link, channel, queue, packed, delay):
        """Keep a message until it is due, if there is room. Return whether there is."""
        now = link.clock.now()
        delayed = DelayedMessage.objects.using(link.using)
        held = sum(
            rows.filter(queue=queue).live(milliseconds(now))[: self.capacity].count()
            for rows in (Message.objects.using(link.using), delayed)
        )
        if held >= self.capacity:
            return False
        # Not too early where another clock is not as slow as this one.
        due = now + link.clock_lag + delay
        deadline = due + self.expiry
        delayed.insert(
            queue=queue,
            envelope=self.envelopes.seal(channel, packed, deadline),
            due=math.ceil(due * 1000),
            deadline=milliseconds(deadline),
        )
        return True

    def _move_due(self, timeout):
        """
        Put what is due into its queues, if it is time to look for it. A receiver
        whose `timeout` is 0 always looks.
        """
        if self._looks.take(timeout):
            while queues := self._links.run(self._move_some):
                for queue in queues:
                    self._bells.ring(queue)

    def _move_some(self, link):
        """Return the queues into which something was put."""
        now = math.floor(link.clock.now() * 1000)
        delayed = DelayedMessage.objects.using(link.using)
        due = delayed.next_due(now)
        if due is None or due > now:
            if due is not None:
                self._looks.note((due - now) / 1000)
            return set()
        messages = Message.objects.using(link.using)
        with transaction.atomic(using=link.using):
            link.limit_waiting(self.options["LOCK_TIMEOUT"])
            rows = delayed.take(now, MOST)
            for row in rows:
                notify = self._notification(link, row.queue)
                messages.append(row.queue, row.envelope, row.deadline, notify)
        return {row.queue for row in rows}
