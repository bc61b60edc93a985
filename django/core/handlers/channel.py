"""
The consumer of django.wsgi.request that ships with Django.

It turns the message into an HttpRequest, has middleware and view answer it,
and sends the response to the response channel (proposal, "Serving Requests").
"""

import logging
import sys
from functools import cached_property

from django.channels.bodies import open_body
from django.channels.exceptions import InvalidMessage, ResponseBroken, ResponseClosed
from django.channels.layers import DEFAULT_CHANNEL_ALIAS, channels
from django.channels.registry import Consumer, registry
from django.channels.replies import send_response
from django.channels.requests import encode_meta
from django.channels.views import HandedOver
from django.conf import settings
from django.core import signals
from django.core.handlers.base import BaseHandler
from django.core.handlers.exception import response_for_exception
from django.core.handlers.wsgi import WSGIRequest
from django.urls import set_script_prefix

logger = logging.getLogger("django.channels.request")


def decode_request(message, body, request_class=WSGIRequest):
    """
    Return the `request_class` that a message describes, with `body` as the file
    to read its body from. Raise InvalidMessage if it describes none.
    """
    try:
        environ = decode_environ(message)
        # What it stands for has gone into the path already.
        rewritten = {
            key: environ.pop(key)
            for key in ("SCRIPT_URL", "REDIRECT_URL")
            if key in environ
        }
        environ["wsgi.input"] = body
        request = request_class(environ)
    except (KeyError, TypeError, AttributeError, ValueError) as exc:
        raise InvalidMessage(
            f"The message describes no HTTP request ({type(exc).__name__}: {exc})."
        ) from exc
    environ.update(rewritten)
    return request


def decode_environ(message):
    """Return the WSGI environ (PEP 3333) of a message, without its body."""
    script_name, path = message["script_name"], message["path"]
    meta, method = encode_meta(message["META"]), message["method"]
    if meta.get("REQUEST_METHOD", "").upper() != method.upper():
        meta["REQUEST_METHOD"] = method
    environ = {
        "SERVER_NAME": "",
        "SERVER_PORT": "",
        "PATH_INFO": path.removeprefix(script_name.rstrip("/")),
        **meta,
        "SCRIPT_NAME": script_name,
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": message["scheme"],
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    for key in ("PATH_INFO", "SCRIPT_NAME"):
        # Back to how a WSGI server decodes them.
        environ[key] = environ[key].encode().decode("iso-8859-1")
    return environ


class ChannelHandler(BaseHandler):
    """Runs middleware and view for requests that come as messages alone."""

    def __init__(self):
        super().__init__()
        self.load_middleware()

    def __call__(self, message, body):
        """Return the response to a message of django.wsgi.request."""
        request = decode_request(message, body)
        set_script_prefix(request.META["SCRIPT_NAME"])
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

    def prepare(self):
        self.handler

    def __call__(self, channel, message):
        if not hasattr(message, "handler"):
            try:
                self.handle_message(**message)
            finally:
                if message.get("script_name"):
                    # What comes next need be no request. This is what it has
                    # without one, see django.setup().
                    set_script_prefix(settings.FORCE_SCRIPT_NAME or "/")
        elif message.backend.serializes:
            self.answer_as_text(message)
        else:
            response = message.handler.get_response(message.request)
            if isinstance(response, HandedOver):
                self.hand_over(message, response)
            else:
                message.response = response

    def answer_as_text(self, message):
        """
        Answer a request of this process as if it came from another: from the
        text of its message alone, and by the text of other messages.
        """
        body = message.open_body()
        request = message.adopt(decode_request(message, body))
        response = message.handler.get_response(request)
        if isinstance(response, HandedOver):
            self.hand_over(message, response, body)
        else:
            message.carry(response)

    def hand_over(self, message, response, body=None):
        """Hand over a request of this process, or answer that it cannot be."""
        try:
            response.hand_over(message, body)
        except Exception as exc:
            message.response = response_for_exception(message.request, exc)

    def handle_message(self, response_channel, channel=None, **message):
        """Answer a request that came as a message alone."""
        backend = channels[DEFAULT_CHANNEL_ALIAS]
        message["response_channel"] = response_channel
        with open_body(backend, message) as body:
            response = self.handler(message, body)
            if isinstance(response, HandedOver):
                try:
                    response.hand_over(message, body)
                finally:
                    response.close()
                return
            try:
                send_response(backend, response_channel, response)
            except ResponseClosed as exc:
                logger.info("%r was not sent to its end: %s", message["path"], exc)
            except ResponseBroken as exc:
                # Whoever waits has been told, so that no other answer may come.
                logger.error(
                    "%r ended early: %s", message["path"], exc, exc_info=exc.__cause__
                )


request_consumer = RequestConsumer()
registry.register_built_in(request_consumer, "django.wsgi.request")


def _setting_changed(*, setting, **kwargs):
    if setting == "MIDDLEWARE":
        request_consumer.__dict__.pop("handler", None)


signals.setting_changed.connect(_setting_changed)
