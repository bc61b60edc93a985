"""
What the runserver command does and says about channels.

With the packages of Django[gevent] the interface server takes the place of the
development server. It serves the same WSGI application, and WebSockets, long
polls and server-sent events as well, all in one process.
"""

import argparse
from importlib.util import find_spec

from django.channels.interfaces import wsgi
from django.channels.layers import DEFAULT_CHANNEL_ALIAS, channels
from django.channels.registry import registry
from django.core.servers import basehttp

PACKAGES = ("gevent", "geventwebsocket", "websockets")

HOW_TO_SERVE = 'python -m pip install "Django[gevent]" lets this server have them.'


class WebSockets:
    """Why there are no WebSockets, in a sentence, or None."""

    off = None


def add_arguments(parser):
    """Add the options of channels to the parser of runserver."""
    parser.add_argument(
        "--no-channels",
        action="store_false",
        dest="use_channels",
        # Commands that call this one need not know of the option.
        default=argparse.SUPPRESS,
        help="Tells Django to NOT send requests through channels.",
    )


def configure(options):
    """Apply the options of add_arguments()."""
    wsgi.Switch.on = options.get("use_channels", True)


def choose(run):
    """Return what serves in place of `run`, the function of basehttp, if it is that."""
    return serve if run is basehttp.run and wsgi.Switch.on else run


def serve(addr, port, wsgi_handler, **options):
    """
    Serve as django.core.servers.basehttp.run() does, which has the same arguments,
    and WebSockets too if nothing keeps this process from it. Otherwise requests
    for them get 501.
    """
    WebSockets.off = find_obstacle(options["threading"], options["server_cls"])
    if WebSockets.off is not None:
        application = refuse_websockets(wsgi_handler, WebSockets.off)
        basehttp.run(addr, port, application, **options)
        return
    from django.channels.interfaces.server.development import DevelopmentServer
    from django.channels.interfaces.server.threads import ServerThread

    thread = ServerThread(
        (addr, port),
        wsgi_handler,
        ipv6=options["ipv6"],
        server_class=DevelopmentServer,
    )
    thread.start()
    options["on_bind"](thread.port)
    thread.wait()


def find_obstacle(threading, server_cls):
    """Return why WebSockets cannot be served, in a sentence, or None."""
    if not threading:
        return "They need threads, which --nothreading turns off."
    if server_cls is not basehttp.WSGIServer:
        return f"{server_cls.__qualname__} does not serve them."
    if any(find_spec(package) is None for package in PACKAGES):
        return HOW_TO_SERVE


def refuse_websockets(application, sentence):
    """Return a WSGI application that answers requests for WebSockets itself."""

    def answer(environ, start_response):
        if environ.get("HTTP_UPGRADE", "").lower() != "websocket":
            return application(environ, start_response)
        content = f"There are no WebSockets here. {sentence}\n".encode()
        headers = [
            ("Content-Type", "text/plain; charset=utf-8"),
            ("Content-Length", str(len(content))),
        ]
        start_response("501 Not Implemented", headers)
        return [content]

    return answer


def describe():
    """Return the lines about channels for the banner of runserver."""
    if not wsgi.Switch.on:
        return "Channels: off for requests (--no-channels)"
    backend = channels[DEFAULT_CHANNEL_ALIAS]
    count = registry.count(backend.alias)
    noun = "consumer" if count == 1 else "consumers"
    line = f"Channels: {backend.describe()} layer, {count} {noun}"
    if not backend.process_local:
        line += ". Requests wait for workers: manage.py runworker"
    return f"{line}\nWebSockets: {describe_websockets()}"


def describe_websockets():
    """Return what the banner says of WebSockets."""
    return "on" if WebSockets.off is None else f"off. {WebSockets.off}"
