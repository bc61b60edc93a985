"""A site that is attacked, and two good clients that it has to go on serving."""

import itertools
import socket
from contextlib import suppress

from django.channels.backends.contract import PATIENCE
from django.test import SimpleTestCase

from .test_interface import InterfaceTestCase

# What is good, and what must not be heard of, can be told by their paths.
GOOD = "/good/"

URLS = """
from app.consumers import note
from django.http import HttpResponse, StreamingHttpResponse
from django.urls import path, re_path

def Noting(get_response):
    def middleware(request):
        note("request", request.path)
        return get_response(request)
    return middleware

def endless(request):
    def parts():
        try:
            while True:
                yield b"x" * 100_000
        finally:
            note("ended", "stream")
    return StreamingHttpResponse(parts())

def reading(request):
    def parts():
        yield b"begun"
        yield request.read()
    return StreamingHttpResponse(parts())

urlpatterns = [
    path("reading/", reading),
    path("large/", lambda request: HttpResponse(b"x" * 20_000_000)),
    path("endless/", endless),
    re_path("", lambda request: HttpResponse("Hello World")),
]
"""

# The consumer says "much" to who asks for it, and whatever came to others.
CONSUMERS = """
from django.channels import Channel, consumer

def note(*words):
    with open("done.txt", "a") as file:
        file.write(" ".join(map(str, words)) + chr(10))

import os
note("process", os.getpid())

@consumer("django.websocket.connect")
def connect(path, **message):
    note("connect", path)

@consumer("django.websocket.receive")
def receive(send_channel, path, data, **message):
    note("receive", path)
    if data.get("content") == "much":
        for _ in range(200):
            Channel(send_channel).send({"content": "x" * 100_000})
    else:
        Channel(send_channel).send(data)

@consumer("django.websocket.disconnect")
def disconnect(path, code, **message):
    note("disconnect", path, code)
"""


class HostileSite(InterfaceTestCase):
    """The site, with one worker: what it has done it has done in order."""

    workers = 1

    def __init__(self, settings_text=""):
        super().__init__()
        self.settings_text = f'MIDDLEWARE = ["site_urls.Noting"]\n{settings_text}'

    def start_interface(self):
        self.write("site_urls.py", URLS)
        self.write("app/consumers.py", CONSUMERS)
        super().start_interface()

    def heard(self, what):
        """Return the words of what the site has done for others than the good."""
        return [words for words in self.done(what) if words[0] != GOOD]

    def attack(self, data=b"", receive_buffer=None):
        """Return a connection on which `data` has been sent."""
        sock = socket.socket()
        sock.settimeout(PATIENCE)
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.connect(("127.0.0.1", self.port))
        send_what_is_taken(sock, [data])
        return sock


def send_what_is_taken(sock, pieces):
    """Send all pieces, or those before the server has closed the connection."""
    with suppress(ConnectionError):
        for piece in pieces:
            sock.sendall(piece)


def read_all(sock):
    """Return what comes until the end of the connection."""
    received = b""
    with suppress(ConnectionError):
        while part := sock.recv(65536):
            received += part
    return received


class HostileTestCase(SimpleTestCase):
    """Its tests share one running server, and two clients that behave."""

    settings_text = ""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.site = HostileSite(cls.settings_text)
        cls.addClassCleanup(cls.site.doCleanups)
        cls.site.setUp()
        cls.client_of_http = cls.site.http_client()
        cls.client_of_websockets = cls.site.socket(GOOD)
        cls.numbers = itertools.count(1)

    def assertOthersAreServed(self):
        response, content = self.site.get(GOOD, client=self.client_of_http)
        self.assertEqual((response.status, content), (200, b"Hello World"))
        text = f"message {next(self.numbers)}"
        self.client_of_websockets.send(text)
        self.assertEqual(self.client_of_websockets.recv(PATIENCE), text)

    def assertHeard(self, what, *expected):
        """Check what the site has done for others than the good clients."""
        # What was sent before has been done when these have their answers.
        self.assertOthersAreServed()
        self.assertEqual(self.site.heard(what), [list(item) for item in expected])
