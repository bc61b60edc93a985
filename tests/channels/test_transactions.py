from unittest import mock

from django.channels import Channel, channels, consumer
from django.channels.backends.memory import MemoryBackend
from django.channels.background import background
from django.channels.fanout import FanOut
from django.channels.health import PingConsumer
from django.channels.registry import registry
from django.channels.worker import Worker
from django.core.exceptions import ImproperlyConfigured
from django.db import connection, connections, transaction
from django.http import HttpResponse
from django.test import SimpleTestCase, TransactionTestCase, override_settings
from django.urls import path

from .models import Stats
from .utils import MEMORY

ADDRESS = "192.0.2.7"


def atomic(request):
    return HttpResponse(str(connection.in_atomic_block))


@transaction.non_atomic_requests
def non_atomic(request):
    return atomic(request)


urlpatterns = [
    path("atomic/", atomic),
    path("non-atomic/", non_atomic),
]


class AtomicTestCase(TransactionTestCase):
    """ATOMIC_REQUESTS is on for the default database, and off for the other."""

    available_apps = ["channels"]
    databases = {"default", "other"}

    def setUp(self):
        self.enterContext(registry.isolate())
        self.turn_on("default")

    def turn_on(self, alias):
        on = {"ATOMIC_REQUESTS": True}
        self.enterContext(mock.patch.dict(connections[alias].settings_dict, on))


class RecordingBackend(MemoryBackend):
    """Notes with each message whether a transaction is open and a row is there."""

    def __init__(self, *args):
        super().__init__(*args)
        self.sent = []

    def send(self, channel, message, delay=0):
        state = connection.in_atomic_block, Stats.objects.exists()
        self.sent.append((channel, message, *state))


class ConsumerTests(AtomicTestCase):
    def open_transactions(self):
        return {alias for alias in self.databases if connections[alias].in_atomic_block}

    def run_consumer(self, *decorators):
        """Return the databases with a transaction in a consumer with these marks."""
        seen = []

        def look(**message):
            seen.append(self.open_transactions())

        for decorator in decorators:
            look = decorator(look)
        with registry.isolate():
            consumer("tests.one")(look)
            registry.get("tests.one")("tests.one", {})
        return seen[0]

    def test_each_database_with_atomic_requests(self):
        self.assertEqual(self.run_consumer(), {"default"})
        self.turn_on("other")
        self.assertEqual(self.run_consumer(), {"default", "other"})
        self.assertEqual(self.open_transactions(), set())

    def test_without_atomic_requests(self):
        with mock.patch.dict(connection.settings_dict, ATOMIC_REQUESTS=False):
            self.assertEqual(self.run_consumer(), set())

    def test_opted_out(self):
        self.turn_on("other")
        non_atomic = transaction.non_atomic_requests
        self.assertEqual(self.run_consumer(non_atomic), {"other"})
        self.assertEqual(self.run_consumer(non_atomic(using="other")), {"default"})
        self.assertEqual(self.run_consumer(non_atomic, non_atomic("other")), set())

    def test_opted_out_above_the_registration(self):
        seen = []

        @transaction.non_atomic_requests
        @consumer("tests.one")
        def look(**message):
            seen.append(connection.in_atomic_block)

        registry.get("tests.one")("tests.one", {})
        self.assertEqual(seen, [False])

    def test_coroutine_function(self):
        async def look(**message):
            pass

        msg = (
            "test_coroutine_function.<locals>.look is a coroutine function, so it "
            "cannot run in the transaction that ATOMIC_REQUESTS of 'default' asks for."
        )
        with self.assertRaisesMessage(ImproperlyConfigured, msg):
            consumer("tests.one")(look)
        self.assertIsNone(registry.get("tests.one"))

    def test_coroutine_function_that_is_opted_out(self):
        seen = []

        @consumer("tests.one")
        @transaction.non_atomic_requests
        async def look(**message):
            seen.append(message)

        registry.get("tests.one")("tests.one", {"key": 1})
        self.assertEqual(seen, [{"key": 1, "channel": "tests.one"}])

    def test_consumers_that_ship_with_django_and_need_no_database(self):
        for name, shipped in [
            ("tests.answer", PingConsumer()),
            ("tests.next", FanOut([Channel("tests.next")])),
        ]:
            with self.subTest(consumer=shipped):
                states = []
                with mock.patch.object(
                    channels["default"],
                    "send",
                    lambda *args: states.append(connection.in_atomic_block),
                ):
                    message = {"response_channel": name, "backend": "default"}
                    shipped("tests.one", message)
                self.assertEqual(states, [False])


class RollbackTests(AtomicTestCase):
    """What becomes of rows and messages if a consumer fails in its transaction."""

    def setUp(self):
        super().setUp()
        self.backend = RecordingBackend("default", {})
        self.enterContext(
            mock.patch.object(channels["default"], "send", self.backend.send)
        )

    def run_message(self, **message):
        Worker(self.backend).run_message("tests.one", message)
        return self.backend.sent

    def fail(self, **message):
        @consumer("tests.one")
        def fails(**message):
            Stats.objects.create(ip_address=ADDRESS)
            Channel("tests.now").send({})
            Channel("tests.committed").send_on_commit({})
            raise KeyError("The consumer has failed.")

        with self.assertLogs("django.channels.worker", "ERROR"):
            return self.run_message(**message)

    def test_rows_are_rolled_back(self):
        self.fail()
        self.assertFalse(Stats.objects.exists())

    def test_send_is_not_taken_back(self):
        self.assertEqual(self.fail(), [("tests.now", {}, True, True)])

    def test_the_failure_is_answered_after_the_rollback(self):
        sent = self.fail(response_channel="tests.answer!1")
        channel, answer, *state = sent[-1]
        self.assertEqual((channel, answer["status"]), ("tests.answer!1", 500))
        self.assertEqual(state, [False, False])

    def test_the_failure_is_acknowledged_after_the_rollback(self):
        sent = self.fail(send_channel="tests.socket!1", acknowledge=7)
        answer = {"acknowledged": 7, "failed": True}
        self.assertEqual(sent[-1], ("tests.socket!1", answer, False, False))

    def test_the_end_is_acknowledged_after_the_commit(self):
        @consumer("tests.one")
        def works(**message):
            Stats.objects.create(ip_address=ADDRESS)
            Channel("tests.committed").send_on_commit({})

        sent = self.run_message(send_channel="tests.socket!1", acknowledge=7)
        self.assertEqual(
            sent,
            [
                ("tests.committed", {}, False, True),
                ("tests.socket!1", {"acknowledged": 7}, False, True),
            ],
        )

    def test_a_failure_after_the_commit_keeps_the_rows(self):
        @consumer("tests.one")
        def works(**message):
            Stats.objects.create(ip_address=ADDRESS)
            transaction.on_commit(lambda: {}["missing"])

        with self.assertLogs("django.channels.worker", "ERROR"):
            ((channel, answer, *state),) = self.run_message(
                response_channel="tests.answer!1"
            )
        self.assertEqual(answer["status"], 500)
        self.assertEqual(state, [False, True])

    def test_system_exit_rolls_back(self):
        @consumer("tests.one")
        def exits(**message):
            Stats.objects.create(ip_address=ADDRESS)
            raise SystemExit

        with self.assertLogs("django.channels.worker", "ERROR"):
            self.run_message()
        self.assertFalse(Stats.objects.exists())

    def test_a_caught_exception_commits(self):
        @consumer("tests.one")
        def recovers(**message):
            Stats.objects.create(ip_address=ADDRESS)
            with self.assertRaises(KeyError), transaction.atomic():
                Stats.objects.create(ip_address=ADDRESS)
                raise KeyError

        self.run_message()
        self.assertEqual(Stats.objects.count(), 1)

    def test_connections_are_looked_after_when_the_transaction_is_over(self):
        states = []
        consumer("tests.one")(lambda **message: None)
        with mock.patch(
            "django.channels.worker.close_old_connections",
            lambda: states.append(connection.in_atomic_block),
        ):
            self.run_message()
        self.assertEqual(states, [False])


class WorkerThreadTests(AtomicTestCase):
    def test_consumers_in_a_thread_of_their_own(self):
        self.addCleanup(background.stop)

        @consumer("tests.one")
        def count(fails, **message):
            Stats.objects.create(ip_address=ADDRESS)
            if fails:
                raise KeyError

        with self.assertLogs("django.channels.worker", "ERROR"):
            for fails in [True, False]:
                Channel("tests.one").send({"fails": fails})
            background.stop()
        self.assertEqual(Stats.objects.count(), 1)


class RequestTests:
    """The consumer that ships with Django leaves transactions to the handler."""

    def test_view(self):
        self.assertEqual(self.client.get("/atomic/").content, b"True")

    def test_view_that_is_opted_out(self):
        self.assertEqual(self.client.get("/non-atomic/").content, b"False")

    def test_consumer_of_the_site(self):
        @consumer("django.wsgi.request")
        def answer(response_channel, **message):
            content = str(connection.in_atomic_block)
            Channel(response_channel).send({"content": content})

        self.assertEqual(self.client.get("/non-atomic/").content, b"True")


@override_settings(ROOT_URLCONF="channels.test_transactions")
class LocalRequestTests(RequestTests, AtomicTestCase):
    pass


@override_settings(
    ROOT_URLCONF="channels.test_transactions",
    CHANNELS={"default": {"BACKEND": MEMORY, "OPTIONS": {"SERIALIZE": True}}},
)
class TextRequestTests(RequestTests, AtomicTestCase):
    pass


class NoDatabaseTests(SimpleTestCase):
    def test_consumers_run_without_a_database(self):
        seen = []
        with registry.isolate():
            consumer("tests.one")(lambda **message: seen.append(message))
            registry.get("tests.one")("tests.one", {})
        self.assertEqual(seen, [{"channel": "tests.one"}])
