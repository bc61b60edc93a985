"""
The consumer of django.wsgi.request that ships with Django.

It turns the message into an HttpRequest, has middleware and view answer it,
and sends the response to the response channel (proposal, "Serving Requests").
"""

from functools import cached_property
from io import BytesIO

from django.channels.exceptions import InvalidMessage
from django.channels.http import response_to_messages
from django.channels.layers import DEFAULT_CHANNEL_ALIAS, channels
from django.channels.messages import decode_bytes
from django.channels.registry import Consumer, registry
from django.core import signals
from django.core.handlers.base import BaseHandler
from django.core.handlers.wsgi import WSGIRequest, get_script_name
from django.urls import set_script_prefix


def request_from_message(message):
    """
    Return the HttpRequest that a message describes. Raise InvalidMessage if it
    describes none.
    """
    try:
        environ = {"SERVER_NAME": "", "SERVER_PORT": "", **message["META"]}
        for key in ("PATH_INFO", "SCRIPT_NAME"):
            # Back to how a WSGI server decodes them (PEP 3333).
            environ[key] = environ.get(key, "").encode().decode("iso-8859-1")
        body = decode_bytes(message.get("body", ""), "body")
        environ["REQUEST_METHOD"] = message["method"]
        if body:
            environ.setdefault("CONTENT_LENGTH", str(len(body)))
        environ["wsgi.url_scheme"] = message["scheme"]
        environ["wsgi.input"] = BytesIO(body)
        return WSGIRequest(environ)
    except (KeyError, TypeError, AttributeError, ValueError) as exc:
        raise InvalidMessage(
            f"The message describes no HTTP request ({type(exc).__name__}: {exc})."
        ) from exc


class ChannelHandler(BaseHandler):
    """Runs middleware and view for requests that come as messages alone."""

    def __init__(self):
        super().__init__()
        self.load_middleware()

    def __call__(self, message):
        """Return the response to a message of django.wsgi.request."""
        request = request_from_message(message)
        set_script_prefix(get_script_name(request.environ))
        signals.request_started.send(sender=type(self), environ=request.environ)
        response = self.get_response(request)
        response._handler_class = type(self)
        return response


class RequestConsumer(Consumer):
    """Answers requests by the URLconf of the site."""

    converts_exceptions = True

    def __init__(self):
        super().__init__(self.handle_message)

    @cached_property
    def handler(self):
        return ChannelHandler()

    def __call__(self, channel, message):
        if (handler := getattr(message, "handler", None)) is not None:
            # The request and the response stay in this process: see
            # django.channels.interfaces.wsgi.RequestMessage.
            message.response = handler.get_response(message.request)
        else:
            self.handle_message(**message)

    def handle_message(self, response_channel, **message):
        response = self.handler(message)
        try:
            for part in response_to_messages(response):
                channels[DEFAULT_CHANNEL_ALIAS].send(response_channel, part)
        finally:
            response.close()


request_consumer = RequestConsumer()
registry.register_built_in(request_consumer, "django.wsgi.request")


def _setting_changed(*, setting, **kwargs):
    if setting == "MIDDLEWARE":
        request_consumer.__dict__.pop("handler", None)


signals.setting_changed.connect(_setting_changed)
