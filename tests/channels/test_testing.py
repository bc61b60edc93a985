import os
import threading
import time
import unittest
from contextlib import suppress
from unittest import mock
from urllib.request import urlopen

from django.channels import Channel, Group, channels, consumer
from django.channels.backends.contract import PATIENCE
from django.channels.background import background
from django.channels.inbox import Inbox
from django.channels.models import Announcement, DelayedMessage, Member, Message
from django.channels.registry import registry
from django.contrib.auth.models import User
from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.contrib.staticfiles.testing import StaticLiveServerTestCase
from django.db import connection, transaction
from django.http import HttpResponse
from django.test import (
    Client,
    SimpleTestCase,
    TestCase,
    TransactionTestCase,
    modify_settings,
    override_settings,
)
from django.test.channels import (
    ChannelsLiveServerTestCase,
    ChannelsTestMixin,
    capture_messages,
)
from django.test.liveserver import LiveInterface
from django.urls import path

from .layers import LAYER, layer
from .models import Stats
from .redis_servers import shared_redis, skip_without
from .utils import MEMORY, run_in_fork, wait_until

try:
    from django.test.websockets import WebSocketClient
except ImportError:
    WebSocketClient = None
try:
    import gevent
    from websockets.sync.client import connect
except ImportError:
    gevent = None

TEXT = {"default": {"BACKEND": MEMORY, "OPTIONS": {"SERIALIZE": True}}}
REDIS = "django.channels.backends.redis.RedisBackend"
DATABASE = {"BACKEND": "django.channels.backends.database.DatabaseBackend"}
TABLES = [Message, DelayedMessage, Member, Announcement]


def some_view(request):
    Channel("tests.view").send({"path": request.path})
    return HttpResponse("seen")


def stats_view(request):
    Channel("tests.count").send({"address": "192.0.2.7"})
    return HttpResponse(str(Stats.objects.count()))


def failing_view(request):
    with suppress(ValueError), transaction.atomic():
        Channel("tests.count").send({"address": "192.0.2.7"})
        # For the consumer to come in between, if it could.
        time.sleep(0.1)
        raise ValueError
    return HttpResponse("rolled back")


urlpatterns = [
    path("failing/", failing_view),
    path("view/", some_view),
    path("stats/", stats_view),
    path("poll/", Channel("tests.poll").as_view()),
]


def count_address(address, **kwargs):
    stats, _ = Stats.objects.get_or_create(ip_address=address)
    stats.count += 1
    stats.save()


def run_test(method):
    """
    Return the result of a test that `method` is, in a class of its own that is a
    SimpleTestCase with ChannelsTestMixin.
    """
    case = type("Case", (ChannelsTestMixin, SimpleTestCase), {"test": method})
    result = unittest.TestResult()
    unittest.TestSuite([case("test")]).run(result)
    return result


@override_settings(CHANNELS=layer())
class ChannelsTestCase(ChannelsTestMixin, SimpleTestCase):
    def setUp(self):
        self.enterContext(registry.isolate())
        self.calls = []

    def record(self, name):
        @consumer(name)
        def remember(channel, **message):
            self.calls.append((channel, message))


class CaptureTests(ChannelsTestCase):
    def test_messages_are_recorded_and_received(self):
        with capture_messages() as sent:
            Channel("tests.one").send({"key": (1, 2)})
            Group("chat").send({"content": "hello"})
        Channel("tests.one").send({"key": 3})
        self.assertEqual(
            sent,
            [
                (Channel("tests.one"), {"key": [1, 2]}, 0),
                (Group("chat"), {"content": "hello"}, 0),
            ],
        )
        received = channels["default"].receive(["tests.one"])
        self.assertEqual(received, ("tests.one", {"key": [1, 2]}))

    def test_contexts_nest(self):
        with capture_messages() as outer:
            Channel("tests.one").send({})
            with capture_messages() as inner:
                Channel("tests.two").send({})
        self.assertEqual((len(outer), len(inner)), (2, 1))

    def test_what_is_not_sent_is_not_recorded(self):
        with capture_messages() as sent, self.assertRaises(ValueError):
            Channel("tests.one").send({"key": object()})
        self.assertEqual(sent, [])

    def test_a_record_does_not_change_with_the_message(self):
        message = {"keys": [1]}
        with capture_messages() as sent:
            Channel("tests.one").send(message)
            message["keys"].append(2)
        self.assertEqual(sent[0].message, {"keys": [1]})

    def test_messages_of_other_threads(self):
        with capture_messages() as sent:
            thread = threading.Thread(target=Channel("tests.one").send, args=({},))
            thread.start()
            thread.join(PATIENCE)
        self.assertEqual(len(sent), 1)


class AssertionTests(ChannelsTestCase):
    def setUp(self):
        super().setUp()
        Channel("tests.one").send({"a": 1, "b": [2, 3]})
        Channel("tests.one").send({"a": 2})

    def test_message_sent(self):
        first = {"a": 1, "b": [2, 3]}
        self.assertEqual(self.assertMessageSent("tests.one"), first)
        self.assertEqual(self.assertMessageSent("tests.one", {"a": 2}), {"a": 2})
        self.assertEqual(self.assertMessageSent("tests.one", {"b": (2, 3)}), first)
        self.assertMessageSent(Channel("tests.one"), {}, count=2)
        self.assertIsNone(self.assertMessageSent("tests.one", {"a": 3}, count=0))

    def test_message_was_not_sent(self):
        sentence = (
            "No message was sent to 'tests.one' with {'a': 3}. What was sent:\n"
            "    <Channel: 'tests.one'>: {'a': 1, 'b': [2, 3]}\n"
            "    <Channel: 'tests.one'>: {'a': 2}"
        )
        with self.assertRaisesMessage(AssertionError, sentence):
            self.assertMessageSent("tests.one", {"a": 3})
        for target in ["tests.two", Group("tests.one"), Channel("tests.one", "other")]:
            with self.subTest(target), self.assertRaises(AssertionError):
                self.assertMessageSent(target)

    def test_key_is_not_there(self):
        with self.assertRaises(AssertionError):
            self.assertMessageSent("tests.one", {"c": None})

    def test_wrong_count(self):
        sentence = "2 messages and not 1 were sent to 'tests.one'. What was sent:"
        with self.assertRaisesMessage(AssertionError, sentence):
            self.assertMessageSent("tests.one", count=1)

    def test_message_for_a_person(self):
        with self.assertRaisesMessage(AssertionError, "says the test"):
            self.assertMessageSent("tests.two", msg="says the test")

    def test_no_message_sent(self):
        self.assertNoMessageSent("tests.two")
        self.assertNoMessageSent("tests.one", {"a": 3})
        self.assertNoMessageSent(message={"a": 3})
        with self.assertRaisesMessage(AssertionError, "A message was sent. What was"):
            self.assertNoMessageSent()
        with self.assertRaisesMessage(AssertionError, "sent to 'tests.one' with {"):
            self.assertNoMessageSent("tests.one", {"a": 2})

    def test_nothing_was_sent(self):
        self.sent_messages.clear()
        with self.assertRaisesMessage(AssertionError, "to 'tests.one'. Nothing was."):
            self.assertMessageSent("tests.one")


class RunTests(ChannelsTestCase):
    def test_consumers_run_in_the_thread_of_the_test(self):
        threads = []
        consumer("tests.one")(lambda **kwargs: threads.append(threading.get_ident()))
        Channel("tests.one").send({})
        self.assertEqual(threads, [])
        self.assertEqual(self.run_consumers(), 1)
        self.assertEqual(threads, [threading.get_ident()])
        self.assertEqual(background._running, {})

    def test_they_run_in_the_order_in_which_was_sent(self):
        for name in ["tests.a", "tests.b"]:
            self.record(name)
        for number, name in enumerate(["tests.b", "tests.a", "tests.a", "tests.b"]):
            Channel(name).send({"number": number})
        self.assertEqual(self.run_consumers(), 4)
        self.assertEqual([call[1]["number"] for call in self.calls], [0, 1, 2, 3])
        self.assertEqual(self.run_consumers(), 0)

    def test_what_consumers_send_is_due_too(self):
        @consumer("tests.first")
        def first(number, **kwargs):
            Channel("tests.second").send({"number": number + 1})

        self.record("tests.second")
        Channel("tests.first").send({"number": 1})
        self.assertEqual(self.run_consumers(), 2)
        self.assertEqual(self.calls, [("tests.second", {"number": 2})])

    def test_exceptions_are_raised(self):
        @consumer("tests.one")
        def fail(**kwargs):
            raise KeyError("of the consumer")

        self.record("tests.two")
        Channel("tests.one").send({})
        Channel("tests.two").send({})
        with (
            self.assertLogs("django.channels.worker", "ERROR"),
            self.assertRaisesMessage(KeyError, "of the consumer"),
        ):
            self.run_consumers()
        self.assertEqual(self.run_consumers(), 1)
        Channel("tests.one").send({})
        with self.assertLogs("django.channels.worker", "ERROR"):
            self.assertEqual(self.run_consumers(raise_exceptions=False), 1)

    def test_runs_end(self):
        @consumer("tests.endless")
        def endless(**kwargs):
            Channel("tests.endless").send({})

        Channel("tests.endless").send({})
        sentence = "10 consumers have run, and a message on 'tests.endless' is still"
        with self.assertRaisesMessage(AssertionError, sentence):
            self.run_consumers(limit=10)

    def test_as_many_as_the_limit_may_run(self):
        self.record("tests.one")
        for _ in range(3):
            Channel("tests.one").send({})
        self.assertEqual(self.run_consumers(limit=3), 3)

    def test_messages_without_a_consumer_wait_for_one(self):
        Channel("tests.one").send({"number": 1})
        Channel("tests.one").send({"number": 2})
        self.assertEqual(self.run_consumers(), 0)
        self.record("tests.one")
        self.assertEqual(self.run_consumers(), 2)
        self.assertEqual([call[1]["number"] for call in self.calls], [1, 2])

    @override_settings(CHANNELS=layer("default", "other"))
    def test_all_backends(self):
        consumer("tests.one", backend="other")(lambda **kwargs: self.calls.append(1))
        Channel("tests.one", backend="other").send({})
        self.assertEqual(self.run_consumers(), 1)
        self.assertEqual(self.calls, [1])

    @override_settings(ROOT_URLCONF="channels.test_testing")
    def test_view(self):
        self.record("tests.view")
        self.client.get("/view/")
        self.assertMessageSent("tests.view", {"path": "/view/"}, count=1)
        self.assertEqual(self.calls, [])
        self.run_consumers()
        self.assertEqual(self.calls, [("tests.view", {"path": "/view/"})])

    @override_settings(ROOT_URLCONF="channels.test_testing")
    def test_request_that_is_left_to_a_channel(self):
        @consumer("tests.poll")
        def answer(response_channel, **message):
            Channel(response_channel).send({"content": "at last"})

        self.assertEqual(self.client.get("/poll/").content, b"at last")

    @override_settings(ROOT_URLCONF="channels.test_testing")
    def test_request_that_nobody_answers(self):
        self.record("tests.poll")
        with self.assertLogs("django.request", "ERROR"):
            self.assertEqual(self.client.get("/poll/").status_code, 504)
        self.assertEqual(len(self.calls), 1)

    def test_other_threads_wait(self):
        backend, waits = channels["default"], threading.Event()
        inbox = Inbox(backend, "tests.answers")
        name, received = inbox.open(), []

        def pop(*args, pop=backend.pop):
            waits.set()
            return pop(*args)

        thread = threading.Thread(
            target=lambda: received.append(inbox.receive(name, PATIENCE)), daemon=True
        )
        with mock.patch.object(backend, "pop", pop):
            thread.start()
            self.assertTrue(waits.wait(PATIENCE))
        Channel(name).send({"key": 1})
        thread.join(PATIENCE)
        self.assertEqual(received, [{"key": 1}])


@override_settings(CHANNELS=TEXT)
class TextRunTests(RunTests):
    pass


@override_settings(CHANNELS=layer())
class CommitTests(ChannelsTestMixin, TestCase):
    def setUp(self):
        self.enterContext(registry.isolate())
        consumer("tests.count")(count_address)

    def test_messages_on_commit(self):
        with self.captureOnCommitCallbacks(execute=True) as callbacks:
            Channel("tests.count").send_on_commit({"address": "192.0.2.7"})
            self.assertNoMessageSent()
        self.assertEqual(len(callbacks), 1)
        self.assertMessageSent("tests.count", {"address": "192.0.2.7"}, count=1)
        self.run_consumers()
        self.assertEqual(Stats.objects.get().count, 1)

    def test_messages_that_are_never_committed(self):
        with self.captureOnCommitCallbacks() as callbacks:
            Channel("tests.count").send_on_commit({"address": "192.0.2.7"})
        self.assertEqual(len(callbacks), 1)
        self.assertNoMessageSent()
        self.assertEqual(self.run_consumers(), 0)

    def test_consumers_see_the_transaction_of_the_test(self):
        Stats.objects.create(ip_address="192.0.2.7", count=4)
        Channel("tests.count").send({"address": "192.0.2.7"})
        self.run_consumers()
        self.assertEqual(Stats.objects.get().count, 5)
        self.assertTrue(connection.in_atomic_block)

    def test_connection_of_the_test_stays_open(self):
        Channel("tests.count").send({"address": "192.0.2.7"})
        with mock.patch.object(connection, "close_if_unusable_or_obsolete") as close:
            self.run_consumers()
        self.assertEqual(Stats.objects.get().count, 1)
        close.assert_not_called()


@override_settings(CHANNELS=layer())
class IsolationTests(SimpleTestCase):
    def setUp(self):
        self.enterContext(registry.isolate())
        channels["default"].flush()
        self.addCleanup(channels["default"].flush)

    def run_and_leave(self, method):
        result = run_test(method)
        self.assertEqual((result.testsRun, result.failures, result.errors), (1, [], []))

    def test_messages_and_groups_are_dropped(self):
        def leave(case):
            Channel("tests.left").send({})
            Group("left").add("tests.inbox!1")
            self.assertEqual(len(Group("left")), 1)

        self.run_and_leave(leave)
        self.assertEqual(channels["default"].depths(), {})
        self.assertEqual(len(Group("left")), 0)

    def test_messages_from_before_are_not_run(self):
        if LAYER["BACKEND"].endswith("DatabaseBackend"):
            self.skipTest("What the test database has from before is of tests, too.")
        channels["default"].send("tests.one", {"number": 1})
        calls = []
        consumer("tests.one")(lambda number, **kwargs: calls.append(number))

        def run(case):
            Channel("tests.one").send({"number": 2})
            self.assertEqual(case.run_consumers(), 1)

        self.run_and_leave(run)
        self.assertEqual(calls, [2])

    def test_threads_run_consumers_again_after_the_test(self):
        calls = []
        consumer("tests.one")(lambda **kwargs: calls.append(threading.get_ident()))
        self.addCleanup(background.stop)
        self.run_and_leave(lambda case: Channel("tests.one").send({}))
        Channel("tests.one").send({})
        background.stop()
        self.assertEqual(len(calls), 1)
        self.assertNotEqual(calls, [threading.get_ident()])

    def test_nothing_is_left_in_place_after_a_failure(self):
        def fail(case):
            Channel("tests.one").send({})
            case.fail()

        methods = [Channel.send, Group.send, Group.add, Inbox.receive]
        self.assertEqual(len(run_test(fail).failures), 1)
        self.assertEqual(methods, [Channel.send, Group.send, Group.add, Inbox.receive])
        self.assertNotIn("message_sent", vars(background))
        self.assertEqual(channels.isolation, "")

    def test_nothing_is_left_in_place_by_a_class_that_fails(self):
        class Case(ChannelsTestMixin, TransactionTestCase):
            # What is left of these when a class fails is Django's own matter.
            available_apps = None

            @classmethod
            def setUpClass(cls):
                super().setUpClass()
                raise KeyError

            def test(self):
                pass

        result, send = unittest.TestResult(), Channel.send
        unittest.TestSuite([Case("test")]).run(result)
        self.assertEqual(len(result.errors), 1)
        self.assertIs(Channel.send, send)
        self.assertNotIn("message_sent", vars(background))


class SocketConsumers:
    """The consumers of a chat, and a record of what they are called with."""

    def connect(self, send_channel, path, subprotocols, META, **message):
        self.calls.append(("connect", path, META.get("HTTP_COOKIE", "")))
        if path == "/secret/":
            Channel(send_channel).send({"close": True})
            return
        if path == "/broken/":
            raise KeyError("of the consumer")
        Group("chat").add(send_channel)
        reply = {"content": "welcome", "state": {"path": path}}
        if "chat" in subprotocols:
            reply["subprotocol"] = "chat"
        Channel(send_channel).send(reply)

    def receive(self, send_channel, data, state, **message):
        self.calls.append(("receive", data, state))
        if data.get("content") == "leave":
            Channel(send_channel).send({"close": 4001, "reason": "Bye"})
        elif data.get("content", "").startswith("all: "):
            Group("chat").send(data)
        else:
            Channel(send_channel).send(data)

    def disconnect(self, send_channel, path, code, **message):
        if path == "/late/":
            # When the client is gone for the server, too.
            wait_until(lambda: send_channel not in Group("chat"))
            Group("chat").add(send_channel)
        self.calls.append(("disconnect", code))


@unittest.skipIf(WebSocketClient is None, "Needs websockets.")
class WebSocketTests(SocketConsumers, ChannelsTestCase):
    def setUp(self):
        super().setUp()
        consumer("django.websocket.connect")(self.connect)
        consumer("django.websocket.receive")(self.receive)
        consumer("django.websocket.disconnect")(self.disconnect)

    def enter(self, path="/chat/", **options):
        """Return a WebSocket that has been welcomed."""
        socket = self.websocket(path, **options)
        self.assertEqual(socket.receive(), "welcome")
        self.calls.clear()
        return socket

    def test_accepted(self):
        socket = self.websocket("/chat/?room=1")
        self.assertEqual(socket.status_code, 101)
        self.assertIs(socket.is_open, True)
        self.assertIsNone(socket.subprotocol)
        self.assertEqual(socket.state, {"path": "/chat/"})
        self.assertEqual(socket.messages, ["welcome"])
        self.assertEqual(socket.receive(), "welcome")
        self.assertEqual(self.calls, [("connect", "/chat/", "")])

    def test_message_of_the_handshake(self):
        seen = []
        with registry.isolate():
            del registry._registry["default", "django.websocket.connect"]

            @consumer("django.websocket.connect")
            def connect(**message):
                seen.append(message)

            self.websocket("/chat/?room=1", headers={"X-Key": "é"}, subprotocols=["a"])
        (message,) = seen
        self.assertRegex(message["send_channel"], r"^django\.interface\.[0-9a-f]+!\d+$")
        self.assertEqual(message["path"], "/chat/")
        self.assertEqual(message["GET"], [["room", "1"]])
        self.assertEqual(message["client"], ["127.0.0.1", None])
        self.assertEqual(message["subprotocols"], ["a"])
        self.assertEqual(message["state"], {})
        self.assertEqual(message["META"]["HTTP_HOST"], "testserver")
        self.assertEqual(message["META"]["HTTP_X_KEY"], "é")
        self.assertNotIn("acknowledge", message)

    def test_accepted_without_consumers(self):
        with registry.isolate():
            registry._registry.clear()
            socket = self.websocket()
            self.assertIs(socket.is_open, True)
            socket.send("nobody hears")
            socket.close()
        self.assertEqual(self.calls, [])

    def test_subprotocol(self):
        self.assertEqual(self.enter(subprotocols=["v2", "chat"]).subprotocol, "chat")

    def test_rejected(self):
        socket = self.websocket("/secret/")
        self.assertEqual(socket.status_code, 403)
        self.assertIs(socket.is_open, False)
        self.assertEqual(socket.messages, [])
        sentence = "cannot be sent: the handshake was answered with 403."
        with self.assertRaisesMessage(AssertionError, sentence):
            socket.send("a")
        with self.assertRaisesMessage(AssertionError, "No message has come: the hand"):
            socket.receive()
        socket.close()
        self.assertEqual(self.calls, [("connect", "/secret/", "")])

    def test_host_and_origin_are_checked(self):
        for headers, status in [
            ({"Origin": "https://evil.example.com"}, 403),
            ({"Host": "evil.example.com"}, 400),
            ({"Origin": "http://testserver"}, 101),
        ]:
            with self.subTest(headers):
                socket = self.websocket(headers=headers)
                self.assertEqual(socket.status_code, status)
        self.assertEqual(len(self.calls), 1)

    def test_secure(self):
        options = {"headers": {"Origin": "http://testserver"}, "secure": True}
        self.assertEqual(self.websocket(**options).status_code, 403)

    def test_consumer_of_connect_fails(self):
        with (
            self.assertLogs("django.channels.worker", "ERROR"),
            self.assertRaisesMessage(KeyError, "of the consumer"),
        ):
            self.websocket("/broken/")
        with self.assertLogs("django.channels.worker", "ERROR"):
            socket = self.websocket("/broken/", raise_exceptions=False)
        self.assertEqual(socket.status_code, 500)
        self.assertIn(("disconnect", 1006), self.calls)

    def test_cookies(self):
        self.client.cookies["theme"] = "dark"
        self.websocket()
        self.websocket(client=Client())
        self.assertEqual([call[2] for call in self.calls], ["theme=dark", ""])

    def test_messages(self):
        socket = self.enter()
        socket.send("grüß")
        socket.send(b"\0\xff")
        socket.send_json({"a": [1]})
        self.assertEqual(socket.receive(), "grüß")
        self.assertEqual(socket.receive(), b"\0\xff")
        self.assertEqual(socket.receive_json(), {"a": [1]})
        sentence = "No message has come: the WebSocket is open."
        with self.assertRaisesMessage(AssertionError, sentence):
            socket.receive()

    def test_empty_messages(self):
        socket = self.enter()
        socket.send("")
        socket.send(b"")
        self.assertEqual(socket.messages, ["", b""])

    def test_state_comes_with_messages(self):
        socket = self.enter()
        Channel(socket.channel).send({"state": {"user": 7}})
        self.run_consumers()
        socket.send("a")
        self.assertEqual(self.calls, [("receive", {"content": "a"}, {"user": 7})])
        self.assertEqual(socket.state, {"user": 7})

    def test_messages_of_a_consumer_that_fails(self):
        socket = self.enter(raise_exceptions=False)
        with (
            mock.patch.object(self, "calls", None),
            self.assertLogs("django.channels.worker", "ERROR"),
        ):
            socket.send("a")
        socket.send("b")
        self.assertEqual(socket.receive(), "b")

    def test_groups(self):
        first, second = self.enter(), self.enter()
        self.assertEqual(len(Group("chat")), 2)
        first.send("all: hello")
        self.assertEqual(second.receive(), "all: hello")
        self.assertEqual(first.receive(), "all: hello")
        Group("chat").send({"content": "from the test"})
        self.assertEqual(first.messages, ["from the test"])
        second.close()
        self.assertEqual(list(Group("chat")), [first.channel])
        Group("chat").remove(first.channel)
        Group("chat").send({"content": "to nobody"})
        self.assertEqual(first.messages, ["from the test"])

    def test_what_goes_to_a_group_accepts_no_handshake(self):
        with registry.isolate():
            del registry._registry["default", "django.websocket.connect"]

            @consumer("django.websocket.connect")
            def connect(send_channel, **message):
                Group("chat").add(send_channel)
                Group("chat").send({"content": "somebody comes"})
                Channel(send_channel).send({"close": True})

            socket = self.websocket()
        self.assertEqual(socket.status_code, 403)
        self.assertEqual(socket.messages, [])
        self.assertEqual(len(Group("chat")), 0)

    def test_client_closes(self):
        socket = self.enter()
        socket.close(1001)
        socket.close(1000)
        self.assertIs(socket.is_open, False)
        self.assertEqual(socket.close_code, 1001)
        self.assertEqual(self.calls, [("disconnect", 1001)])
        sentence = "cannot be sent: the WebSocket was closed with 1001."
        with self.assertRaisesMessage(AssertionError, sentence):
            socket.send("a")

    def test_connection_is_lost(self):
        self.enter().abort()
        self.assertEqual(self.calls, [("disconnect", 1006)])

    def test_consumer_closes(self):
        socket = self.enter()
        socket.send("a")
        socket.send("leave")
        self.assertEqual((socket.close_code, socket.close_reason), (4001, "Bye"))
        self.assertEqual(self.calls[-1], ("disconnect", 4001))
        self.assertEqual(socket.receive(), "a")
        Channel(socket.channel).send({"content": "too late"})
        self.assertEqual(socket.messages, [])

    def test_who_is_gone_joins_no_group(self):
        with registry.isolate():
            del registry._registry["default", "django.websocket.disconnect"]

            @consumer("django.websocket.disconnect")
            def disconnect(send_channel, **message):
                Group("chat").add(send_channel)

            stays, goes = self.enter(), self.enter()
            goes.close()
            Group("chat").send({"content": "still here?"})
            self.assertEqual(stays.receive(), "still here?")
        self.assertEqual(list(Group("chat")), [stays.channel])

    def test_the_next_message_comes_when_the_last_one_is_done(self):
        with registry.isolate():
            del registry._registry["default", "django.websocket.receive"]

            @consumer("django.websocket.receive")
            def receive(data, **message):
                self.calls.append(("receive", data["content"]))
                Channel("tests.next").send(data)

            @consumer("tests.next")
            def go_on(content, **message):
                self.calls.append(("next", content))

            socket = self.enter()
            with mock.patch.object(socket, "run"):
                socket.send("a")
                socket.send("b")
            self.assertEqual(self.run_consumers(), 4)
        self.assertEqual(
            self.calls,
            [("receive", "a"), ("next", "a"), ("receive", "b"), ("next", "b")],
        )

    def test_server_goes_away_during_the_handshake(self):
        with registry.isolate():
            del registry._registry["default", "django.websocket.connect"]

            @consumer("django.websocket.connect")
            def connect(send_channel, **message):
                Channel(send_channel).send({"close": 1001})

            self.assertEqual(self.websocket().status_code, 503)

    def test_a_message_that_is_wrong_is_raised(self):
        socket = self.enter()
        Channel(socket.channel).send({"close": 99})
        with self.assertRaisesMessage(ValueError, "'close' must be true or a code"):
            self.run_consumers()


@override_settings(CHANNELS=TEXT)
class TextWebSocketTests(WebSocketTests):
    pass


@unittest.skipIf(WebSocketClient is None, "Needs websockets.")
@override_settings(CHANNELS=layer())
class UserTests(ChannelsTestMixin, TestCase):
    def test_user_of_the_test_client(self):
        user = User.objects.create_user("somebody")
        self.client.force_login(user)
        cookies = []
        with registry.isolate():

            @consumer("django.websocket.connect")
            def connect(META, **message):
                cookies.append(META["HTTP_COOKIE"])

            self.websocket()
        self.assertEqual(cookies, [f"sessionid={self.client.session.session_key}"])


class SharedLayerTests:
    """One test of everything on a backend that processes share."""

    def test_chat(self):
        self.calls = []
        with registry.isolate():
            consumer("django.websocket.connect")(self.connect)
            consumer("django.websocket.receive")(self.receive)
            consumer("django.websocket.disconnect")(self.disconnect)
            first, second = self.websocket("/chat/"), self.websocket("/chat/")
            self.assertEqual((first.receive(), second.receive()), ("welcome",) * 2)
            first.send("all: hello")
            self.assertEqual(second.receive(), "all: hello")
            first.close()
            self.assertEqual(list(Group("chat")), [second.channel])
            self.assertEqual(self.calls[-1], ("disconnect", 1000))

    def test_consumers_run_in_order(self):
        numbers = []
        with registry.isolate():
            consumer("tests.a", "tests.b")(
                lambda number, **kwargs: numbers.append(number)
            )
            for number, name in enumerate(["tests.b", "tests.a", "tests.b"]):
                Channel(name).send({"number": number})
            self.assertEqual(self.run_consumers(), 3)
        self.assertEqual(numbers, [0, 1, 2])
        self.assertMessageSent("tests.b", {"number": 2})


@unittest.skipIf(WebSocketClient is None, "Needs websockets.")
class RedisTests(SocketConsumers, SharedLayerTests, ChannelsTestMixin, SimpleTestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = shared_redis()
        cls.server.client().flushall()
        settings = {"BACKEND": REDIS, "LOCATION": cls.server.url}
        cls.enterClassContext(override_settings(CHANNELS={"default": settings}))
        super().setUpClass()

    def keys(self):
        return [key.decode() for key in self.server.client().keys("*")]

    def test_processes_have_keys_of_their_own(self):
        channels["default"].send("tests.one", {})
        prefix = f"django-channels:test-{os.getpid()}:"
        self.assertEqual(self.keys(), [f"{prefix}queue:tests.one"])
        channels["default"].isolate("test-other")
        self.assertIsNone(channels["default"].receive(["tests.one"]))
        channels["default"].isolate(channels.isolation)
        self.assertEqual(channels["default"].depths(), {"tests.one": 1})
        channels["default"].flush()

    def test_what_others_have_there_stays(self):
        client = self.server.client()
        client.rpush("django-channels:queue:tests.one", "of the site")
        self.addCleanup(client.flushall)

        def send(case):
            Channel("tests.one").send({})
            Group("chat").add("tests.inbox!1")
            self.assertGreater(len(self.keys()), 1)

        result = run_test(send)
        self.assertEqual((result.failures, result.errors), ([], []))
        self.assertEqual(self.keys(), ["django-channels:queue:tests.one"])

    def test_a_fork_has_keys_of_its_own(self):
        if not hasattr(os, "fork"):
            self.skipTest("Needs os.fork().")
        Channel("tests.one").send({})

        def child():
            depths = []
            run_test(lambda case: depths.append(channels["default"].depths()))
            return depths

        self.assertEqual(run_in_fork(child), [{}])
        self.assertEqual(channels["default"].depths(), {"tests.one": 1})


@unittest.skipIf(WebSocketClient is None, "Needs websockets.")
@modify_settings(INSTALLED_APPS={"append": "django.channels"})
@override_settings(CHANNELS={"default": DATABASE})
class DatabaseTests(SocketConsumers, SharedLayerTests, ChannelsTestMixin, TestCase):
    @classmethod
    def setUpClass(cls):
        # The tables that a site's test database has from its migrations.
        with connection.schema_editor() as editor:
            for model in TABLES:
                editor.create_model(model)
        cls.addClassCleanup(cls.drop_tables)
        super().setUpClass()

    @staticmethod
    def drop_tables():
        with connection.schema_editor() as editor:
            for model in TABLES:
                editor.delete_model(model)


class LiveServerTests(SocketConsumers):
    available_apps = ["channels"]

    @classmethod
    def setUpClass(cls):
        if gevent is None:
            skip_without("gevent")
        cls.enterClassContext(registry.isolate())
        cls.calls = []
        consumer("django.websocket.connect")(cls.connect.__get__(cls))
        consumer("django.websocket.receive")(cls.receive.__get__(cls))
        consumer("django.websocket.disconnect")(cls.disconnect.__get__(cls))
        consumer("tests.count")(count_address)
        consumer("tests.poll")(cls.poll)
        consumer("tests.later")(lambda **message: cls.calls.append("later"))
        super().setUpClass()

    @staticmethod
    def poll(response_channel, **message):
        Channel(response_channel).send({"content": str(Stats.objects.count())})

    def setUp(self):
        self.calls.clear()

    def get(self, path):
        with urlopen(self.live_server_url + path, timeout=PATIENCE) as response:
            return response.read().decode()

    def test_websocket(self):
        with connect(f"{self.live_websocket_url}/chat/") as first:
            self.assertEqual(first.recv(PATIENCE), "welcome")
            with connect(f"{self.live_websocket_url}/chat/") as second:
                self.assertEqual(second.recv(PATIENCE), "welcome")
                second.send("all: hello")
                self.assertEqual(first.recv(PATIENCE), "all: hello")
        wait_until(lambda: self.calls.count(("disconnect", 1000)) == 2)

    def test_consumers_and_views_share_the_database(self):
        Stats.objects.create(ip_address="192.0.2.8")
        self.assertEqual(self.get("/stats/"), "1")
        self.run_consumers()
        self.assertEqual(Stats.objects.count(), 2)
        self.assertMessageSent("tests.count", count=1)
        self.assertEqual(self.get("/poll/"), "2")

    def test_delayed_messages_outlast_the_wait_for_others(self):
        Channel("tests.later").send({}, delay=0.3)
        self.run_consumers()
        wait_until(lambda: "later" in self.calls)
        self.assertMessageSent("tests.later", delay=0.3)

    def test_many_at_once(self):
        def visit():
            for _ in range(5):
                self.get("/stats/")

        threads = [threading.Thread(target=visit, daemon=True) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        self.run_consumers()
        self.assertEqual(Stats.objects.get().count, 20)

    def test_transactions_of_views_are_their_own(self):
        self.assertEqual(self.get("/failing/"), "rolled back")
        self.run_consumers()
        self.assertEqual(Stats.objects.get().count, 1)

    def test_who_is_gone_when_it_joins_leaves_the_group(self):
        with connect(f"{self.live_websocket_url}/chat/") as stays:
            self.assertEqual(stays.recv(PATIENCE), "welcome")
            with connect(f"{self.live_websocket_url}/late/"):
                pass
            wait_until(lambda: ("disconnect", 1000) in self.calls)
            stays.send("all: still here?")
            self.assertEqual(stays.recv(PATIENCE), "all: still here?")

    def test_client_without_sockets(self):
        with self.assertRaisesMessage(TypeError, "Connect to live_websocket_url"):
            self.websocket()


@override_settings(ROOT_URLCONF="channels.test_testing", CHANNELS=layer())
class AnyLiveServerTests(LiveServerTests, ChannelsLiveServerTestCase):
    pass


@override_settings(ROOT_URLCONF="channels.test_testing", CHANNELS=TEXT)
class TextLiveServerTests(LiveServerTests, ChannelsLiveServerTestCase):
    pass


class RedisLiveServerTests(LiveServerTests, ChannelsLiveServerTestCase):
    @classmethod
    def setUpClass(cls):
        settings = {"BACKEND": REDIS, "LOCATION": shared_redis().url}
        cls.enterClassContext(
            override_settings(
                ROOT_URLCONF="channels.test_testing", CHANNELS={"default": settings}
            )
        )
        super().setUpClass()


class StaticLiveServerTests(SimpleTestCase):
    def test_static_files_of_apps(self):
        class Case(ChannelsLiveServerTestCase, StaticLiveServerTestCase):
            pass

        server = Case._create_server_thread({})
        self.assertIsInstance(server, LiveInterface)
        self.assertIs(server.static_handler, StaticFilesHandler)


class WithoutPackagesTests(SimpleTestCase):
    def test_live_server_is_skipped(self):
        class Case(ChannelsLiveServerTestCase):
            available_apps = ["channels"]

            def test(self):
                raise AssertionError

        result = unittest.TestResult()
        with mock.patch("django.test.channels.find_spec", return_value=None):
            unittest.TestSuite([Case("test")]).run(result)
        ((_, reason),) = result.skipped
        self.assertIn('needs gevent: python -m pip install "Django[gevent]"', reason)

    def test_websocket_says_what_is_missing(self):
        def ask(case):
            with mock.patch("django.test.channels.find_spec", return_value=None):
                case.websocket()

        ((_, trace),) = run_test(ask).errors
        self.assertIn("websocket() needs the package websockets: python -m", trace)
