import os
import threading
from unittest import mock, skipUnless

from django.channels import Channel, channels, consumer
from django.channels.backends.contract import PATIENCE
from django.channels.background import background
from django.channels.registry import registry
from django.test import SimpleTestCase, override_settings

from .utils import MEMORY, run_in_fork, run_script, wait_until

LOGGER = "django.channels.worker"

# A process that sends, and ends.
SCRIPT = """
import time

from django.conf import settings

settings.configure(DEBUG=True, CHANNELS={"default": {"BACKEND": "%s", "OPTIONS": {%s}}})

import django
from django.channels import Channel, consumer

django.setup()

@consumer("tests.work")
def work(number, **kwargs):
    time.sleep(%s)
    print("done", number, flush=True)

for number in range(3):
    Channel("tests.work").send({"number": number})
"""


def worker_threads():
    prefix = "django-channels-default-"
    return [
        thread for thread in threading.enumerate() if thread.name.startswith(prefix)
    ]


class BackgroundTests(SimpleTestCase):
    def setUp(self):
        background.stop()
        self.addCleanup(background.stop)
        self.enterContext(registry.isolate())
        self.calls = []

    def record(self, name):
        @consumer(name)
        def remember(**message):
            self.calls.append(message)

    def test_the_first_message_starts_a_thread(self):
        self.record("tests.one")
        self.assertEqual(worker_threads(), [])
        Channel("tests.one").send({"key": 1})
        wait_until(lambda: self.calls)
        self.assertEqual(self.calls, [{"key": 1, "channel": "tests.one"}])
        self.assertEqual(len(worker_threads()), 1)

    def test_messages_keep_their_order(self):
        self.record("tests.one")
        for number in range(50):
            Channel("tests.one").send({"number": number})
        background.stop()
        self.assertEqual([call["number"] for call in self.calls], list(range(50)))

    def test_stop_ends_the_threads_after_their_messages(self):
        self.record("tests.one")
        for number in range(50):
            Channel("tests.one").send({"number": number})
        background.stop()
        self.assertEqual(len(self.calls), 50)
        self.assertEqual(worker_threads(), [])

    def test_threads_that_are_dead_are_replaced(self):
        self.record("tests.one")
        with mock.patch("django.channels.background.Worker.run"):
            Channel("tests.one").send({"number": 1})
            wait_until(lambda: not worker_threads())
        Channel("tests.one").send({"number": 2})
        wait_until(lambda: len(self.calls) == 2)

    def test_a_message_after_stop_starts_them_again(self):
        self.record("tests.one")
        for _ in range(2):
            Channel("tests.one").send({})
            background.stop()
        self.assertEqual(len(self.calls), 2)

    def test_a_message_that_is_sent_during_stop_is_run(self):
        stopping = threading.Event()

        @consumer("tests.slow")
        def slow(**message):
            stopping.wait(PATIENCE)
            Channel("tests.one").send({"from": "consumer"})

        self.record("tests.one")
        Channel("tests.slow").send({})
        wait_until(lambda: not channels["default"].depths())
        (running,) = background._running.values()
        thread = threading.Thread(target=background.stop)
        thread.start()
        wait_until(lambda: running.stopping)
        Channel("tests.one").send({"from": "outside"})
        stopping.set()
        thread.join(PATIENCE)
        wait_until(lambda: len(self.calls) == 2)

    def test_a_consumer_that_is_registered_later_is_run(self):
        self.record("tests.one")
        Channel("tests.one").send({})
        wait_until(lambda: self.calls)
        self.record("tests.two")
        Channel("tests.two").send({"key": 2})
        wait_until(lambda: len(self.calls) == 2)
        self.assertEqual(len(worker_threads()), 1)

    @override_settings(
        CHANNELS={"default": {"BACKEND": MEMORY, "OPTIONS": {"THREADS": 3}}}
    )
    def test_threads_run_consumers_side_by_side(self):
        together = threading.Barrier(3)

        @consumer("tests.meet")
        def meet(**kwargs):
            together.wait(PATIENCE)
            self.calls.append("met")

        for _ in range(3):
            Channel("tests.meet").send({})
        background.stop()
        self.assertEqual(self.calls, ["met"] * 3)

    @override_settings(
        CHANNELS={"default": {"BACKEND": MEMORY, "OPTIONS": {"THREADS": 0}}}
    )
    def test_without_threads_messages_wait(self):
        self.record("tests.one")
        Channel("tests.one").send({"key": 1})
        self.assertEqual(worker_threads(), [])
        received = channels["default"].receive(["tests.one"])
        self.assertEqual(received, ("tests.one", {"key": 1}))

    @override_settings(
        CHANNELS={"default": {"BACKEND": MEMORY, "OPTIONS": {"STOP_TIMEOUT": 0.05}}}
    )
    def test_a_consumer_that_does_not_end_is_given_up(self):
        release = threading.Event()
        self.addCleanup(release.set)
        consumer("tests.endless")(lambda **kwargs: release.wait(PATIENCE))
        for _ in range(2):
            Channel("tests.endless").send({})
        wait_until(lambda: channels["default"].depths() == {"tests.endless": 1})
        with self.assertLogs(LOGGER, "WARNING") as logs:
            background.stop()
        self.assertIn("still running after STOP_TIMEOUT", logs.output[0])

    def test_a_message_that_nobody_consumes_is_warned_of_once(self):
        background._without_consumer.clear()
        with self.assertLogs(LOGGER, "WARNING") as logs:
            for _ in range(2):
                Channel("tests.nobody").send({})
        self.assertEqual(len(logs.output), 1)
        self.assertIn("'tests.nobody', which has no consumer", logs.output[0])
        channels["default"].flush()

    def test_an_answer_starts_no_thread(self):
        with self.assertNoLogs(LOGGER):
            Channel("tests.inbox!1").send({})
        self.assertEqual(worker_threads(), [])
        channels["default"].flush()

    @skipUnless(hasattr(os, "fork"), "Needs os.fork().")
    def test_a_fork_starts_threads_of_its_own(self):
        self.record("tests.one")
        Channel("tests.one").send({"number": 1})
        wait_until(lambda: self.calls)

        def child():
            Channel("tests.one").send({"number": 2})
            background.stop()
            return [call["number"] for call in self.calls]

        self.assertEqual(run_in_fork(child), [1, 2])
        self.assertEqual(len(self.calls), 1)


class ProcessEndTests(SimpleTestCase):
    def test_a_process_ends_after_its_messages(self):
        result = run_script(SCRIPT % (MEMORY, "", 0.05))
        self.assertEqual(result.stdout, "done 0\ndone 1\ndone 2\n")
        self.assertEqual((result.returncode, result.stderr), (0, ""))

    def test_a_process_ends_after_its_coroutine_functions(self):
        source = SCRIPT.replace("def work", "async def work")
        result = run_script(source % (MEMORY, "", 0.05))
        self.assertEqual(result.stdout, "done 0\ndone 1\ndone 2\n")
        self.assertEqual((result.returncode, result.stderr), (0, ""))

    def test_a_process_does_not_wait_for_an_endless_consumer(self):
        result = run_script(SCRIPT % (MEMORY, "'STOP_TIMEOUT': 0.1", 10 * PATIENCE))
        self.assertEqual((result.returncode, result.stdout), (0, ""))
        self.assertIn("with 2 messages unread", result.stderr)
