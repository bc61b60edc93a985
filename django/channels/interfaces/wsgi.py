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

from django.channels.channel import Channel
from django.channels.exceptions import (
    BackendUnavailable,
    ChannelFull,
    InvalidMessage,
    ResponseTimeout,
)
from django.channels.interfaces.exchange import RequestMessage, content_length
from django.channels.layers import DEFAULT_CHANNEL_ALIAS, channels
from django.channels.registry import registry
from django.conf import settings
from django.core.handlers.base import BaseHandler
from django.core.handlers.exception import response_for_exception
from django.http import HttpResponse
from django.utils.log import log_response

REQUEST_CHANNEL = "django.wsgi.request"


class Switch:
    """Whether requests go through channels. runserver --no-channels turns it off."""

    on = True


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
    return exchange(RequestMessage(handler, request, channels[DEFAULT_CHANNEL_ALIAS]))


def get_test_response(handler, request):
    """
    Answer `request` of the test client as get_response() does.

    If the response has crossed as text in this process, tests are given the one
    that the view has made, with the head and the content that crossed.
    """
    message = RequestMessage(handler, request, channels[DEFAULT_CHANNEL_ALIAS])
    response = exchange(message)
    return response if message.carried is None else message.graft(message.carried)


def exchange(message):
    """Send `message`, a RequestMessage, and return the response."""
    if not Switch.on:
        return message.handler.get_response(message.request)
    if refusal := check_size(message.request):
        return refusal
    if type(message.handler).get_response is not BaseHandler.get_response:
        # It answers in a way of its own, as the handlers of static files do.
        return consume(message, registry.built_in(REQUEST_CHANNEL))
    consumer = registry.get(REQUEST_CHANNEL)
    if message.is_local and consumer.converts_exceptions:
        return consume(message, consumer)
    return leave(message, consumer)


def check_size(request):
    """Return the response to a body above CHANNELS_MAX_BODY_SIZE, else None."""
    limit = settings.CHANNELS_MAX_BODY_SIZE
    if limit is not None and (size := content_length(request)) > limit:
        cause = f"A body of {size} bytes is above CHANNELS_MAX_BODY_SIZE."
        return refuse(request, 413, "The body of the request is too large.", cause)


def consume(message, consumer):
    """Let this thread run the consumer of `message`. Return the response."""
    try:
        consumer(REQUEST_CHANNEL, message)
    except Exception as exc:
        message.finish()
        if consumer.converts_exceptions:
            raise
        return response_for_exception(message.request, exc)
    if message.response is None:
        # What stands for an answer that goes another way is not sent.
        return HttpResponse(status=202) if message.leave() else wait(message)
    message.finish()
    return message.response


def leave(message, consumer):
    """
    Leave `message` to a worker, or to `consumer` in this thread if the backend is
    process-local. Return the response.
    """
    try:
        # A thread that sends a body cannot be the one that runs the consumer.
        local = message.is_local and "body_channel" not in message
        if not local:
            Channel(REQUEST_CHANNEL).send(message)
    except ChannelFull as exc:
        message.finish()
        return refuse(message.request, 503, "The server is too busy.", exc)
    except BackendUnavailable as exc:
        message.finish()
        return refuse(message.request, 503, "The server cannot answer now.", exc)
    except Exception as exc:
        message.finish()
        return response_for_exception(message.request, exc)
    return consume(message, consumer) if local else wait(message)


def wait(message):
    """Return the response that comes on the response channel of `message`."""
    try:
        response = message.decode(message.receive(), message.parts())
    except ResponseTimeout as exc:
        message.close()
        return refuse(message.request, 504, str(exc), exc)
    except BackendUnavailable as exc:
        message.close()
        return refuse(message.request, 503, "The server cannot answer now.", exc)
    except InvalidMessage as exc:
        message.close()
        return refuse(message.request, 500, "Server Error (500)", exc)
    except Exception as exc:
        message.close()
        return response_for_exception(message.request, exc)
    if response.streaming:
        response._resource_closers.append(message.close)
    else:
        message.close()
    return response


def refuse(request, status, sentence, cause):
    """Return a response of one sentence, after logging why it is the answer."""
    content = str(cause) if settings.DEBUG else sentence
    response = HttpResponse(content, status=status, content_type="text/plain")
    log_response(
        "%s: %s: %s",
        response.reason_phrase,
        request.path,
        str(cause),
        response=response,
        request=request,
    )
    return response
