"""What requests and responses have of channels: they can be messages."""


class ChannelRequestMixin:
    """The part of HttpRequest that has to do with channels."""

    @classmethod
    def channel_decode(cls, message, body=None):
        """
        Return the request that a message of django.wsgi.request describes
        (proposal, "Serving Requests").

        `body` is a file to read its body from, for messages that have none in
        them. Raise InvalidMessage if the message describes no request.
        """
        from django.channels.bodies import open_body
        from django.channels.layers import DEFAULT_CHANNEL_ALIAS, channels
        from django.core.handlers.channel import decode_request
        from django.core.handlers.wsgi import WSGIRequest

        if body is None:
            body = open_body(channels[DEFAULT_CHANNEL_ALIAS], message)
        request_class = cls if issubclass(cls, WSGIRequest) else WSGIRequest
        return decode_request(message, body, request_class)


class ChannelResponseMixin:
    """The part of HttpResponseBase that has to do with channels."""

    def channel_encode(self):
        """
        Return the message of the response, a dict, to send to a response channel.

        A subclass that overrides this has to keep to the format of messages. For
        a streaming response it is the first message, which says that more is to
        come.
        """
        from django.channels.responses import encode_response

        return encode_response(self)

    @classmethod
    def channel_decode(cls, message):
        """
        Return the response that a whole response message describes. Raise
        InvalidMessage, naming the key, if it describes none.

        A WSGIHandler calls this of its `response_class`, HttpResponse unless it
        has one.
        """
        from django.channels.responses import fill_response

        return fill_response(cls(), message)
