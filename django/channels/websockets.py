"""
Consumers of WebSockets as classes, in the manner of generic views.

    class Chat(JSONWebSocketConsumer):
        def connect(self):
            self.join("chat")

        def receive(self, value):
            self.send_group("chat", value)

    Chat.register()

There is an instance for each message. What is to outlast it goes into `state`.
"""

import json
from copy import deepcopy

from asgiref.sync import iscoroutinefunction

from django.channels.channel import Channel
from django.channels.groups import Group
from django.channels.layers import DEFAULT_CHANNEL_ALIAS
from django.channels.messages import decode_bytes, encode_bytes
from django.channels.registry import consumer
from django.channels.routing import EVENTS, FORBIDDEN, WEBSOCKET
from django.channels.users import handshake_request, load_user, user_state
from django.core.exceptions import ImproperlyConfigured
from django.core.serializers.json import DjangoJSONEncoder
from django.utils.decorators import classonlymethod
from django.utils.functional import cached_property

# Codes to close a WebSocket with (RFC 6455, section 7.4.1).
UNSUPPORTED = 1003
INVALID = 1007


class WebSocketConsumer:
    """
    The consumer of a WebSocket's messages, which may be text and bytes. Override
    connect(), receive() and disconnect().

    Attributes: `send_channel`, `path`, `state`, a dict that is saved if it has
    changed when a method ends, `args` and `kwargs`, the values of the URL, and
    `message`, a dict of all keys of the message.
    """

    # The alias of the backend that the messages come on.
    backend = DEFAULT_CHANNEL_ALIAS
    # Whether the next message of a WebSocket waits until receive() is done.
    ordered = True
    # The subprotocols that it speaks, the best first.
    subprotocols = ()
    # The types of what it receives.
    accepts = (str, bytes)

    def __init__(self, **attributes):
        for name, value in attributes.items():
            setattr(self, name, value)

    @classonlymethod
    def as_consumer(cls, **attributes):
        """
        Return a function that can be registered as a consumer. `attributes` are set
        on each instance, and have to be attributes of the class.
        """
        for name in attributes:
            if name in EVENTS or not hasattr(cls, name):
                raise TypeError(
                    f"{cls.__name__}.as_consumer() received {name!r}, which is no "
                    "attribute of the class that may be set."
                )
        for event in EVENTS:
            if iscoroutinefunction(getattr(cls, event)):
                raise ImproperlyConfigured(
                    f"{cls.__name__}.{event}() must be a plain function, not a "
                    "coroutine function."
                )

        def call(channel, **message):
            self = cls(**attributes)
            self.setup(channel, message)
            self.dispatch()

        call.consumer_class = cls
        call.__doc__ = cls.__doc__
        call.__module__ = cls.__module__
        call.__name__, call.__qualname__ = cls.__name__, cls.__qualname__
        # For decorators such as transaction.non_atomic_requests().
        call.__dict__.update(cls.dispatch.__dict__)
        return call

    @classonlymethod
    def register(cls, name=WEBSOCKET, **attributes):
        """
        Register the class as the consumer of the channels <name>.connect, .receive
        and .disconnect: by default those of all WebSockets, else those that
        route_websockets() has a pattern for.
        """
        backend = attributes.get("backend", cls.backend)
        ordered = attributes.get("ordered", cls.ordered)
        channels = [f"{name}.{event}" for event in EVENTS]
        register = consumer(*channels, backend=backend, ordered=ordered)
        return register(cls.as_consumer(**attributes))

    def setup(self, channel, message):
        """Take what the message says. `channel` is where it came."""
        self.event = channel.rpartition(".")[2]
        self.message = message
        self.send_channel, self.path = message["send_channel"], message["path"]
        self.args = message.get("url_args", [])
        self.kwargs = message.get("url_kwargs", {})
        self.state = message.get("state") or {}
        self._saved = deepcopy(self.state)
        self._is_answered = self.event != "connect"

    def dispatch(self):
        """Call the method for the message, and save the state."""
        if self.event not in EVENTS:
            raise ImproperlyConfigured(
                f"{type(self).__name__} needs channels that end in .connect, .receive "
                f"and .disconnect. Its register() sees to that."
            )
        getattr(self, f"_{self.event}")()
        if self.event != "disconnect" and self.state != self._saved:
            self._tell({"state": self.state})

    def _connect(self):
        if not self.has_permission():
            self.handle_no_permission()
            return
        self.connect()
        if not self._is_answered and self.select_subprotocol() is not None:
            self.accept()

    def _receive(self):
        if not self.has_permission():
            self.handle_no_permission()
            return
        data = self.message["data"]
        value = data["content"] if "content" in data else decode_bytes(data["bytes"])
        if not isinstance(value, self.accepts):
            self.invalid_data(value, UNSUPPORTED)
            return
        try:
            value = self.decode(value)
        except (ValueError, RecursionError):
            self.invalid_data(value, INVALID)
        else:
            self.receive(value)

    def _disconnect(self):
        self.disconnect(self.message["code"])

    # What subclasses override.

    def connect(self):
        """
        Called before the handshake is answered. Unless it calls close() the client
        is accepted.
        """

    def receive(self, value):
        """Called with what decode() has made of a message from the client."""

    def disconnect(self, code):
        """Called when the client is gone, with the code of the close frame."""

    def has_permission(self):
        """Return whether the client may connect, and send a message."""
        return True

    def handle_no_permission(self):
        """Refuse the handshake, or close the WebSocket."""
        self.close(FORBIDDEN, "Forbidden")

    def invalid_data(self, data, code):
        """
        Called for what cannot be received: text or bytes of which decode() has made
        nothing (`code` is 1007), or that are not of a type in `accepts` (1003).
        """
        self.close(code)

    def select_subprotocol(self):
        """Return the first in `subprotocols` that the client offers, or None."""
        offered = self.message.get("subprotocols", [])
        return next((name for name in self.subprotocols if name in offered), None)

    @classmethod
    def decode(cls, data):
        """Return the value for receive(). Raise ValueError if there is none."""
        return data

    @classmethod
    def encode(cls, value):
        """Return the str or bytes to send for a value."""
        return value

    # What they call.

    @cached_property
    def request(self):
        """The HttpRequest of the handshake, with session and user, in connect()."""
        return handshake_request(self.message)

    @cached_property
    def user(self):
        """
        Who has sent the message. Whom connect() has looked at is looked up again
        for later messages.
        """
        if self.event != "connect":
            return load_user(self.state)
        self.state.update(user_state(self.request))
        return self.request.user

    @classmethod
    def encode_message(cls, value):
        """Return the message that sends `value`, for a send channel or a group."""
        data = cls.encode(value)
        return {"content": data} if isinstance(data, str) else _bytes_message(data)

    def send(self, value):
        """Send a value to the client, who is accepted by that."""
        if not self._is_answered:
            # The subprotocol could not be told later.
            self.accept()
        self._tell(self.encode_message(value))

    def send_group(self, group, value):
        """Send a value to all members of a group."""
        Group(group, self.backend).send(self.encode_message(value))

    def accept(self, subprotocol=None):
        """
        Answer the handshake before connect() is done: with `subprotocol`, or by
        default with what select_subprotocol() returns.
        """
        self._is_answered = True
        if subprotocol is None:
            subprotocol = self.select_subprotocol()
        chosen = {} if subprotocol is None else {"subprotocol": subprotocol}
        self._tell({"accept": True, **chosen})

    def close(self, code=1000, reason=""):
        """
        Close the WebSocket, or refuse the handshake if it has no answer yet.
        `reason` is text of at most 123 bytes.
        """
        self._is_answered = True
        self._tell({"close": code, "reason": reason})

    def join(self, group):
        """Make the client a member of a group, until it leaves or is gone."""
        Group(group, self.backend).add(self.send_channel)

    def leave(self, group):
        """Make the client a member of a group no longer."""
        Group(group, self.backend).remove(self.send_channel)

    def _tell(self, message):
        Channel(self.send_channel, self.backend).send(message)


def _bytes_message(data):
    return {"bytes": encode_bytes(data)}


class TextWebSocketConsumer(WebSocketConsumer):
    """Receives text, and closes what sends bytes."""

    accepts = (str,)


class BinaryWebSocketConsumer(WebSocketConsumer):
    """Receives bytes, and closes what sends text."""

    accepts = (bytes,)


class JSONWebSocketConsumer(TextWebSocketConsumer):
    """Receives and sends JSON values as text."""

    encoder = DjangoJSONEncoder

    @classmethod
    def decode(cls, data):
        return json.loads(data, parse_constant=_refuse_constant)

    @classmethod
    def encode(cls, value):
        return json.dumps(value, cls=cls.encoder, allow_nan=False)


def _refuse_constant(name):
    raise ValueError(f"JSON has no {name}.")
