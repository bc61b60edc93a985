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

    def __init__(self, channel, url_kwargs, timeout):
        super().__init__(
            "Channels answer this request, which only requests by WSGI can wait for.",
            content_type="text/plain",
        )
        self.channel = channel
        self.url_kwargs = url_kwargs
        self.timeout = timeout

    def hand_over(self, message):
        """Send `message`, that of the request, to the channel."""
        message = dict(message)
        if self.timeout is not None:
            wait = {"timeout": self.timeout}
            channels["default"].send(message["response_channel"], wait)
        self.channel.send(message | {"url_kwargs": self.url_kwargs})


def channel_view(channel, timeout=None):
    """
    Return a view that leaves each request to `channel`, a Channel.

    `timeout` is the number of seconds that the client waits for an answer, the
    EXPIRY of the backend unless given.
    """

    def view(request, **kwargs):
        return HandedOver(channel, kwargs, timeout)

    view.channel = channel
    return view
