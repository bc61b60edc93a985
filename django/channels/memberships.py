"""Which channels of one inbox are in which groups, on the side that has the inbox."""

import time
from contextlib import suppress

from django.channels.exceptions import ChannelError


class Memberships:
    """
    The groups of the channels of `inbox`, an inbox of `backend`.

    Its owner is told of them by messages on the channels:

        {"join": "chat"}
        {"leave": "chat"}

    and tells the store again and again, as the store forgets them after EXPIRY.
    """

    def __init__(self, backend, inbox):
        self.backend = backend
        self.inbox = inbox
        self.interval = backend.expiry / 3
        # Group -> member channels. Dicts as ordered sets.
        self._groups = {}
        # Member channel -> its groups.
        self._groups_of = {}
        # Open channel -> groups that the store has been told it has left.
        self._left = {}
        self._due = float("inf")

    def note(self, channel, message, is_open):
        """
        Return whether `message` says that `channel` joins or leaves a group, and
        note it. A channel that is not open any more joins none.
        """
        if len(message) != 1:
            return False
        ((verb, group),) = message.items()
        if verb not in ("join", "leave") or not isinstance(group, str):
            return False
        if verb == "join" and is_open:
            self._groups.setdefault(group, {})[channel] = None
            self._groups_of.setdefault(channel, set()).add(group)
            self._due = min(self._due, time.monotonic() + self.interval)
            if group in self._left.get(channel, ()):
                # The store may have been told so after it was told of this join.
                self._left[channel].remove(group)
                with suppress(ChannelError):
                    self.backend.join(group, self.inbox, [channel])
        else:
            self._leave(group, channel)
            if is_open:
                self._left.setdefault(channel, set()).add(group)
        return True

    def has(self, channel):
        """Return whether `channel` is in any group."""
        return channel in self._groups_of

    def members(self, group):
        """Return the channels that are in `group`."""
        return list(self._groups.get(group, ()))

    def close(self, channel):
        """Let `channel` leave all its groups."""
        for group in list(self._groups_of.get(channel, ())):
            self._leave(group, channel)
        self._left.pop(channel, None)

    def receive(self, timeout):
        """
        Return what backend.receive() returns for the inbox, and renew memberships
        when they are due. It may return None before `timeout` has passed.
        """
        if self._groups:
            now = time.monotonic()
            if now >= self._due:
                self.renew()
                self._due = now + self.interval
            timeout = max(min(timeout, self._due - now), 0)
        return self.backend.receive([self.inbox], timeout)

    def renew(self):
        """Tell the store that all members are still there, if it answers."""
        for group, members in self._groups.items():
            # What the messages come from may answer all the same.
            with suppress(ChannelError):
                self.backend.renew(group, self.inbox, list(members))

    def _leave(self, group, channel):
        members = self._groups.get(group, {})
        members.pop(channel, None)
        groups = self._groups_of.get(channel, set())
        groups.discard(group)
        if not groups:
            self._groups_of.pop(channel, None)
        if not members:
            self._groups.pop(group, None)
        # Whatever the store has been told in the meantime. If it does not answer,
        # it forgets the member by itself.
        with suppress(ChannelError):
            self.backend.leave(group, self.inbox, [channel])
