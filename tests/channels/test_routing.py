import uuid
from unittest import mock

from django.channels import Channel, ChannelFull, channels, consumer
from django.channels.backends.contract import PATIENCE
from django.channels.inbox import Inbox
from django.channels.registry import registry
from django.channels.routing import (
    Route,
    include,
    path,
    re_path,
    route_requests,
    route_websockets,
)
from django.channels.worker import Worker
from django.core.exceptions import ImproperlyConfigured, PermissionDenied
from django.core.handlers.wsgi import WSGIHandler
from django.db import connections, transaction
from django.http import Http404, HttpResponse
from django.test import RequestFactory, SimpleTestCase, TestCase, override_settings
from django.urls import NoReverseMatch, clear_script_prefix, get_script_prefix
from django.urls import path as view_path
from django.urls import reverse

from .layers import layer, without_threads
from .models import Stats
from .test_interface import InterfaceTestCase
from .utils import MEMORY

SERIALIZE = {"default": {"BACKEND": MEMORY, "OPTIONS": {"SERIALIZE": True}}}


class WorkerMixin:
    """Has a worker run the consumers of a WebSocket whose interface is the test."""

    def setUp(self):
        self.enterContext(registry.isolate())
        self.enterContext(without_threads)
        self.backend = channels["default"]
        self.backend.flush()
        self.worker = Worker(self.backend)
        self.inbox = Inbox(self.backend, "tests.sockets")
        self.channel = self.inbox.open()
        self.state = {}
        self.calls = []

    def tell(self, event, path="/", **message):
        """
        Return what is sent to the client of a message of django.websocket.<event>
        until it is done.
        """
        common = {"send_channel": self.channel, "path": path, "state": self.state}
        common |= {"GET": [], "client": ["192.0.2.7", 50312], "acknowledge": 1}
        self.backend.send(f"django.websocket.{event}", common | message)
        self.assertTrue(self.worker.run_one(0))
        answers = []
        while "acknowledged" not in (answer := self.inbox.receive(self.channel, 0)):
            self.state = answer.get("state", self.state)
            answers.append(answer)
        self.failed = "failed" in answer
        return answers

    def connect(self, path="/", META={}, subprotocols=(), **message):
        META = {"HTTP_HOST": "testserver", "REQUEST_METHOD": "GET", **META}
        message |= {"META": META, "subprotocols": list(subprotocols)}
        self.state = {}
        return self.tell("connect", path, **message)

    def receive(self, path="/", **data):
        return self.tell("receive", path, data=data)

    def disconnect(self, path="/", code=1000):
        return self.tell("disconnect", path, code=code)


class PathTests(SimpleTestCase):
    def test_leads_to_a_channel(self):
        for make, route in [(path, "chat/"), (re_path, "^chat/$")]:
            pattern = make(route, "chat", {"extra": 1}, name="chat-socket")
            self.assertEqual(pattern.callback.name, "chat")
            self.assertEqual(pattern.name, "chat-socket")
            self.assertEqual(pattern.resolve("chat/").kwargs, {"extra": 1})

    def test_channel_with_an_invalid_name(self):
        with self.assertRaisesMessage(ValueError, "'no name' is not a valid name"):
            path("chat/", "no name")

    def test_is_a_view_where_no_websocket_is_asked_for(self):
        response = Route("chat")(RequestFactory().get("/chat/lobby/"), room="lobby")
        self.assertEqual(response.status_code, 400)
        self.assertIn(b"WebSocket", response.content)

    def test_patterns_for_views_are_refused(self):
        patterns = [path("app/", include([view_path("poll/", HttpResponse)]))]
        msg = (
            "The URL pattern 'poll/' leads to django.http.response.HttpResponse, not "
            "to a channel."
        )
        for function in (route_websockets, route_requests):
            with registry.isolate():
                with self.assertRaisesMessage(ImproperlyConfigured, msg):
                    function(patterns)


urlpatterns = [
    path("chat/<slug:room>/", "chat", name="chat-socket"),
    path("files/<uuid:pk>/", "files", {"kind": "file"}),
    re_path(r"^old/(\d+)/$", "chat"),
    path("staff/", include(([path("<int:pk>/", "staff", name="desk")], "staff"))),
]


class WebSocketRoutingTests(WorkerMixin, SimpleTestCase):
    def setUp(self):
        super().setUp()
        self.router = route_websockets(urlpatterns)

        @consumer("chat.connect", "chat.receive", "chat.disconnect")
        @consumer("files.connect", "staff.receive")
        def remember(channel, url_args, url_kwargs, **message):
            self.calls.append((channel, url_args, url_kwargs))

    def test_calls_the_consumer_for_the_path(self):
        values = {"room": "lobby"}
        self.assertEqual(self.connect("/chat/lobby/"), [])
        self.assertEqual(self.receive("/chat/lobby/", content="hello"), [])
        self.assertEqual(self.disconnect("/chat/lobby/"), [])
        events = ["chat.connect", "chat.receive", "chat.disconnect"]
        self.assertEqual(self.calls, [(event, [], values) for event in events])

    def test_keys_of_the_message_come_through(self):
        @consumer("files.receive")
        def receive(**message):
            self.calls.append(message)

        pk = uuid.UUID(int=7)
        self.receive(f"/files/{pk}/", content="hello")
        [message] = self.calls
        self.assertEqual(message["data"], {"content": "hello"})
        self.assertEqual(message["send_channel"], self.channel)
        self.assertEqual(message["channel"], "files.receive")
        self.assertEqual(message["url_kwargs"], {"pk": pk, "kind": "file"})

    def test_groups_without_names(self):
        self.connect("/old/7/")
        self.assertEqual(self.calls, [("chat.connect", ["7"], {})])

    def test_include(self):
        self.receive("/staff/7/", content="hello")
        self.assertEqual(self.calls, [("staff.receive", [], {"pk": 7})])

    def test_reverse(self):
        self.assertEqual(
            self.router.reverse("chat-socket", kwargs={"room": "lobby"}),
            "/chat/lobby/",
        )
        self.assertEqual(self.router.reverse("staff:desk", args=[7]), "/staff/7/")
        with self.assertRaises(NoReverseMatch):
            self.router.reverse("nothing")

    @override_settings(ROOT_URLCONF="channels.test_routing")
    def test_names_in_the_urlconf_of_the_site(self):
        self.assertEqual(reverse("chat-socket", args=["lobby"]), "/chat/lobby/")
        self.assertEqual(self.client.get("/chat/lobby/").status_code, 400)

    def test_events_without_consumer(self):
        self.assertEqual(self.connect("/staff/7/"), [])
        self.assertEqual(self.disconnect("/staff/7/"), [])
        self.assertFalse(self.failed)
        self.assertEqual(self.calls, [])

    def test_unknown_path(self):
        refusal = {"close": 4404, "reason": "Not found"}
        with self.assertLogs("django.channels.routing", "WARNING") as logs:
            self.assertEqual(self.connect("/nothing/"), [refusal])
        self.assertIn("Not found: WebSocket '/nothing/'", logs.output[0])
        with self.assertLogs("django.channels.routing", "WARNING"):
            self.assertEqual(self.receive("/nothing/", content="hello"), [refusal])
            # Whose client is gone cannot be told.
            self.assertEqual(self.disconnect("/nothing/"), [])
        self.assertEqual(self.calls, [])

    def test_consumers_turn_clients_away_by_exceptions(self):
        raised = []

        @consumer("files.receive")
        def receive(**message):
            raise raised[-1]

        for exception, code in [(Http404(), 4404), (PermissionDenied(), 4403)]:
            raised.append(exception)
            with self.assertLogs("django.channels.routing", "WARNING"):
                [answer] = self.receive(f"/files/{uuid.UUID(int=7)}/", content="")
            self.assertEqual(answer["close"], code)
            self.assertFalse(self.failed)

    def test_is_done_when_the_consumer_is(self):
        @consumer("files.receive")
        def receive(send_channel, **message):
            Channel(send_channel).send({"content": "first"})
            raise KeyError

        with self.assertLogs("django.channels.worker", "ERROR"):
            answers = self.receive(f"/files/{uuid.UUID(int=7)}/", content="")
        self.assertEqual(answers, [{"content": "first"}])
        self.assertTrue(self.failed)

    def test_order(self):
        self.assertIs(self.router.ordered, True)
        with registry.isolate():
            router = route_websockets([path("a/", "a"), path("b/", "b")], "other")
            self.assertIs(router.ordered, True)
            for name, whole in [("a", False), ("b", True)]:
                register = consumer(f"{name}.receive", backend="other", ordered=whole)
                register(lambda **message: None)
                self.assertIs(router.ordered, whole)

    def test_patterns_without_any_consumer(self):
        router = route_websockets([path("empty/", "empty")], backend="other")
        msg = (
            "The URL pattern 'empty/' leads to 'empty', but there is no consumer of "
            "empty.connect or empty.receive or empty.disconnect."
        )
        with self.assertRaisesMessage(ImproperlyConfigured, msg):
            router.prepare()
        message = {"path": "/empty/", "send_channel": self.channel}
        with self.assertRaisesMessage(ImproperlyConfigured, msg):
            router("django.websocket.connect", message)

    def test_prepare(self):
        prepared = []
        for name in ["chat.connect", "files.connect", "staff.receive"]:
            found = registry.get(name)
            found.prepare = lambda found=found: prepared.append(found)
        self.router.prepare()
        self.assertCountEqual(set(prepared), {registry.get("chat.connect")} | {found})

    def test_second_consumer_for_all_websockets(self):
        msg = "'django.websocket.connect' has the consumer django.channels.routing."
        with self.assertRaisesMessage(ImproperlyConfigured, msg):
            route_websockets([])


class TransactionTests(WorkerMixin, TestCase):
    def setUp(self):
        super().setUp()
        self.enterContext(
            mock.patch.dict(connections.settings["default"], ATOMIC_REQUESTS=True)
        )
        route_websockets(urlpatterns)

    def create(self, url_kwargs, **message):
        Stats.objects.create(ip_address=url_kwargs["room"])
        raise Http404

    def test_consumers_that_turn_away_roll_back(self):
        consumer("chat.connect")(self.create)
        with self.assertLogs("django.channels.routing", "WARNING"):
            [answer] = self.connect("/chat/lobby/")
        self.assertEqual(answer["close"], 4404)
        self.assertFalse(Stats.objects.exists())

    def test_consumers_opt_out(self):
        @consumer("chat.connect")
        @transaction.non_atomic_requests
        def connect(**message):
            self.create(**message)

        with self.assertLogs("django.channels.routing", "WARNING"):
            self.connect("/chat/lobby/")
        self.assertTrue(Stats.objects.exists())


def hello(request):
    return HttpResponse("Hello World")


class RequestRoutingTests(SimpleTestCase):
    urls = type("urls", (), {"urlpatterns": [view_path("hello/", hello)]})

    def setUp(self):
        self.enterContext(registry.isolate())
        self.enterContext(self.settings(ROOT_URLCONF=self.urls))
        self.router = route_requests([path("raw/<uuid:pk>/", "app.raw", name="raw")])

        @consumer("app.raw")
        def raw(response_channel, url_kwargs, method, **message):
            content = f"{method} {url_kwargs['pk']}"
            Channel(response_channel).send({"content": content, "status": 201})

    def test_matching_requests_go_to_the_channel(self):
        pk = uuid.UUID(int=7)
        url = self.router.reverse("raw", kwargs={"pk": pk})
        for settings in [layer(), SERIALIZE]:
            with self.subTest(settings), self.settings(CHANNELS=settings):
                response = self.client.post(url, b"body", content_type="text/plain")
                self.assertEqual(response.status_code, 201)
                self.assertEqual(response.content, f"POST {pk}".encode())

    def test_others_are_answered_as_ever(self):
        for settings in [layer(), SERIALIZE]:
            with self.subTest(settings), self.settings(CHANNELS=settings):
                response = self.client.get("/hello/")
                self.assertEqual(response.content, b"Hello World")
                self.assertEqual(self.client.get("/raw/").status_code, 404)

    def test_messages_of_an_interface(self):
        self.enterContext(without_threads)
        backend = channels["default"]
        inbox = Inbox(backend, "tests.responses")
        worker = Worker(backend)
        for url, calls, content in [
            ("/site/hello/", 1, "Hello World"),
            (f"/site/raw/{uuid.UUID(int=7)}/", 2, f"GET {uuid.UUID(int=7)}"),
        ]:
            channel = inbox.open()
            message = {
                "response_channel": channel,
                "method": "GET",
                "scheme": "http",
                "path": url,
                "script_name": "/site",
                "GET": [],
                "META": {"HTTP_HOST": "testserver", "REQUEST_METHOD": "GET"},
                "client": ["192.0.2.7", 50312],
            }
            backend.send("django.wsgi.request", message)
            for _ in range(calls):
                self.assertTrue(worker.run_one(0))
            self.assertEqual(inbox.receive(channel, 0)["content"], content)
            # What is consumed next need be no request.
            self.assertEqual(get_script_prefix(), "/")

    def test_script_prefix_of_the_settings_remains(self):
        self.addCleanup(clear_script_prefix)
        message = {
            "response_channel": Inbox(channels["default"], "tests.responses").open(),
            "method": "GET",
            "scheme": "http",
            "path": "/site/hello/",
            "script_name": "/site",
            "META": {"HTTP_HOST": "testserver"},
        }
        with self.settings(FORCE_SCRIPT_NAME="/forced"):
            registry.built_in("django.wsgi.request")("django.wsgi.request", message)
        self.assertEqual(get_script_prefix(), "/forced/")

    def test_message_that_cannot_be_sent_is_answered(self):
        request = RequestFactory().get(f"/raw/{uuid.UUID(int=7)}/")
        status = []
        with (
            mock.patch.object(Channel, "send", side_effect=ChannelFull("Full.")),
            self.assertLogs("django.request", "ERROR"),
        ):
            WSGIHandler()(request.environ, lambda *args: status.append(args[0]))
        self.assertEqual(status, ["500 Internal Server Error"])

    def test_prepare_needs_a_consumer(self):
        self.router.prepare()
        with registry.isolate():
            registry._registry.clear()
            router = route_requests([path("raw/", "app.other")])
            msg = "'raw/' leads to 'app.other', but there is no consumer of app.other."
            with self.assertRaisesMessage(ImproperlyConfigured, msg):
                router.prepare()


ROUTED = """
from django.channels import Channel, Group, consumer
from django.channels.routing import path, route_websockets

@consumer("chat.connect")
def connect(send_channel, url_kwargs, **message):
    Group(f"chat.{url_kwargs['room']}").add(send_channel)

@consumer("chat.receive")
def receive(data, url_kwargs, **message):
    Group(f"chat.{url_kwargs['room']}").send(data)

route_websockets([path("chat/<slug:room>/", "chat")])
"""


class InterfaceTests(InterfaceTestCase):
    """Rooms of a chat, by the interface server and a worker."""

    workers = 1

    def start_interface(self):
        self.write("app/consumers.py", ROUTED)
        super().start_interface()

    def test_rooms(self):
        first, second, other = map(
            self.socket, ["/chat/lobby/", "/chat/lobby/", "/chat/attic/"]
        )
        other.send("in the attic")
        first.send("in the lobby")
        for client in (first, second):
            self.assertEqual(client.recv(PATIENCE), "in the lobby")
        self.assertEqual(other.recv(PATIENCE), "in the attic")
        with self.assertRaisesMessage(Exception, "403"):
            self.socket("/nothing/")
