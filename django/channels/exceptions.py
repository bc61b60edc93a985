"""
The errors of django.channels.

    ChannelError                    do not raise directly
    ├── ChannelFull                 a queue is at its capacity
    ├── InvalidChannelName          a name breaks the naming rules
    ├── InvalidMessage              a message is not JSON, or not of its format
    ├── ResponseBroken              a response has ended before its end
    ├── ResponseClosed              nobody takes the rest of a response
    └── ResponseTimeout             nobody answered a request in time

    ImproperlyConfigured
    └── InvalidChannelBackend       a fault in the CHANNELS setting
"""

from django.core.exceptions import ImproperlyConfigured


class ChannelError(Exception):
    """Base class of the errors of channels. Do not raise it directly."""


class ChannelFull(ChannelError):
    """The channel holds as many messages as its backend's CAPACITY allows."""


class InvalidChannelName(ChannelError, ValueError):
    """The name of a channel breaks the naming rules."""


class InvalidMessage(ChannelError, ValueError):
    """The message cannot be sent, or is not of the format its channel needs."""


class ResponseBroken(ChannelError):
    """A response has begun, and the rest of it will not come."""


class ResponseClosed(ChannelError):
    """The client is gone, or has taken nothing of a response for EXPIRY."""


class ResponseTimeout(ChannelError):
    """No message has come on a response channel in the time that it had."""


class InvalidChannelBackend(ImproperlyConfigured):
    """The CHANNELS setting names no such alias, or a backend it cannot make."""
