"""The ASGI application of the site."""

from channels.routing import ChannelNameRouter, ProtocolTypeRouter, URLRouter

from django.core.asgi import get_asgi_application
from django.urls import path

http = get_asgi_application()

# They need the apps.
from benchmarks.peers import consumers  # NOQA: E402

application = ProtocolTypeRouter(
    {
        "http": http,
        "websocket": URLRouter(
            [
                path("echo/", consumers.Echo.as_asgi()),
                path("worker/", consumers.Relay.as_asgi()),
                path("group/", consumers.Member.as_asgi()),
            ]
        ),
        "channel": ChannelNameRouter(
            {consumers.WORKER: consumers.EchoWorker.as_asgi()}
        ),
    }
)
