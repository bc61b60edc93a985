"""
The errors of django.channels.

    ChannelError                    do not raise directly
    ├── BackendUnavailable          the store of a backend does not answer
    ├── ChannelFull                 a queue is at its capacity
    ├── InvalidChannelName          a name breaks the naming rules
    ├── InvalidDelay                a message cannot be delayed like this
    ├── InvalidMessage              a message is not JSON, or not of its format
    │   └── InvalidEnvelope         what the store holds is not authentic
    ├── ResponseBroken              a response has ended before its end
    ├── ResponseClosed              nobody takes the rest of a response
    ├── ResponseTimeout             nobody answered a request in time
    └── Unhealthy                   a health check has found a fault

    ImproperlyConfigured
    ├── DuplicateConsumer           a channel has a consumer already
    └── InvalidChannelBackend       a fault in the CHANNELS setting
"""

from django.core.exceptions import ImproperlyConfigured


class ChannelError(Exception):
    """Base class of the errors of channels. Do not raise it directly."""


class BackendUnavailable(ChannelError):
    """
    The store of a backend does not answer. What was being sent may have been
    sent, and what was being received may be lost.
    """

    # Whether it is not known that nothing was sent.
    may_be_sent = True


class ChannelFull(ChannelError):
    """The channel holds as many messages as its backend's CAPACITY allows."""


class InvalidChannelName(ChannelError, ValueError):
    """The name of a channel breaks the naming rules."""


class InvalidDelay(ChannelError, ValueError):
    """The message cannot be delayed by this, or not on this channel or backend."""


class InvalidMessage(ChannelError, ValueError):
    """The message cannot be sent, or is not of the format its channel needs."""


class InvalidEnvelope(InvalidMessage):
    """What lies in the store was not sent by this site, or not as it is now."""


class ResponseBroken(ChannelError):
    """A response has begun, and the rest of it will not come."""


class ResponseClosed(ChannelError):
    """The client is gone, or has taken nothing of a response for EXPIRY."""


class ResponseTimeout(ChannelError):
    """No message has come on a response channel in the time that it had."""


class Unhealthy(ChannelError):
    """Messages do not get through, or no worker answers."""


class DuplicateConsumer(ImproperlyConfigured):
    """
    A second consumer is registered for `channel`. `places` are the files and the
    lines that register both.
    """

    def __init__(self, channel, first, second):
        super().__init__(
            f"The channel {channel!r} has the consumer {first}, so {second} cannot be "
            "registered for it. A channel has one consumer: let it send the message "
            "on to a channel for each of them."
        )
        self.channel = channel
        self.places = [first.place, second.place]


class InvalidChannelBackend(ImproperlyConfigured):
    """The CHANNELS setting names no such alias, or a backend it cannot make."""
