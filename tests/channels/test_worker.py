import threading
from unittest import mock

from django.channels import consumer
from django.channels.backends.contract import PATIENCE
from django.channels.backends.memory import MemoryBackend
from django.channels.registry import registry
from django.channels.worker import Worker, run_consumer
from django.test import SimpleTestCase, override_settings

LOGGER = "django.channels.worker"


class RunConsumerTests(SimpleTestCase):
    def setUp(self):
        self.enterContext(registry.isolate())
        self.backend = MemoryBackend("default", {})

    def fail_with(self, exception, message):
        @consumer("tests.fails")
        def fails(**kwargs):
            raise exception

        with self.assertLogs(LOGGER, "ERROR") as logs:
            run_consumer(self.backend, "tests.fails", message)
        return logs.output[0]

    def test_exception_is_logged(self):
        output = self.fail_with(KeyError("cause"), {})
        self.assertIn("fails of 'tests.fails' raised KeyError.", output)
        self.assertIn("Traceback", output)

    def test_exception_is_answered(self):
        self.fail_with(KeyError("cause"), {"response_channel": "answers!1"})
        self.assertEqual(
            self.backend.receive(["answers!"]),
            (
                "answers!1",
                {
                    "status": 500,
                    "content_type": "text/plain",
                    "content": "Server Error (500)",
                },
            ),
        )

    @override_settings(DEBUG=True)
    def test_exception_is_answered_with_its_traceback_in_debug_mode(self):
        self.fail_with(KeyError("cause"), {"response_channel": "answers!1"})
        _, message = self.backend.receive(["answers!"])
        self.assertIn("KeyError: 'cause'", message["content"])

    def test_answer_that_cannot_be_sent_is_logged(self):
        for channel in ["not a name", 7, None]:
            with self.subTest(channel=channel), registry.isolate():
                self.fail_with(KeyError("cause"), {"response_channel": channel})
        self.assertEqual(self.backend.depths(), {})

    def test_message_without_consumer_is_logged(self):
        msg = "A message on 'tests.nobody' was dropped: it has no consumer."
        with self.assertLogs(LOGGER, "ERROR") as logs:
            run_consumer(self.backend, "tests.nobody", {})
        self.assertEqual(logs.records[0].getMessage(), msg)

    def test_consumer_that_refuses_the_keys_is_logged(self):
        @consumer("tests.strict")
        def strict(channel, wanted):
            pass

        with self.assertLogs(LOGGER, "ERROR") as logs:
            run_consumer(self.backend, "tests.strict", {"other": 1})
        self.assertIn("raised TypeError.", logs.output[0])


class WorkerTests(SimpleTestCase):
    def setUp(self):
        self.enterContext(registry.isolate())
        self.backend = MemoryBackend("default", {})
        self.calls = []

    def run_worker(self):
        """Run a worker until all messages are done."""
        worker = Worker(self.backend)
        worker.stop()
        thread = threading.Thread(target=worker.run, daemon=True)
        thread.start()
        thread.join(PATIENCE)
        self.assertFalse(thread.is_alive())

    def test_runs_the_consumers_of_all_channels_in_order(self):
        @consumer("tests.one", "tests.two")
        def remember(channel, number):
            self.calls.append((channel, number))

        for number in range(3):
            self.backend.send("tests.one", {"number": number})
        self.backend.send("tests.two", {"number": 3})
        self.run_worker()
        self.assertCountEqual(
            self.calls, [*(("tests.one", n) for n in range(3)), ("tests.two", 3)]
        )
        ones = [number for channel, number in self.calls if channel == "tests.one"]
        self.assertEqual(ones, [0, 1, 2])

    def test_goes_on_whatever_a_consumer_raises(self):
        raised = [KeyError(), SystemExit(), RecursionError(), MemoryError()]
        raised.append(GeneratorExit())

        @consumer("tests.one")
        def remember(number, **kwargs):
            self.calls.append(number)
            if number < len(raised):
                raise raised[number]

        for number in range(len(raised) + 1):
            message = {"number": number, "response_channel": "answers!1"}
            self.backend.send("tests.one", message)
        with self.assertLogs(LOGGER, "ERROR") as logs:
            self.run_worker()
        self.assertEqual(self.calls, list(range(len(raised) + 1)))
        self.assertEqual(len(logs.output), len(raised))
        self.assertEqual(self.backend.depths(), {"answers!": len(raised)})

    def test_goes_on_after_a_failure_of_the_log(self):
        @consumer("tests.one")
        def fails(number, **kwargs):
            self.calls.append(number)
            raise KeyError

        for number in range(2):
            message = {"number": number, "response_channel": "answers!1"}
            self.backend.send("tests.one", message)
        error = mock.patch("django.channels.worker.logger.error", side_effect=OSError)
        with error, mock.patch("django.channels.worker.traceback.print_exc") as told:
            self.run_worker()
        self.assertEqual(self.calls, [0, 1])
        self.assertEqual(told.call_count, 2)
        self.assertEqual(self.backend.depths(), {"answers!": 2})

    def test_goes_on_after_a_failure_of_the_backend(self):
        consumer("tests.one")(lambda number, **kwargs: self.calls.append(number))
        self.backend.send("tests.one", {"number": 1})
        failures = [OSError("The store is gone."), ValueError("Not a message.")]
        receive = self.backend.receive

        def receive_or_fail(channels, timeout):
            if failures:
                raise failures.pop()
            return receive(channels, timeout)

        worker = Worker(self.backend)
        worker.pause = 0
        with (
            mock.patch.object(self.backend, "receive", receive_or_fail),
            self.assertLogs(LOGGER, "ERROR") as logs,
        ):
            for _ in range(3):
                worker.try_one(0)
        self.assertEqual((self.calls, len(logs.output)), ([1], 2))

    def test_waking_a_worker_with_a_full_inbox(self):
        backend = MemoryBackend("default", {"CAPACITY": 1})
        worker = Worker(backend)
        for _ in range(3):
            worker.wake()
        self.assertEqual(backend.depths(), {worker.inbox.name: 1})

    def test_stops_after_the_messages_that_consumers_send(self):
        @consumer("tests.one")
        def send_on(number, **kwargs):
            self.calls.append(number)
            if number:
                self.backend.send("tests.one", {"number": number - 1})

        self.backend.send("tests.one", {"number": 3})
        self.run_worker()
        self.assertEqual(self.calls, [3, 2, 1, 0])

    def test_a_registered_consumer_is_seen_after_waking(self):
        worker = Worker(self.backend)
        thread = threading.Thread(target=worker.run, daemon=True)
        thread.start()
        self.addCleanup(thread.join, PATIENCE)
        self.addCleanup(worker.stop)
        done = threading.Event()
        consumer("tests.late")(lambda **kwargs: done.set())
        self.backend.send("tests.late", {})
        worker.wake()
        self.assertTrue(done.wait(PATIENCE))

    def test_looks_after_database_connections(self):
        consumer("tests.one")(lambda **kwargs: self.calls.append("consumer"))
        self.backend.send("tests.one", {})
        close = "django.channels.worker.close_old_connections"
        with mock.patch(close, lambda: self.calls.append("close")):
            self.run_worker()
        self.assertEqual(self.calls, ["close", "consumer", "close"])

    def test_keyboard_interrupt_ends_the_worker(self):
        def interrupt(**kwargs):
            raise KeyboardInterrupt

        consumer("tests.one")(interrupt)
        self.backend.send("tests.one", {})
        worker = Worker(self.backend)
        with self.assertRaises(KeyboardInterrupt):
            worker.run_one(0)
