"""
The interface between WSGI servers and channels.

WSGIHandler calls get_response() for each request. It sends the request as a
message on django.wsgi.request and returns the response that comes back:

    WSGI server -> WSGIHandler -> get_response() -> consumer
                                        ^              |
                                        +-- response channel

On a process-local backend the thread that brought the request also runs its
consumer, and what cannot be serialised stands beside the message.
"""

from collections.abc import Mapping

from django.channels.exceptions import ChannelFull, InvalidMessage, ResponseTimeout
from django.channels.http import request_to_message, response_from_message
from django.channels.inbox import thread_inbox
from django.channels.layers import DEFAULT_CHANNEL_ALIAS, channels
from django.channels.messages import clean_message
from django.channels.registry import registry
from django.conf import settings
from django.core.handlers.base import BaseHandler
from django.core.handlers.exception import response_for_exception
from django.http import HttpResponse
from django.utils.functional import cached_property
from django.utils.log import log_response

REQUEST_CHANNEL = "django.wsgi.request"
RESPONSE_PREFIX = "django.wsgi.response"


class Switch:
    """Whether requests go through channels. runserver --no-channels turns it off."""

    on = True


class RequestMessage(Mapping):
    """
    The message of a request, with its live objects beside it.

    Its keys are computed when one of them is read, for the consumer that ships
    with Django reads none on a process-local backend: it takes `handler`, the
    WSGIHandler, and `request`, its HttpRequest, and sets `response`.
    """

    def __init__(self, handler, request, backend):
        self.handler = handler
        self.request = request
        self.backend = backend
        self.response = None
        self._inbox = None

    @cached_property
    def _data(self):
        self._inbox = thread_inbox(self.backend, RESPONSE_PREFIX)
        self._response_channel = self._inbox.open()
        data = request_to_message(self.request, self._response_channel)
        if not self.backend.process_local:
            return data
        # In the process it meets no other check, and no other copy is made.
        packed = self.backend.pack(clean_message(data))
        return self.backend.unpack(packed)

    def __getitem__(self, key):
        return self._data[key]

    def __iter__(self):
        return iter(self._data)

    def __len__(self):
        return len(self._data)

    def receive(self):
        """
        Return the next message on the response channel. Raise ResponseTimeout if
        none comes within the EXPIRY of the backend.
        """
        channel = self["response_channel"]
        answer = self._inbox.receive(channel, self.backend.expiry)
        if answer is None:
            raise ResponseTimeout(
                f"The request was not answered within {self.backend.expiry} seconds."
            )
        return answer

    def close(self):
        """Drop what may still come for the client."""
        if self._inbox is not None:
            self._inbox.close(self._response_channel)


def start():
    """
    Make the backend and import the consumers of installed apps, so that a fault
    in them shows when the server starts.
    """
    channels[DEFAULT_CHANNEL_ALIAS]
    registry.autodiscover()


def get_response(handler, request):
    """
    Answer `request`, a WSGIRequest, through channels and return the response.

    `handler` is the handler that brought it. The consumer that ships with
    Django calls its get_response(), which runs middleware and view.
    """
    if not Switch.on:
        return handler.get_response(request)
    backend = channels[DEFAULT_CHANNEL_ALIAS]
    message = RequestMessage(handler, request, backend)
    if type(handler).get_response is not BaseHandler.get_response:
        # It answers in a way of its own, as the handlers of static files do.
        registry.built_in(REQUEST_CHANNEL)(REQUEST_CHANNEL, message)
        return message.response
    if backend.process_local:
        return consume(message)
    return send(message)


def consume(message):
    """Let this thread run the consumer of `message`. Return the response."""
    consumer = registry.get(REQUEST_CHANNEL)
    try:
        consumer(REQUEST_CHANNEL, message)
    except Exception as exc:
        if consumer.converts_exceptions:
            raise
        message.close()
        return response_for_exception(message.request, exc)
    return message.response or wait(message)


def send(message):
    """Leave `message` to a worker. Return the response."""
    try:
        message.backend.send(REQUEST_CHANNEL, dict(message))
    except ChannelFull as exc:
        message.close()
        return refuse(message.request, 503, "The server is too busy.", exc)
    except Exception as exc:
        # The body is too large, for one.
        message.close()
        return response_for_exception(message.request, exc)
    return wait(message)


def wait(message):
    """Return the response that comes on the response channel of `message`."""
    try:
        response = response_from_message(message.receive(), message.receive)
    except ResponseTimeout as exc:
        message.close()
        return refuse(message.request, 504, str(exc), exc)
    except InvalidMessage as exc:
        message.close()
        return refuse(message.request, 500, "Server Error (500)", exc)
    if response.streaming:
        response._resource_closers.append(message.close)
    else:
        message.close()
    return response


def refuse(request, status, sentence, exc):
    """Return a response of one sentence, after logging why it is the answer."""
    response = HttpResponse(sentence, status=status, content_type="text/plain")
    if settings.DEBUG:
        response.content = str(exc)
    log_response(
        "%s: %s: %s",
        response.reason_phrase,
        request.path,
        str(exc),
        response=response,
        request=request,
    )
    return response
