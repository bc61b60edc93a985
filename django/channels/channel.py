"""The channel as an application sees it."""

from django.channels.background import background
from django.channels.layers import DEFAULT_CHANNEL_ALIAS, channels
from django.channels.messages import check_channel_name, clean_message
from django.channels.sends import log_sending
from django.channels.views import channel_view
from django.db import transaction


class Channel:
    """
    A named queue that anything may send to, and that one consumer reads.

    Arguments: the `name` of the channel, and `backend`, an alias of the
    CHANNELS setting. Raise InvalidChannelName if the name breaks the rules.
    """

    def __init__(self, name, backend=DEFAULT_CHANNEL_ALIAS):
        check_channel_name(name)
        self.name = name
        self.backend = backend

    def send(self, message, delay=0):
        """
        Send `message`, a dict of JSON values, without waiting for its consumer,
        which gets it no earlier than `delay`, seconds or a timedelta, from now.

        Raise InvalidMessage if something in it is not JSON, InvalidDelay if it
        cannot be delayed like this, and ChannelFull if too many messages wait on
        the channel already.
        """
        backend = channels[self.backend]
        backend.send(self.name, log_sending(self.name, message), delay)
        if background.serves(backend):
            background.message_sent(backend, self.name)

    def send_on_commit(self, message, using=None, delay=0):
        """
        Send `message` when the current transaction of the database `using` is
        committed: at once if there is none, and never if it is rolled back. Its
        `delay` begins then.

        Raise InvalidMessage and InvalidDelay at once. What is sent is the message
        as it is now.
        """
        message = clean_message(message)
        delay = channels[self.backend].clean_delay(delay, self.name)
        transaction.on_commit(lambda: self.send(message, delay), using=using)

    def as_view(self, timeout=None):
        """
        Return a view for URLconfs that leaves its requests to this channel.

        Request middleware has run when the message of the request goes on, with
        the values from the URL under "url_kwargs". The client waits `timeout`
        seconds, EXPIRY unless given, for a message on the response channel
        (proposal, "More Events").
        """
        return channel_view(self, timeout)

    def __eq__(self, other):
        if not isinstance(other, Channel):
            return NotImplemented
        return (self.name, self.backend) == (other.name, other.backend)

    def __hash__(self):
        return hash((self.name, self.backend))

    def __repr__(self):
        return f"<{type(self).__name__}: {self.name!r}>"
