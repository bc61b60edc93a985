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

from django.channels.backoff import Backoff
from django.channels.exceptions import BackendUnavailable, ChannelError
from django.channels.memberships import Memberships
from django.channels.messages import split_address

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
        self.memberships = Memberships(backend, self.name)

    def open(self):
        """Return the name of a new channel, on which receive() may wait."""
        channel = f"{self.name}{next(self._numbers)}"
        self._arrived[channel] = deque()
        return channel

    def receive(self, channel, timeout):
        """
        Return the next message on an open channel, or None if none comes within
        `timeout` seconds. Raise BackendUnavailable if the store is away then.
        """
        arrived = self._arrived[channel]
        deadline = time.monotonic() + timeout
        backoff = Backoff()
        while not arrived:
            left = max(deadline - time.monotonic(), 0)
            try:
                received = self.memberships.receive(left)
            except BackendUnavailable:
                # The answer may still come, as its sender may be able to send.
                if not backoff.wait(deadline):
                    raise
                continue
            if received is not None:
                self._sort(*received)
            elif time.monotonic() >= deadline:
                return None
        return arrived.popleft()

    def close(self, channel):
        """Drop what has come on the channel, and what will come."""
        self.memberships.close(channel)
        for message in self._arrived.pop(channel, ()):
            self._refuse(message)

    def _refuse(self, message):
        """Tell who would send more, and waits for credit, that nobody takes it."""
        credit_channel = message.get("credit_channel")
        if isinstance(credit_channel, str):
            with suppress(ChannelError):
                self.backend.send(credit_channel, {"closed": True})

    def _sort(self, channel, message):
        if (group := split_address(channel)) is not None:
            for member in self.memberships.members(group):
                self._arrived[member].append(message.copy())
        elif self.memberships.note(channel, message, channel in self._arrived):
            return
        elif (arrived := self._arrived.get(channel)) is not None:
            arrived.append(message)
        elif not message.keys() & {"read", "closed"}:  # For a body that has gone out.
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
