"""
Groups: channels of clients that hear the same messages.

A group is the network-wide set of the proposal's examples. Which channels are
in it is kept by the interface process that has them, which Group.add() tells
by a message on the channel; the store only knows which inboxes have members,
for EXPIRY seconds unless their process says so again. So a message to the
group is one message to each interface process, and what a process held is
gone with it.
"""

from contextlib import suppress

from django.channels.exceptions import ChannelError, InvalidChannelName
from django.channels.layers import DEFAULT_CHANNEL_ALIAS, channels
from django.channels.messages import check_channel_name, check_group_name, queue_name


class Group:
    """
    A set of response channels and send channels, the same in all processes.

    Arguments: the `name` of the group, of letters, digits, "_", "-" and ".", and
    `backend`, an alias of the CHANNELS setting.

    A group exists as long as it has members. They leave when their client does.
    """

    def __init__(self, name, backend=DEFAULT_CHANNEL_ALIAS):
        check_group_name(name)
        self.name = name
        self.backend = backend

    def add(self, channel):
        """
        Make `channel`, the name of a response channel or send channel, a member.

        Raise InvalidChannelName if it is no client's channel.
        """
        self._check_member(channel)
        backend, inbox = channels[self.backend], queue_name(channel)
        # The store first: if the channel is closed already, its owner takes it out
        # of there when it is told.
        backend.join(self.name, inbox, [channel])
        try:
            backend.send(channel, {"join": self.name})
        except ChannelError:
            with suppress(ChannelError):
                backend.leave(self.name, inbox, [channel])
            raise

    def remove(self, channel):
        """Make `channel` a member no longer, if it is one."""
        self._check_member(channel)
        backend = channels[self.backend]
        backend.leave(self.name, queue_name(channel), [channel])
        backend.send(channel, {"leave": self.name})

    def send(self, message):
        """
        Send `message`, a dict of JSON values, to all members. It is encoded once,
        and goes once to each interface process that has some of them.
        """
        channels[self.backend].send_group(self.name, message)

    def __iter__(self):
        return iter(self._names())

    def __contains__(self, channel):
        return channel in self._names()

    def __len__(self):
        return len(self._names())

    def _names(self):
        members = channels[self.backend].members(self.name)
        return [channel for names in members.values() for channel in names]

    def _check_member(self, channel):
        check_channel_name(channel)
        if "!" not in channel:
            raise InvalidChannelName(
                f"{channel!r} cannot be in the group {self.name!r}: its members are "
                "the channels of clients, which come with messages as "
                "'response_channel' or 'send_channel'."
            )

    def __eq__(self, other):
        if not isinstance(other, Group):
            return NotImplemented
        return (self.name, self.backend) == (other.name, other.backend)

    def __hash__(self):
        return hash((self.name, self.backend))

    def __repr__(self):
        return f"<{type(self).__name__}: {self.name!r}>"
