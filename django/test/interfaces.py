"""The interface process of a test, without sockets and in the test's thread."""

import itertools
import secrets
import time

from django.channels.background import background
from django.channels.interfaces.server.counters import Counters
from django.channels.interfaces.server.limits import Limits
from django.channels.memberships import Memberships
from django.channels.messages import split_address
from django.channels.registry import registry


class Interface:
    """
    The inbox of a test on `backend`, and the WebSockets whose channels are in it. To
    django.channels.interfaces.server.reports it is their site, and its relay.
    """

    limits = Limits()
    clock = staticmethod(time.monotonic)

    def __init__(self, backend):
        self.backend = backend
        self.expiry = backend.expiry
        self.counters = Counters()
        self.relay = self
        self._inbox = f"django.interface.{secrets.token_hex(8)}!"
        self._memberships = Memberships(backend, self._inbox)
        self._numbers = itertools.count(1)
        self._sockets = {}

    def open(self, socket):
        """Return a channel whose messages `socket` takes from now on."""
        channel = f"{self._inbox}{next(self._numbers)}"
        self._sockets[channel] = socket
        return channel

    def leave(self, channel):
        """Let `channel` leave its groups."""
        self._memberships.close(channel)

    def close(self, channel):
        """Drop what comes on `channel` from now on."""
        if self._sockets.pop(channel, None) is not None:
            self.leave(channel)

    def consumer(self, channel):
        """Return the Consumer of `channel`, or None."""
        return registry.get(channel, self.backend.alias)

    def count(self, what, number=1):
        """Add to the counter `what`."""
        self.counters[what] += number

    def send(self, channel, message, failed):
        """Send to a consumer. What the store does not take is raised in the test."""
        self.backend.send(channel, message)
        background.message_sent(self.backend, channel)

    def deliver(self):
        """Take what has come in the inbox. Return whether anything has."""
        has_come = False
        while received := self._memberships.receive(0):
            self._give(*received)
            has_come = True
        return has_come

    def _give(self, channel, message):
        if (group := split_address(channel)) is not None:
            for member in self._memberships.members(group):
                self._sockets[member].deliver(message, in_group=True)
        elif not self._memberships.note(channel, message, channel in self._sockets):
            if (socket := self._sockets.get(channel)) is not None:
                socket.deliver(message)
