"""Views that leave their requests to a channel."""

from contextlib import suppress

from django.channels.exceptions import InvalidMessage
from django.channels.layers import DEFAULT_CHANNEL_ALIAS, channels
from django.http import HttpResponse

BODY_IS_READ = (
    "Middleware has read the body of the request, so it cannot be handed over. For "
    "forms with files, csrf_exempt() of the view prevents that."
)


class HandedOver(HttpResponse):
    """
    What the view of Channel.as_view() returns. It goes back through middleware
    and is not sent: the answer comes from the consumer of the channel, or from
    whom that leaves the response channel to.
    """

    status_code = 202

    def __init__(self, channel, url_args, url_kwargs, timeout):
        super().__init__(
            "Channels answer this request, which only requests by WSGI can wait for.",
            content_type="text/plain",
        )
        self.channel = channel
        self.url_args = [encode_value(value) for value in url_args]
        self.url_kwargs = {
            name: encode_value(value) for name, value in url_kwargs.items()
        }
        self.timeout = timeout

    def hand_over(self, message, body=None):
        """
        Send `message`, that of the request, to the channel, and let go of it.

        `body` is the file to read its body from, if the view or middleware could
        do so. Raise InvalidMessage if they have begun to.
        """
        try:
            self._send(dict(message), body)
        finally:
            for close in self._resource_closers:
                with suppress(Exception):
                    close()
            self._resource_closers.clear()

    def _send(self, message, body):
        if "body_channel" in message and getattr(body, "started", False):
            raise InvalidMessage(BODY_IS_READ)
        if self.timeout is not None:
            wait = {"timeout": self.timeout}
            backend = channels[DEFAULT_CHANNEL_ALIAS]
            backend.send(message["response_channel"], wait)
        self.channel.send(
            message | {"url_args": self.url_args, "url_kwargs": self.url_kwargs}
        )


def encode_value(value):
    """Return a value of a URL as JSON has it: what JSON lacks as text."""
    return value if isinstance(value, (str, int, float, type(None))) else str(value)


def channel_view(channel, timeout=None):
    """
    Return a view that leaves each request to `channel`, a Channel.

    `timeout` is the number of seconds that the client waits for an answer, the
    EXPIRY of the backend unless given.
    """

    if timeout is not None and not timeout > 0:
        raise ValueError(f"The timeout of a view must be above 0, not {timeout!r}.")

    def view(request, *args, **kwargs):
        return HandedOver(channel, args, kwargs, timeout)

    return view
