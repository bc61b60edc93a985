"""
URL patterns that lead to channels (proposal, "Serving Requests").

    route_websockets([path("chat/<slug:room>/", "chat")])

has the messages of a WebSocket whose path matches consumed by the consumers of
chat.connect, chat.receive and chat.disconnect.

    route_requests([path("upload/<int:pk>/", "app.upload")])

sends the requests that match to app.upload, and leaves all others to middleware
and view.
"""

import logging

from django import urls
from django.channels.channel import Channel
from django.channels.layers import DEFAULT_CHANNEL_ALIAS
from django.channels.messages import check_channel_name
from django.channels.registry import Consumer, registry
from django.channels.views import HandedOver
from django.core.exceptions import ImproperlyConfigured, PermissionDenied
from django.http import Http404, HttpResponseBadRequest
from django.urls import URLPattern, get_resolver, include

__all__ = ["include", "path", "re_path", "route_requests", "route_websockets"]

logger = logging.getLogger("django.channels.routing")

REQUEST = "django.wsgi.request"
WEBSOCKET = "django.websocket"

# What WebSockets tell of, as the last part of the names of channels.
EVENTS = ("connect", "receive", "disconnect")

# Codes to close a WebSocket with, which resemble those of HTTP.
FORBIDDEN = 4403
NOT_FOUND = 4404


class Route:
    """
    What a URL pattern leads to: the channel `name`, or those of a WebSocket that
    begin with it.

    As the pattern may stand in the URLconf of the site as well, so that templates
    find its URL there, it is a view, which answers requests that ask for no
    WebSocket.
    """

    def __init__(self, name):
        check_channel_name(name)
        self.name = name

    def __call__(self, request, *args, **kwargs):
        return HttpResponseBadRequest(
            "This is the address of a WebSocket.", content_type="text/plain"
        )


def path(route, channel, kwargs=None, name=None):
    """
    Return a URL pattern as django.urls.path() does. `channel` is the name of the
    channel that it leads to, or what include() returns.
    """
    return urls.path(route, _target(channel), kwargs, name)


def re_path(route, channel, kwargs=None, name=None):
    """Do what path() does, with a regular expression."""
    return urls.re_path(route, _target(channel), kwargs, name)


def _target(channel):
    return Route(channel) if isinstance(channel, str) else channel


class Routes:
    """
    The URL patterns in `patterns`, a list of them. Raise ImproperlyConfigured if one
    leads elsewhere than to a channel.
    """

    def __init__(self, patterns):
        self._urlconf = tuple(patterns)
        # By the name of what it leads to, a pattern.
        self.targets = {}
        self._collect(self._urlconf)

    def _collect(self, patterns):
        for pattern in patterns:
            if not isinstance(pattern, URLPattern):
                self._collect(pattern.url_patterns)
            elif isinstance(pattern.callback, Route):
                self.targets.setdefault(pattern.callback.name, pattern)
            else:
                raise ImproperlyConfigured(
                    f"The URL pattern {str(pattern.pattern)!r} leads to "
                    f"{pattern.lookup_str}, not to a channel. Make it with path() or "
                    "re_path() of django.channels.routing."
                )

    def match(self, path):
        """Return the ResolverMatch of `path`, or None."""
        try:
            return get_resolver(self._urlconf).resolve(path)
        except urls.Resolver404:
            return None

    def reverse(self, name, args=None, kwargs=None):
        """Return the path of a pattern, as django.urls.reverse() does."""
        return urls.reverse(name, urlconf=self._urlconf, args=args, kwargs=kwargs)


class Router(Consumer):
    """Leaves messages to the consumers that `routes`, a Routes, have for their path."""

    def __init__(self, routes, backend=DEFAULT_CHANNEL_ALIAS):
        super().__init__(self.__call__)
        self.routes = routes
        self.backend = backend

    def reverse(self, name, args=None, kwargs=None):
        """Return the path of the URL pattern `name`. Raise NoReverseMatch."""
        return self.routes.reverse(name, args, kwargs)

    def channels(self, name):
        """Return the channels that a pattern for `name` leads to."""
        return [name]

    def consumers(self, name):
        """
        Return the consumers of those channels. Raise ImproperlyConfigured if there
        are none.
        """
        channels = self.channels(name)
        found = [registry.get(channel, self.backend) for channel in channels]
        if not any(found):
            raise ImproperlyConfigured(
                f"The URL pattern {str(self.routes.targets[name].pattern)!r} leads to "
                f"{name!r}, but there is no consumer of {' or '.join(channels)}."
            )
        return list(filter(None, found))

    def prepare(self):
        for name in self.routes.targets:
            for consumer in self.consumers(name):
                consumer.prepare()


class WebSocketRouter(Router):
    """
    Calls the consumer for the path of a WebSocket.

    It does so in place, so that the message is done, or has failed, when the
    consumer is.
    """

    def channels(self, name):
        return [f"{name}.{event}" for event in EVENTS]

    @property
    def ordered(self):
        """Whether any of the consumers of what is received needs the order."""
        names = [f"{name}.receive" for name in self.routes.targets]
        found = [registry.get(name, self.backend) for name in names]
        return any(consumer.ordered for consumer in found if consumer) or not any(found)

    @ordered.setter
    def ordered(self, value):
        pass  # That of the consumers counts.

    def named_for(self, channel, message):
        path = message.get("path")
        match = self.routes.match(path) if isinstance(path, str) else None
        if match is None:
            return self
        return registry.get(target_of(match, channel), self.backend) or self

    def __call__(self, channel, message):
        match = self.routes.match(message["path"])
        if match is None:
            self._turn_away(channel, message, NOT_FOUND, "Not found")
            return
        try:
            self._call_consumer(match, target_of(match, channel), message)
        except Http404:
            self._turn_away(channel, message, NOT_FOUND, "Not found")
        except PermissionDenied:
            self._turn_away(channel, message, FORBIDDEN, "Forbidden")

    def _call_consumer(self, match, target, message):
        consumer = registry.get(target, self.backend)
        if consumer is None:
            # Others of this path may do.
            self.consumers(match.func.name)
            return
        url = {"url_args": list(match.args), "url_kwargs": match.kwargs}
        consumer(target, {**message, **url})

    def _turn_away(self, channel, message, code, reason):
        """Refuse the handshake, or close the WebSocket with `code`."""
        logger.warning("%s: WebSocket %r", reason, message["path"])
        if not channel.endswith(".disconnect"):
            client = Channel(message["send_channel"], self.backend)
            client.send({"close": code, "reason": reason})


def target_of(match, channel):
    """Return the channel that a WebSocket's message on `channel` leads to."""
    return f"{match.func.name}.{channel.rpartition('.')[2]}"


class RequestRouter(Router):
    """Sends requests on to the channel for their path, as Channel.as_view() does."""

    converts_exceptions = True

    def __call__(self, channel, message):
        match = self.routes.match(request_path(message))
        others = registry.built_in(REQUEST)
        if match is None:
            others(channel, message)
            return
        target = Channel(match.func.name, self.backend)
        handed_over = HandedOver(target, match.args, match.kwargs, timeout=None)
        if hasattr(message, "handler"):
            others.hand_over(message, handed_over)
        else:
            handed_over.hand_over(message)

    def prepare(self):
        super().prepare()
        registry.built_in(REQUEST).prepare()


def request_path(message):
    """Return the path of a message of django.wsgi.request without its script name."""
    if hasattr(message, "handler"):
        # A request of this process, of which no message has been made yet.
        return message.request.path_info
    return message["path"].removeprefix(message.get("script_name", "").rstrip("/"))


def route_websockets(patterns, backend=DEFAULT_CHANNEL_ALIAS):
    """
    Have the consumer for the path of a WebSocket called with its messages. Return
    what has reverse(), for the paths of patterns with names.

    `patterns` is a list of what path() and re_path() of this module return. One for
    "chat" leads to the consumers of chat.connect, chat.receive and chat.disconnect,
    not all of which need exist. They are given the values of the URL as well, in
    `url_args` and `url_kwargs`. If they raise Http404 or PermissionDenied, or no
    pattern matches, the client is turned away.

    Raise ImproperlyConfigured if a pattern leads to no channel.
    """
    router = WebSocketRouter(Routes(patterns), backend)
    registry.register(router, [f"{WEBSOCKET}.{event}" for event in EVENTS], backend)
    return router


def route_requests(patterns):
    """
    Send the requests whose path matches to channels, without middleware. Return
    what has reverse().

    `patterns` is a list as for route_websockets(). The consumer of the channel is
    called with the message of the request, with `url_args` and `url_kwargs` in it
    (see Channel.as_view()). All other requests are answered as ever.
    """
    router = RequestRouter(Routes(patterns))
    registry.register(router, [REQUEST])
    return router
