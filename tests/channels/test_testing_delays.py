"""Delayed messages in the tools for tests."""

from datetime import timedelta

from django.channels import Channel, InvalidDelay, channels, consumer
from django.channels.backends.memory import MemoryBackend
from django.channels.background import background
from django.channels.registry import registry
from django.test import SimpleTestCase, TestCase, override_settings
from django.test.channels import ChannelsTestMixin, capture_messages
from django.test.liveserver import LiveInterface

from .layers import layer
from .utils import MEMORY, wait_until


class WithoutDelays(MemoryBackend):
    supports_delay = False


WITHOUT = {"default": {"BACKEND": f"{__name__}.WithoutDelays"}}


@override_settings(CHANNELS=layer())
class DelayTests(ChannelsTestMixin, SimpleTestCase):
    def setUp(self):
        self.enterContext(registry.isolate())
        self.calls = []
        consumer("tests.later")(lambda number, **kwargs: self.calls.append(number))

    def send(self, number, delay=0):
        Channel("tests.later").send({"number": number}, delay=delay)

    def test_what_is_not_due_does_not_run(self):
        self.send(1, 60)
        self.send(2)
        self.assertEqual(self.run_consumers(), 1)
        self.assertEqual(self.calls, [2])

    def test_what_is_due_after_some_time_runs_in_its_order(self):
        for number, delay in [(3, 60), (1, 10), (2, 10), (4, 60.5)]:
            self.send(number, delay)
        self.assertEqual(self.run_consumers(after=9), 0)
        # It is 60 seconds after the beginning then.
        self.assertEqual(self.run_consumers(after=timedelta(seconds=51)), 3)
        self.assertEqual(self.calls, [1, 2, 3])
        self.assertEqual(self.run_consumers(after=0.5), 1)

    def test_delays_begin_when_a_message_is_sent(self):
        self.run_consumers(after=100)
        self.send(1, 60)
        self.assertEqual(self.run_consumers(after=59), 0)
        self.assertEqual(self.run_consumers(after=1), 1)

    def test_what_consumers_delay_is_due_after_its_own_time(self):
        @consumer("tests.tick")
        def tick(**kwargs):
            self.calls.append("tick")
            Channel("tests.tick").send({}, delay=60)

        Channel("tests.tick").send({})
        self.assertEqual(self.run_consumers(), 1)
        self.assertEqual(self.run_consumers(after=150), 2)
        self.assertEqual(self.run_consumers(after=30), 1)

    def test_the_time_of_a_consumer_that_fails(self):
        @consumer("tests.fail")
        def fail(**kwargs):
            raise KeyError

        Channel("tests.fail").send({}, delay=10)
        self.send(1, 10)
        self.send(2, 20)
        with (
            self.assertLogs("django.channels.worker", "ERROR"),
            self.assertRaises(KeyError),
        ):
            self.run_consumers(after=60)
        self.assertEqual(self.run_consumers(), 1)
        self.assertEqual(self.run_consumers(after=10), 1)

    def test_delays_are_recorded(self):
        self.send(1)
        self.send(2, timedelta(minutes=1))
        self.assertEqual(
            self.sent_messages,
            [
                (Channel("tests.later"), {"number": 1}, 0),
                (Channel("tests.later"), {"number": 2}, 60),
            ],
        )
        with capture_messages() as sent:
            Channel("tests.later").send({"number": 3}, 5)
            # As what was sent it is not sent anew when it is due.
            self.run_consumers(after=60)
        self.assertEqual([message.delay for message in sent], [5])

    def test_assertions(self):
        self.send(1, 60)
        self.send(2, 30)
        found = self.assertMessageSent("tests.later", delay=timedelta(seconds=30))
        self.assertEqual(found, {"number": 2})
        self.assertMessageSent("tests.later", count=2)
        self.assertMessageSent("tests.later", count=0, delay=0)
        sentence = (
            "No message was sent to 'tests.later' with {'number': 1} and the delay "
            "30. What was sent:\n"
            "    <Channel: 'tests.later'>: {'number': 1}, delayed by 60 s\n"
            "    <Channel: 'tests.later'>: {'number': 2}, delayed by 30 s"
        )
        with self.assertRaisesMessage(AssertionError, sentence):
            self.assertMessageSent("tests.later", {"number": 1}, delay=30)

    def test_invalid_delays_are_refused(self):
        with self.assertRaises(InvalidDelay):
            self.send(1, -1)
        with self.assertRaises(InvalidDelay):
            Channel("tests.inbox!1").send({}, delay=1)
        self.assertEqual(self.sent_messages, [])

    @override_settings(CHANNELS=WITHOUT)
    def test_backends_without_delays_refuse_them(self):
        with self.assertRaisesMessage(InvalidDelay, "WithoutDelays, which cannot"):
            self.send(1, 1)

    def test_nothing_lies_in_the_store_until_it_is_due(self):
        self.send(1, 60)
        self.assertEqual(channels["default"].queues(), {})


@override_settings(CHANNELS=layer())
class CommitTests(ChannelsTestMixin, TestCase):
    def test_delay_after_the_commit(self):
        with self.captureOnCommitCallbacks(execute=True):
            Channel("tests.later").send_on_commit({"number": 1}, delay=60)
            self.assertNoMessageSent()
        self.assertMessageSent("tests.later", {"number": 1}, delay=60)


@override_settings(CHANNELS={"default": {"BACKEND": MEMORY}})
class LiveServerTests(SimpleTestCase):
    def test_threads_run_again_for_what_is_not_due_yet(self):
        self.enterContext(registry.isolate())
        self.addCleanup(background.stop)
        calls = []
        consumer("tests.later")(lambda number, **kwargs: calls.append(number))
        Channel("tests.later").send({"number": 1}, delay=0.2)
        background.stop()
        LiveInterface("localhost", None).start_consumers()
        wait_until(lambda: calls)
