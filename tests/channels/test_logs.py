"""What the log tells of messages, from their sender to their consumer."""

import logging
import tempfile

from django.channels import Channel, channels, consumer, signals
from django.channels.backends.contract import PATIENCE
from django.channels.ids import ReceivedMessage
from django.channels.registry import registry
from django.channels.routing import path, route_websockets
from django.channels.worker import Worker, run_consumer
from django.test import SimpleTestCase, override_settings
from django.test.channels import ChannelsLiveServerTestCase

from .databases import database, sqlite_settings
from .layers import layer, without_threads
from .redis_servers import shared_redis
from .utils import MEMORY, run_script

try:
    from websockets.sync.client import connect
except ImportError:
    connect = None  # Then there is no live server.

SENDER = "django.channels.channel"
WORKER = "django.channels.worker"
RECEIVE = "django.websocket.receive"
ALIAS = "channels_logs"


def succeed(**message):
    pass


def fail(**message):
    raise KeyError("cause")


class FollowingTests:
    """A message has one id on its way, on each backend. For a subclass with these."""

    params = {}

    def setUp(self):
        self.enterContext(registry.isolate())
        self.enterContext(without_threads)
        self.enterContext(override_settings(CHANNELS={"default": self.params}))
        self.backend = channels["default"]
        self.backend.flush()
        self.addCleanup(self.backend.close)
        self.addCleanup(self.backend.flush)

    def run_worker(self):
        self.assertTrue(Worker(self.backend).run_one(0))

    def records(self, logs, name):
        return [record for record in logs.records if record.name == name]

    def test_sender_and_worker_name_the_same_message(self):
        consumer("tests.one")(succeed)
        with self.assertLogs("django.channels", "DEBUG") as logs:
            for _ in range(2):
                Channel("tests.one").send({"key": 1})
            for _ in range(2):
                self.run_worker()
        sent, done = self.records(logs, SENDER), self.records(logs, WORKER)
        ids = [record.message_id for record in sent]
        self.assertEqual(ids, [record.message_id for record in done])
        self.assertEqual(len(set(ids)), 2)
        self.assertEqual([record.channel for record in sent + done], ["tests.one"] * 4)
        msg = f"The message {ids[0]} goes to 'tests.one'."
        self.assertEqual(sent[0].getMessage(), msg)
        self.assertIn(ids[0], done[0].getMessage())

    def test_failure_names_the_message(self):
        consumer("tests.one")(fail)
        with self.assertLogs("django.channels", "DEBUG") as logs:
            Channel("tests.one").send({})
            self.run_worker()
        (sent,), (failed,) = self.records(logs, SENDER), self.records(logs, WORKER)
        self.assertEqual(failed.message_id, sent.message_id)
        self.assertEqual(failed.levelname, "ERROR")

    def test_message_has_an_id_if_its_sender_logs_nothing(self):
        consumer("tests.one")(succeed)
        Channel("tests.one").send({})
        Channel("tests.one").send({})
        with self.assertLogs(WORKER, "DEBUG") as logs:
            self.run_worker()
            self.run_worker()
        ids = {record.message_id for record in logs.records}
        self.assertEqual((len(ids), None in ids), (2, False))

    def test_message_that_is_sent_on_is_a_new_one(self):
        with self.assertLogs(SENDER, "DEBUG") as logs:
            Channel("tests.one").send({"key": 1})
            _, message = self.backend.receive(["tests.one"])
            Channel("tests.two").send(message)
            _, again = self.backend.receive(["tests.two"])
        ids = [record.message_id for record in logs.records]
        self.assertEqual([message.id, again.id], ids)
        self.assertNotEqual(*ids)
        self.assertEqual(again, {"key": 1})


class MemoryTests(FollowingTests, SimpleTestCase):
    params = {"BACKEND": MEMORY}


class SerializedTests(FollowingTests, SimpleTestCase):
    params = {"BACKEND": MEMORY, "OPTIONS": {"SERIALIZE": True}}


class RedisTests(FollowingTests, SimpleTestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        path = "django.channels.backends.redis.RedisBackend"
        cls.params = {"BACKEND": path, "LOCATION": shared_redis().url}

    def test_the_id_is_that_of_the_envelope(self):
        Channel("tests.one").send({})
        shard = self.backend.shards[0]
        ((envelope,),) = shard.session.call(
            ("LRANGE", shard.key("queue", "tests.one"), 0, -1)
        )
        _, message = self.backend.receive(["tests.one"])
        self.assertEqual(message.id, envelope.decode().split(" ")[2])


class EncryptedRedisTests(RedisTests):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.params = cls.params | {"OPTIONS": {"ENCRYPTION_KEYS": ["a key"]}}


class DatabaseTests(FollowingTests, SimpleTestCase):
    @classmethod
    def setUpClass(cls):
        folder = cls.enterClassContext(tempfile.TemporaryDirectory())
        cls.enterClassContext(database(ALIAS, **sqlite_settings(folder)))
        cls.databases = {ALIAS}
        super().setUpClass()
        path = "django.channels.backends.database.DatabaseBackend"
        cls.params = {"BACKEND": path, "LOCATION": ALIAS}


class InterfaceTests:
    """What an interface server sends has an id as well. For a subclass with a layer."""

    available_apps = ["channels"]

    @classmethod
    def setUpClass(cls):
        cls.enterClassContext(registry.isolate())

        @consumer(RECEIVE)
        def echo(send_channel, data, **message):
            Channel(send_channel).send(data)

        super().setUpClass()

    def test_interface_and_worker_name_the_same_message(self):
        with self.assertLogs("django.channels", "DEBUG") as logs:
            with connect(f"{self.live_websocket_url}/") as client:
                client.send("Hello!")
                client.recv(PATIENCE)
            self.run_consumers()
        about = [
            (record.name, record.message_id)
            for record in logs.records
            if getattr(record, "channel", None) == RECEIVE
        ]
        number = about[0][1]
        self.assertEqual(about, [(SENDER, number), (WORKER, number)])


@override_settings(CHANNELS=layer())
class LiveInterfaceTests(InterfaceTests, ChannelsLiveServerTestCase):
    pass


class RedisInterfaceTests(InterfaceTests, ChannelsLiveServerTestCase):
    @classmethod
    def setUpClass(cls):
        path = "django.channels.backends.redis.RedisBackend"
        params = {"BACKEND": path, "LOCATION": shared_redis().url}
        cls.enterClassContext(override_settings(CHANNELS={"default": params}))
        super().setUpClass()


class CallTests(SimpleTestCase):
    """What the log and the signals tell of the call of a consumer."""

    def setUp(self):
        self.enterContext(registry.isolate())
        self.enterContext(override_settings(CHANNELS={"default": {"BACKEND": MEMORY}}))
        self.backend = channels["default"]

    def run_logged(self, function):
        """Return the one record of the log of a call of `function`."""
        consumer("tests.one")(function)
        with self.assertLogs(WORKER, "DEBUG") as logs:
            run_consumer(self.backend, "tests.one", {"key": 1})
        (record,) = logs.records
        return record

    def test_success(self):
        record = self.run_logged(succeed)
        self.assertEqual(record.levelname, "DEBUG")
        self.assertEqual(record.channel, "tests.one")
        self.assertEqual(record.consumer, "channels.test_logs.succeed")
        self.assertGreater(record.duration, 0)
        self.assertEqual(
            record.getMessage(),
            "The consumer channels.test_logs.succeed of 'tests.one' took "
            f"{record.duration:.4f} s for the message {record.message_id}.",
        )

    def test_failure(self):
        record = self.run_logged(fail)
        self.assertEqual(record.levelname, "ERROR")
        self.assertEqual(record.consumer, "channels.test_logs.fail")
        self.assertIs(record.exc_info[0], KeyError)
        self.assertEqual(
            record.getMessage(),
            "The consumer channels.test_logs.fail of 'tests.one' raised KeyError. It "
            f"had the message {record.message_id} for {record.duration:.4f} s.",
        )

    def test_routes_lead_to_the_consumer_that_is_named(self):
        route_websockets([path("chat/", "tests.chat"), path("news/", "tests.news")])
        consumer("tests.chat.receive")(succeed)
        consumer("tests.news.connect")(succeed)
        router = "django.channels.routing.WebSocketRouter.__call__"
        for address, name in [
            ("/chat/", "channels.test_logs.succeed"),
            ("/news/", router),
            ("/nowhere/", router),
            (None, router),
        ]:
            with self.subTest(address=address):
                routed = registry.get(RECEIVE)
                named = routed.named_for(RECEIVE, {"path": address})
                self.assertEqual(str(named), name)

    def test_failure_behind_a_route(self):
        route_websockets([path("chat/", "tests.chat")])
        consumer("tests.chat.receive")(fail)
        with self.assertLogs(WORKER, "ERROR") as logs:
            message = {"path": "/chat/", "send_channel": "tests!1"}
            run_consumer(self.backend, RECEIVE, message)
        (record,) = logs.records
        self.assertEqual(record.channel, RECEIVE)
        self.assertEqual(record.consumer, "channels.test_logs.fail")

    def test_message_without_consumer(self):
        message = ReceivedMessage()
        message.id = "9c1f-7"
        with self.assertLogs(WORKER, "ERROR") as logs:
            run_consumer(self.backend, "tests.nobody", message)
        (record,) = logs.records
        self.assertEqual(record.channel, "tests.nobody")
        self.assertEqual(record.message_id, "9c1f-7")

    def test_success_is_logged_for_those_who_debug_alone(self):
        consumer("tests.one")(succeed)
        with self.assertLogs(WORKER, "INFO") as logs:
            run_consumer(self.backend, "tests.one", {})
            logging.getLogger(WORKER).info("The end.")
        self.assertEqual([record.getMessage() for record in logs.records], ["The end."])

    def test_signals_tell_the_same(self):
        told = []

        def note(sender, signal, message_id, duration=None, **kwargs):
            told.append((signal, message_id, duration))

        for signal in (signals.consumer_started, signals.consumer_finished):
            signal.connect(note)
            self.addCleanup(signal.disconnect, note)
        record = self.run_logged(succeed)
        expected = [
            (signals.consumer_started, record.message_id, None),
            (signals.consumer_finished, record.message_id, record.duration),
        ]
        self.assertEqual(told, expected)


# The setting of the guide to deployment, and what a site writes with it.
LOGGING = """
from django.conf import settings

settings.configure(
    SECRET_KEY="of the tests",
    LOGGING={
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "channels": {
                "()": "logging.Formatter",
                "style": "{",
                "fmt": "{asctime} {levelname} [{channel} {message_id}] {message}",
                "defaults": {"channel": "-", "message_id": "-"},
            },
        },
        "handlers": {
            "channels": {"class": "logging.StreamHandler", "formatter": "channels"},
        },
        "loggers": {
            "django.channels": {
                "handlers": ["channels"],
                "level": "DEBUG",
                "propagate": False,
            },
        },
    },
)
import logging
import django

django.setup()
from django.channels import Channel, consumer
from django.channels.background import background

@consumer("tests.one")
def fail(**message):
    raise KeyError("cause")

Channel("tests.one").send({})
background.stop()
logging.getLogger("django.channels.worker").info("Something else.")
"""


class FormatTests(SimpleTestCase):
    def test_setting_of_the_guide(self):
        output = run_script(LOGGING).stderr
        (sent,) = [line for line in output.splitlines() if " DEBUG " in line]
        (failed,) = [line for line in output.splitlines() if " ERROR " in line]
        label = sent[sent.index("[") : sent.index("]") + 1]
        self.assertRegex(label, r"^\[tests\.one [0-9a-f]+-[0-9a-f]+\]$")
        self.assertIn(f"{label} The consumer __main__.fail of 'tests.one'", failed)
        self.assertIn("KeyError: 'cause'", output)
        self.assertIn(" INFO [- -] Something else.", output)
