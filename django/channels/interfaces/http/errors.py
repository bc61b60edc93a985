"""
The errors of HTTP framing.

    ChannelError
    ├── RequestRefused      the client has broken HTTP, or a limit
    └── InvalidResponse     an application has made what is no HTTP
"""

from django.channels.exceptions import ChannelError


class RequestRefused(ChannelError, ValueError):
    """
    What the client has sent is not answered, but with an error.

    `status` is the status code of the answer and `sentence` its text, which is
    fit for the client. The connection must be closed after it, for where the
    next request begins is not known (RFC 9112, section 9.6).
    """

    def __init__(self, status, sentence):
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence


class InvalidResponse(ChannelError, ValueError):
    """A response cannot go out as it is. Nothing of it has been written."""
