"""A site for clients that others wrote, served once for all tests of a class."""

import os
import subprocess
from unittest import skipUnless

from django.channels.backends.contract import PATIENCE
from django.test import SimpleTestCase

from .redis_servers import skip_without
from .test_interface import InterfaceTestCase

LIMITS = """
CHANNELS_LIMITS = {"COMPRESSION": True, "PING_AFTER": 0.5}
"""

URLS = f"""
import hashlib
from django.channels import Channel
from django.http import HttpResponse, JsonResponse, StreamingHttpResponse
from django.urls import path

def upload(request):
    digest, size = hashlib.sha256(), 0
    while part := request.read(65536):
        digest.update(part)
        size += len(part)
    return JsonResponse({{"size": size, "sha256": digest.hexdigest()}})

def stream(request):
    return StreamingHttpResponse(f"{{number}};" for number in range(1000))

urlpatterns = [
    path("", lambda request: HttpResponse("<!doctype html><title>Clients</title>")),
    path("item/<int:number>/", lambda request, number: HttpResponse(f"<{{number}}>")),
    path("upload/", upload),
    path("stream/", stream),
    path("events/", Channel("app.listen").as_view(timeout={PATIENCE})),
]
"""

CONSUMERS = """
import os
from django.channels import Channel, Group, consumer

def note(*words):
    with open("done.txt", "a") as file:
        file.write(" ".join(map(str, words)) + chr(10))

note("process", os.getpid())

@consumer("django.websocket.connect")
def connect(send_channel, path, subprotocols, **message):
    if path == "/refused/":
        Channel(send_channel).send({"close": True})
    elif "second" in subprotocols:
        Channel(send_channel).send({"subprotocol": "second"})

@consumer("django.websocket.receive")
def receive(send_channel, data, **message):
    if data.get("content") == "leave":
        Channel(send_channel).send({"close": 4001, "reason": "Signed out: é"})
    else:
        Channel(send_channel).send(data)

@consumer("django.websocket.disconnect")
def disconnect(path, code, **message):
    note("left", path, code)

@consumer("app.listen")
def listen(response_channel, META, **message):
    Group("listeners").add(response_channel)
    start = {"content": "retry: 10\\n\\n", "content_type": "text/event-stream"}
    Channel(response_channel).send(start | {"more": True})
    note("listening", META.get("HTTP_LAST_EVENT_ID", "new"))

@consumer("app.event")
def event(content, more, **message):
    Group("listeners").send({"content": content, "more": more})
"""


class ClientSite(InterfaceTestCase):
    """The site as a thing of its own, between setUp() and doCleanups()."""

    settings_text = LIMITS

    def start_interface(self):
        self.write("site_urls.py", URLS)
        self.write("app/consumers.py", CONSUMERS)
        super().start_interface()

    def url(self, path="/", scheme="http"):
        return f"{scheme}://127.0.0.1:{self.port}{path}"

    def send_event(self, content, more=True):
        """Send text of an event stream to all that listen; it may be the last."""
        self.send("app.event", content=content, more=more)

    def left(self, path):
        """Return the codes with which WebSockets of a path have been closed."""
        return [int(code) for at, code in self.done("left") if at == path]

    def listened(self):
        """Return what each listener has given as its last event, or "new"."""
        return [last for (last,) in self.done("listening")]


@skipUnless(os.name == "posix", "Needs POSIX signals.")
class ClientTestCase(SimpleTestCase):
    """`site` is a ClientSite, which keeps messages on Redis."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.site = ClientSite()
        cls.addClassCleanup(cls.site.doCleanups)
        cls.site.setUp()


def require_command(*command, what, **options):
    """Skip the test unless a command works; in CI, fail it."""
    try:
        subprocess.run(
            command, check=True, capture_output=True, timeout=PATIENCE, **options
        )
    except (OSError, subprocess.SubprocessError):
        skip_without(what)
