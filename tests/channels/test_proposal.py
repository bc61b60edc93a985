"""
The examples of the Channels proposal (Andrew Godwin, 2015), taken from the page of
the documentation that has them.
"""

import json
import threading
from functools import cache
from types import ModuleType

from django.channels import Channel, Group, channels, consumer
from django.channels.backends.contract import PATIENCE
from django.channels.background import background
from django.channels.registry import registry
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpResponse
from django.test import SimpleTestCase, TransactionTestCase, override_settings
from django.test.channels import ChannelsTestMixin
from django.test.utils import isolate_apps
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

from . import pages
from .models import Stats
from .opted_in import isolated_events, published_models
from .redis_servers import skip_without
from .test_wsgi import Result
from .utils import MEMORY, wait_until

try:
    import websockets
except ImportError:
    websockets = None

RAW = "A raw response"
REQUEST = "A request message"
RAW_SOCKET = "A raw message to a WebSocket"
ECHO = "An echo"
VIEWS = "Requests and views"
CHAT = "A chat room"
MODEL = "A model"
LIVE = "A page that updates live"
EVENT = "A custom event"

urlpatterns = [
    path("hello/", lambda request: HttpResponse(f"Hello {request.GET['name']}")),
    path("upload/", csrf_exempt(lambda request: HttpResponse(len(request.body)))),
]


@cache
def examples():
    """Return the examples of the page by their captions."""
    blocks = pages.blocks("internals/channels-proposal")
    return {block.caption: block.text for block in blocks}


def load(caption):
    """
    Return a module with the code of an example. The name of this app is channels
    instead of myapp.
    """
    text = examples()[caption].replace("myapp.models", "channels.models")
    module = ModuleType("channels.example")
    exec(compile(text, caption, "exec"), vars(module))
    return module


class ExamplesTests(SimpleTestCase):
    def test_each_has_a_test(self):
        tested = [REQUEST, RAW, RAW_SOCKET, ECHO, VIEWS, CHAT, MODEL, LIVE, EVENT]
        self.assertEqual(list(examples()), tested)


class RequestTests(SimpleTestCase):
    """ "Serving Requests": consumers that answer requests."""

    def setUp(self):
        self.enterContext(registry.isolate())

    def test_hello_world(self):
        load(RAW)
        response = self.client.get("/foo/bar/?query=value")
        self.assertEqual(response.content, b"Hello World")
        self.assertEqual(response.headers["Content-Type"], "text/plain")

    def test_request_message(self):
        seen = []

        @consumer("django.wsgi.request")
        def remember(**message):
            seen.append(message)
            Channel(message["response_channel"]).send({"content": ""})

        self.client.get("/foo/bar/?query=value")
        (message,) = seen
        example = json.loads(examples()[REQUEST])
        begin, _, _ = example.pop("response_channel").rpartition(".")
        self.assertTrue(message["response_channel"].startswith(f"{begin}."))
        self.assertEqual({key: message[key] for key in example}, example)

    @override_settings(ROOT_URLCONF="channels.test_proposal")
    def test_handle_request(self):
        load(VIEWS)
        response = self.client.get("/hello/?name=World")
        self.assertEqual(response.content, b"Hello World")
        self.assertEqual(self.client.get("/nowhere/").status_code, 404)
        response = self.client.post("/upload/", b"x" * 500_000, "text/plain")
        self.assertEqual(response.content, b"500000")


class WebSocketTests(ChannelsTestMixin, SimpleTestCase):
    """ "Serving Requests": consumers of WebSockets."""

    def setUp(self):
        if websockets is None:
            skip_without("The package websockets")
        self.enterContext(registry.isolate())

    def test_hello_world(self):
        load(RAW_SOCKET)
        client = self.websocket("/")
        client.send("Hello")
        self.assertEqual(client.receive(), "Hello World")

    def test_echo(self):
        load(ECHO)
        client = self.websocket("/")
        for message in ["Hello", b"\x00\xff"]:
            with self.subTest(message=message):
                client.send(message)
                self.assertEqual(client.receive(), message)

    def test_chat(self):
        members = load(CHAT).members
        self.assertIsInstance(members, Group)
        clients = [self.websocket("/") for _ in range(3)]
        self.assertEqual(len(members), 3)
        clients[0].send("Hello")
        for client in clients:
            self.assertEqual(client.receive(), "Hello")
        clients[1].close()
        self.assertEqual(set(members), {clients[0].channel, clients[2].channel})
        clients[2].send("Still here?")
        self.assertEqual(clients[0].messages, ["Still here?"])
        self.assertEqual(clients[1].messages, [])


class CustomEventTests(TransactionTestCase):
    """ "More Events": work that a view hands off."""

    available_apps = ["channels"]

    def test_view_count(self):
        self.enterContext(registry.isolate())
        example = load(EVENT)
        example.urlpatterns = [path("some-view/", example.some_view)]
        with self.settings(ROOT_URLCONF=example):
            for _ in range(3):
                response = self.client.get("/some-view/")
                self.assertContains(response, "Sign up")
            background.stop()
        self.assertEqual(channels["default"].depths(), {})
        entry = Stats.objects.get()
        self.assertEqual((entry.ip_address, entry.count), ("127.0.0.1", 3))


class ModelEventTests(ChannelsTestMixin, TransactionTestCase):
    """ "More Events": a model that tells of its rows."""

    available_apps = ["channels"]

    @isolate_apps("channels")
    def test_row_that_is_saved(self):
        self.enterContext(registry.isolate())
        self.enterContext(isolated_events())
        channel = "channels.models.signup.post_save"
        consumer(channel)(lambda **message: None)
        signup = load(MODEL).Signup.objects.create(email="somebody@example.com")
        self.assertMessageSent(channel, {"pk": signup.pk, "created": True})


class LongPollTests:
    """ "More Events": a client waits, and another signs up."""

    available_apps = ["channels"]

    def setUp(self):
        self.enterContext(registry.isolate())
        self.enterContext(published_models())
        self.example = load(LIVE)
        self.enterContext(self.settings(ROOT_URLCONF=self.example))
        # With what has been sent to clients that had their answer.
        self.addCleanup(channels["default"].flush)
        self.addCleanup(background.stop)

    def test_clients_that_wait_hear_of_a_signup(self):
        contents, listeners = [], self.example.listeners

        def wait():
            result = Result(WSGIHandler(), "/longpoll/")
            contents.append(json.loads(result.content))

        threads = [threading.Thread(target=wait, daemon=True) for _ in range(2)]
        for thread in threads:
            thread.start()
        wait_until(lambda: len(listeners) == 2)
        response = self.client.post("/signup/", {"email": "somebody@example.com"})
        self.assertContains(response, "Thanks")
        for thread in threads:
            thread.join(PATIENCE)
        event = {"action": "signup", "email": "somebody@example.com"}
        self.assertEqual(contents, [event, event])
        self.assertEqual(set(listeners), set())


class LiveLongPollTests(LongPollTests, TransactionTestCase):
    pass


@override_settings(
    CHANNELS={"default": {"BACKEND": MEMORY, "OPTIONS": {"SERIALIZE": True}}},
)
class TextLongPollTests(LongPollTests, TransactionTestCase):
    pass
