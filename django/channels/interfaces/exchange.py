"""One request and its response, on the side of the interface."""

import secrets
from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property

from django.channels.background import background
from django.channels.bodies import BodyReader, BodySource, open_body
from django.channels.channel import Channel
from django.channels.exceptions import ChannelError, InvalidMessage, ResponseTimeout
from django.channels.inbox import thread_inbox
from django.channels.messages import (
    clean_message,
    decode_bytes,
    encode_bytes,
    queue_name,
)
from django.channels.registry import registry
from django.channels.replies import response_messages
from django.channels.requests import encode_request
from django.channels.responses import decode_response
from django.channels.views import BODY_IS_READ

RESPONSE_PREFIX = "django.wsgi.response"
BODY_PREFIX = "django.wsgi.body"
DISCONNECT_CHANNEL = "django.wsgi.disconnect"

# Attributes that handlers set on a request and that no message has: the test
# client has its handler leave out the checks of CsrfViewMiddleware.
KEPT = {"_dont_enforce_csrf_checks"}

MAX_ROOM = 64  # Chunks of a body that a reader may ask for at once.


class Reply:
    """
    The way of an answer that need not go back through WSGI: straight to `channel`,
    on a process-local backend. An interface server in this process has it in the
    environ of a request, and sees by `is_left` that an answer will come there.
    """

    KEY = "django.channels.reply"

    def __init__(self, channel):
        self.channel = channel
        self.is_left = False


class RequestMessage(Mapping):
    """
    The message of a request, with its live objects beside it.

    `handler` is the handler that the request came to, `request` its WSGIRequest
    and `backend` the channel backend. A consumer in this process may set
    `response` instead of sending it to the response channel.

    The keys are computed when one of them is read, for the consumer that ships
    with Django reads none on a process-local backend.
    """

    response = None
    # The response that the view has made, once it has crossed as text.
    carried = None
    # Seconds to wait for the next message, the EXPIRY of the backend unless set.
    timeout = None

    _inbox = None
    _source = None
    _body_channel = None
    _room = 0
    _credit_channel = None
    _ended = False

    def __init__(self, handler, request, backend):
        self.handler = handler
        self.request = request
        self.backend = backend
        # Whether this thread runs the consumer, and whether the text of messages
        # is then all that the consumer is given.
        self.is_local = background.serves(backend)
        self.crosses = self.is_local and backend.serializes

    def __getitem__(self, key):
        return self._data[key]

    def __iter__(self):
        return iter(self._data)

    def __len__(self):
        return len(self._data)

    @cached_property
    def _data(self):
        if self._reply is not None:
            self._channel = self._reply.channel
        else:
            self._inbox = thread_inbox(self.backend, RESPONSE_PREFIX)
            self._channel = self._inbox.open()
        data = encode_request(self.request, self._channel)
        return self.cross(clean_message(data | self._encode_body()))

    @cached_property
    def _reply(self):
        """The Reply that the answer may go to, or None: this thread has to wait."""
        if self.is_local and not self.crosses and not self.body_is_large:
            return self.request.environ.get(Reply.KEY)

    def leave(self):
        """Return whether the answer goes another way, so that nobody waits here."""
        if self._reply is not None:
            self._reply.is_left = True
        return self._reply is not None

    @property
    def body_is_large(self):
        """Whether the body takes more than one message."""
        return content_length(self.request) > self.backend.chunk_size

    def _encode_body(self):
        """Return the key of the message that stands for the body."""
        if self.request._read_started:
            return self._encode_read_body()
        self._source = BodySource(self.request, self.backend.chunk_size)
        if not self.body_is_large:
            parts = list(self._source)
            if "error" not in parts[-1]:
                self._source = None
                return join_body(parts)
            self._source = iter(parts)
        # A queue of its own, and in one place where a store has several.
        self._body_channel = f"{BODY_PREFIX}.{secrets.token_hex(8)}!body"
        return {"body_channel": self._body_channel}

    def _encode_read_body(self):
        """Return the key for a body that middleware has read before a view."""
        if not hasattr(self.request, "_body") and content_length(self.request):
            raise InvalidMessage(BODY_IS_READ)
        body = getattr(self.request, "_body", b"")
        return {"body": encode_bytes(body)} if body else {}

    def open_body(self):
        """Return the body as a file, for a consumer in this thread."""
        data = self._data
        if self._source is None:
            return open_body(self.backend, data)
        return BodyReader(self.cross(message) for message in self._source).buffered()

    def cross(self, message):
        """Return a message as it is after crossing to or from a worker."""
        return self.backend.cross(message) if self.crosses else message

    def adopt(self, request):
        """
        Give the live request the state of `request`, which has been made of the
        text of the message, and return it. Tests hold on to this object.
        """
        live = self.request.__dict__
        for name in KEPT & live.keys():
            setattr(request, name, live[name])
        if isinstance(self._source, BodySource):
            # The body is still read from what the server has given.
            self._source.request = object.__new__(type(self.request))
            self._source.request.__dict__ = live
        self.request.__dict__ = request.__dict__
        return self.request

    def carry(self, response):
        """
        Let `response`, which a consumer in this thread has made, cross as
        messages, and keep what comes out as the response.
        """
        self.carried = response
        messages = map(
            lambda message: self.cross(clean_message(message)),
            response_messages(response, self.backend.chunk_size),
        )
        self.response = self.decode(next(messages), messages)
        self.response._resource_closers.extend(response._resource_closers)

    def decode(self, message, parts):
        """Return the HttpResponse of a message and of those that continue it."""
        response_class = getattr(self.handler, "response_class", None)
        return decode_response(message, parts, response_class)

    def graft(self, response):
        """Return `response` with the head and the content of what has crossed."""
        response.status_code = self.response.status_code
        response._reason_phrase = self.response._reason_phrase
        response.headers = self.response.headers
        if response.cookies.output() != self.response.cookies.output():
            response.cookies = self.response.cookies
        if response.streaming:
            # A test may still want to await an asynchronous iterator.
            if not response.is_async:
                size = getattr(response, "block_size", None)
                response.streaming_content = split_parts(self.response, size)
        elif self.response.streaming:
            response.content = b"".join(self.response)
        else:
            response.content = self.response.content
        return response

    def receive(self):
        """
        Return the next message for the client, and send its body meanwhile. Raise
        ResponseTimeout if no message comes in time.
        """
        while True:
            self._send_body()
            timeout = self.timeout or self.backend.expiry
            answer = self._inbox.receive(self["response_channel"], timeout)
            if answer is None:
                raise ResponseTimeout(
                    f"The request was not answered within {timeout} seconds."
                )
            if "read" in answer:
                self._room += check_number(answer, "read", int, MAX_ROOM)
            elif "timeout" in answer:
                self.timeout = check_number(answer, "timeout", (int, float))
            else:
                self._ended = not answer.get("more")
                self._credit_channel = answer.get(
                    "credit_channel", self._credit_channel
                )
                return answer

    def parts(self):
        """Yield the messages that continue a response, as they are asked for."""
        while True:
            self._tell(self._credit_channel, {"read": 1})
            yield self.receive()

    def finish(self):
        """Drop what may still come: the client has its answer."""
        self._ended = True
        self.close()

    def close(self):
        """
        Drop what may still come. If no answer has been complete, nobody waits for
        one any more: tell those who may send or read something.
        """
        if self._inbox is None:
            return
        self._inbox.close(self._channel)
        if self._body_channel is not None:
            # If the store does not answer, it forgets the body by itself.
            with suppress(ChannelError):
                while self.backend.receive([queue_name(self._body_channel)]):
                    pass
        if not self._ended:
            self._ended = True
            self._tell(self._credit_channel, {"closed": True})
            self._tell(self._body_channel, {"error": "The client is gone."})
            if registry.get(DISCONNECT_CHANNEL) is not None:
                message = {"response_channel": self._channel, "path": self.request.path}
                self._tell(DISCONNECT_CHANNEL, message)

    def _send_body(self):
        while self._room and self._source is not None:
            message = next(self._source, None)
            if message is None:
                return
            self.backend.send(self._body_channel, message)
            self._room -= 1

    def _tell(self, channel, message):
        if channel is None:
            return
        try:
            Channel(channel).send(message)
        except ChannelError:
            # Who would have heard it gives up by itself after EXPIRY.
            pass


def split_parts(parts, size):
    """Yield the bytes in `parts` in blocks of `size`, or as they are without it."""
    for part in parts:
        for start in range(0, len(part), size or len(part)):
            yield part[start : start + (size or len(part))]


def join_body(parts):
    """Return the key of a message that has the whole body, given in `parts`."""
    body = b"".join(decode_bytes(part["bytes"]) for part in parts)
    return {"body": encode_bytes(body)} if body else {}


def content_length(request):
    """Return the number of bytes that the body of a WSGIRequest has at most."""
    return getattr(request._stream, "limit", 0)


def check_number(message, key, types, most=float("inf")):
    """Return the number under `key`, or raise InvalidMessage if it is none."""
    value = message[key]
    if not isinstance(value, types) or value is True or not 0 < value <= most:
        raise InvalidMessage(f"{key!r} must be a number above 0, not {value!r}.")
    return value
