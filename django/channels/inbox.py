"""
How a thread waits for the answers to what it has sent.

Each thread that waits has one inbox, named like

    django.wsgi.response.3f9a6c81d20b7e45!

and a channel in it for each request, whose name ends in a number. All of
them are one queue of the backend, so that a store holds no key of a request.
"""

import itertools
import logging
import os
import secrets
import threading
import time
from collections import deque
from contextlib import suppress

from django.channels.exceptions import ChannelError

logger = logging.getLogger("django.channels.inbox")


class Inbox:
    """
    Receives what is sent to the channels of one thread.

    `backend` is a channel backend, `prefix` what the names of the channels
    begin with.
    """

    def __init__(self, backend, prefix):
        self.backend = backend
        self.name = f"{prefix}.{secrets.token_hex(8)}!"
        self._numbers = itertools.count(1)
        self._arrived = {}

    def open(self):
        """Return the name of a new channel, on which receive() may wait."""
        channel = f"{self.name}{next(self._numbers)}"
        self._arrived[channel] = deque()
        return channel

    def receive(self, channel, timeout):
        """
        Return the next message on an open channel, or None if none comes within
        `timeout` seconds.
        """
        arrived = self._arrived[channel]
        deadline = time.monotonic() + timeout
        while not arrived:
            received = self.backend.receive(
                [self.name], max(deadline - time.monotonic(), 0)
            )
            if received is None:
                return None
            self._sort(*received)
        return arrived.popleft()

    def close(self, channel):
        """Drop what has come on the channel, and what will come."""
        for message in self._arrived.pop(channel, ()):
            self._refuse(message)

    def _refuse(self, message):
        """Tell who would send more, and waits for credit, that nobody takes it."""
        credit_channel = message.get("credit_channel")
        if isinstance(credit_channel, str):
            with suppress(ChannelError):
                self.backend.send(credit_channel, {"closed": True})

    def _sort(self, channel, message):
        try:
            self._arrived[channel].append(message)
        except KeyError:
            if message.keys() & {"read", "closed"}:
                return  # For a body that has gone out already.
            self._refuse(message)
            logger.warning(
                "A message on %r was dropped: its request is answered already, or "
                "nobody waits for it any more.",
                channel,
            )


_local = threading.local()


def thread_inbox(backend, prefix):
    """Return the inbox of the current thread for channels that begin with `prefix`."""
    inboxes = _local.__dict__
    inbox = inboxes.get(prefix)
    if inbox is None or inbox.backend is not backend:
        inbox = inboxes[prefix] = Inbox(backend, prefix)
    return inbox


def use_thread_inbox(inbox, prefix):
    """Make `inbox` the one that thread_inbox() returns in the current thread."""
    _local.__dict__[prefix] = inbox


def _forget_inboxes():
    global _local
    _local = threading.local()


# A fork with its parent's inbox would take the parent's messages.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_inboxes)
