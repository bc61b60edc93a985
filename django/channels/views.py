"""Views that leave their requests to a channel."""

from django.channels.layers import channels
from django.http import HttpResponse


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

    def hand_over(self, message):
        """Send `message`, that of the request, to the channel, and let go of it."""
        message = dict(message)
        if self.timeout is not None:
            wait = {"timeout": self.timeout}
            channels["default"].send(message["response_channel"], wait)
        self.channel.send(
            message | {"url_args": self.url_args, "url_kwargs": self.url_kwargs}
        )
        for close in self._resource_closers:
            close()
        self._resource_closers.clear()


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

    view.channel = channel
    return view
