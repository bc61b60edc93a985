import threading
import time
from contextlib import contextmanager
from unittest import mock

from django.channels import BackendUnavailable, consumer, signals
from django.channels.backends.contract import PATIENCE, run_threads
from django.channels.backends.memory import MemoryBackend
from django.channels.health import PING_CHANNEL
from django.channels.outages import Outage
from django.channels.pacing import Allowance, Pace
from django.channels.registry import Consumer, registry
from django.channels.worker import Worker, run_consumer
from django.db import OperationalError
from django.test import SimpleTestCase, override_settings

from .utils import wait_until

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

    def test_goes_on_after_a_failure_of_the_log_that_ends_threads(self):
        @consumer("tests.one")
        def fails(number, **kwargs):
            self.calls.append(number)
            raise KeyError

        for number in range(2):
            self.backend.send("tests.one", {"number": number})
        error = mock.patch(
            "django.channels.worker.logger.error", side_effect=SystemExit
        )
        with error, mock.patch("django.channels.worker.traceback.print_exc"):
            self.run_worker()
        self.assertEqual(self.calls, [0, 1])

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

    def test_a_connection_that_cannot_be_closed_costs_no_message(self):
        consumer("tests.one")(lambda **kwargs: self.calls.append("consumer"))
        self.backend.send("tests.one", {})
        close = "django.channels.worker.close_old_connections"
        with (
            mock.patch(close, side_effect=[OperationalError, None]),
            self.assertLogs("django.channels.worker", "ERROR"),
        ):
            Worker(self.backend).run_one(0)
        self.assertEqual(self.calls, ["consumer"])

    def test_keyboard_interrupt_in_another_thread_is_a_failure(self):
        @consumer("tests.one")
        def interrupt(number, **kwargs):
            self.calls.append(number)
            raise KeyboardInterrupt

        for number in range(2):
            self.backend.send("tests.one", {"number": number})
        with self.assertLogs(LOGGER, "ERROR") as logs:
            self.run_worker()
        self.assertEqual((self.calls, len(logs.output)), ([0, 1], 2))

    def test_keyboard_interrupt_ends_the_worker(self):
        def interrupt(**kwargs):
            raise KeyboardInterrupt

        consumer("tests.one")(interrupt)
        self.backend.send("tests.one", {})
        worker = Worker(self.backend)
        with self.assertRaises(KeyboardInterrupt):
            worker.run_one(0)


class RunningWorkerTests(SimpleTestCase):
    """Workers in threads, which are told to stop."""

    def setUp(self):
        self.enterContext(registry.isolate())
        self.backend = MemoryBackend("default", {})
        self.calls = []

    def start(self, *args, **kwargs):
        """Return a worker that runs, and its thread."""
        worker = Worker(self.backend, *args, **kwargs)
        thread = threading.Thread(target=worker.run, daemon=True)
        thread.start()
        self.addCleanup(thread.join, PATIENCE)
        self.addCleanup(worker.stop)
        return worker, thread

    def assertEnds(self, thread):
        thread.join(PATIENCE)
        self.assertFalse(thread.is_alive())

    @contextmanager
    def hold(self, channel):
        """Let the consumer of `channel` wait for the end of the context."""
        begun, release = threading.Event(), threading.Event()

        @consumer(channel)
        def wait(number, **kwargs):
            begun.set()
            release.wait(PATIENCE)
            self.calls.append(number)

        try:
            yield begun
        finally:
            release.set()

    def test_without_draining_it_finishes_the_message_in_hand_and_takes_no_other(self):
        with self.hold("tests.one") as begun:
            for number in range(3):
                self.backend.send("tests.one", {"number": number})
            worker, thread = self.start(drain=False)
            self.assertTrue(begun.wait(PATIENCE))
            worker.stop()
        self.assertEnds(thread)
        self.assertEqual(self.calls, [0])
        self.assertEqual(self.backend.depths(), {"tests.one": 2})

    def test_stops_after_the_message_in_hand_if_only_the_flag_is_set(self):
        with self.hold("tests.one") as begun:
            for number in range(3):
                self.backend.send("tests.one", {"number": number})
            worker, thread = self.start(drain=False)
            self.assertTrue(begun.wait(PATIENCE))
            worker.stopping = True
        self.assertEnds(thread)
        self.assertEqual(self.calls, [0])

    def test_leaves_nothing_in_its_inbox(self):
        with self.hold("tests.one") as begun:
            self.backend.send("tests.one", {"number": 1})
            worker, thread = self.start(drain=False)
            self.assertTrue(begun.wait(PATIENCE))
            for _ in range(3):
                worker.stop()
        self.assertEnds(thread)
        worker.stop()
        self.assertEqual(self.backend.depths(), {})

    def test_gives_back_what_its_thread_holds(self):
        released = []

        def release():
            released.append(threading.current_thread())

        with mock.patch.object(self.backend, "release", release):
            worker, thread = self.start()
            worker.stop()
            self.assertEnds(thread)
        self.assertEqual(released, [thread])

    def test_serves_the_chosen_channels_only(self):
        remember = consumer("tests.one", "tests.two", "other.one")
        remember(lambda channel, **kwargs: self.calls.append(channel))
        for name in ["tests.one", "tests.two", "other.one"]:
            self.backend.send(name, {})
        worker, thread = self.start(lambda name: name.startswith("tests."))
        worker.stop()
        self.assertEnds(thread)
        self.assertCountEqual(self.calls, ["tests.one", "tests.two"])
        self.assertEqual(self.backend.depths(), {"other.one": 1})

    def test_serves_the_channel_of_health_checks_always(self):
        worker = Worker(self.backend, lambda name: False)
        self.assertEqual(worker._listen_on(), [PING_CHANNEL, worker.inbox.name])

    def test_workers_share_an_allowance_and_use_it_up_exactly(self):
        consumer("tests.one")(lambda number, **kwargs: self.calls.append(number))
        allowance = Allowance(5)
        threads = [self.start(allowance=allowance)[1] for _ in range(3)]
        for number in range(8):
            self.backend.send("tests.one", {"number": number})
        for thread in threads:
            self.assertEnds(thread)
        self.assertEqual(sorted(self.calls), list(range(5)))
        self.assertEqual(self.backend.depths(), {"tests.one": 3})

    def test_being_woken_uses_up_no_allowance(self):
        consumer("tests.one")(lambda number, **kwargs: self.calls.append(number))
        worker, thread = self.start(allowance=Allowance(1))
        for _ in range(3):
            worker.wake()
        wait_until(lambda: not self.backend.depths())
        self.backend.send("tests.one", {"number": 1})
        self.assertEnds(thread)
        self.assertEqual(self.calls, [1])

    def test_counts_what_became_of_messages(self):
        @consumer("tests.one")
        def fails(number, **kwargs):
            self.calls.append(worker.current[0])
            if number:
                raise KeyError

        worker = Worker(self.backend)
        for number in range(3):
            self.backend.send("tests.one", {"number": number})
        with self.assertLogs(LOGGER, "ERROR"):
            for _ in range(3):
                worker.run_one(0)
            worker.run_message("tests.nobody", {})
        self.assertEqual(worker.counts, {"handled": 1, "failed": 2, "no consumer": 1})
        self.assertEqual(self.calls, ["tests.one"] * 3)
        self.assertIsNone(worker.current)


class FailingStore:
    """Receives as `backend` does, but raises what `failure` is set to."""

    def __init__(self, backend, failure=None):
        self.receive_from_backend = backend.receive
        self.failure = failure
        self.tries = 0

    def receive(self, channels, timeout=0):
        self.tries += 1
        if self.failure is not None:
            raise self.failure
        return self.receive_from_backend(channels, min(timeout, 0.01))


class OutageTests(SimpleTestCase):
    """A store that is away, and comes back."""

    def setUp(self):
        self.enterContext(registry.isolate())
        self.backend = MemoryBackend("default", {})
        self.store = FailingStore(self.backend, BackendUnavailable("No route."))
        self.enterContext(
            mock.patch.object(self.backend, "receive", self.store.receive)
        )
        self.outage = Outage(self.backend)

    def start(self):
        worker = Worker(self.backend, outage=self.outage)
        worker.backoff.most = 0.02
        thread = threading.Thread(target=worker.run, daemon=True)
        thread.start()
        self.addCleanup(thread.join, PATIENCE)
        self.addCleanup(worker.stop)
        return worker, thread

    def test_is_told_once_for_all_workers_and_once_when_it_is_over(self):
        done = threading.Event()
        consumer("tests.one")(lambda **kwargs: done.set())
        with self.assertLogs(LOGGER, "WARNING") as logs:
            for _ in range(3):
                self.start()
            wait_until(lambda: self.store.tries > 20)
            self.assertTrue(self.outage.is_on)
            self.store.failure = None
            wait_until(lambda: not self.outage.is_on)
            wait_until(lambda: len(logs.output) == 2)
            self.backend.send("tests.one", {})
            self.assertTrue(done.wait(PATIENCE))
        away, back = logs.records
        self.assertEqual(
            away.getMessage(),
            "Nothing can be received from the channel backend 'default', memory: No "
            "route. Trying again until it answers.",
        )
        self.assertIsNone(away.exc_info)
        self.assertIn("'default' answers again, after", back.getMessage())

    def test_a_failure_that_is_a_fault_in_the_code_has_its_traceback(self):
        self.store.failure = ValueError("Not a message.")
        with self.assertLogs(LOGGER, "ERROR") as logs:
            worker = Worker(self.backend)
            worker.backoff.most = 0.01
            for _ in range(3):
                worker.try_one(0)
        self.assertEqual(len(logs.output), 1)
        self.assertIn("ValueError: Not a message.", logs.output[0])

    def test_the_failure_of_one_worker_is_not_over_when_another_receives(self):
        with self.assertLogs(LOGGER, "WARNING") as logs:
            self.outage.note_failure("first", OSError())
            self.outage.note_success("second")
            self.outage.note_failure("first", OSError())
            self.assertEqual(len(logs.output), 1)
            self.outage.note_success("first")
        self.assertEqual(len(logs.output), 2)

    def test_its_end_is_told_once_if_two_workers_receive_at_the_same_time(self):
        class SlowSet(set):
            def __len__(self):
                time.sleep(0.1)
                return super().__len__()

        self.outage._failing = SlowSet()
        with self.assertLogs(LOGGER, "WARNING") as logs:
            for number in range(2):
                self.outage.note_failure(number, OSError())
            run_threads(
                lambda: self.outage.note_success(0),
                lambda: self.outage.note_success(1),
            )
        self.assertEqual(len(logs.output), 2)

    def test_does_not_keep_a_worker_from_ending(self):
        with self.assertLogs(LOGGER, "ERROR"):
            worker, thread = self.start()
            wait_until(lambda: self.outage.is_on)
            worker.backoff.most = worker.backoff._next = 10 * PATIENCE
            tries = self.store.tries
            wait_until(lambda: self.store.tries > tries)
            worker.stop()
            thread.join(PATIENCE)
        self.assertFalse(thread.is_alive())

    def test_waits_longer_after_each_failure_but_at_most_two_seconds(self):
        worker = Worker(self.backend)
        waits = []
        worker._woken = mock.Mock(wait=waits.append)
        with self.assertLogs(LOGGER, "ERROR"):
            for _ in range(12):
                worker.try_one(0)
        self.assertEqual(len(waits), 12)
        self.assertLess(waits[0], 0.06)
        self.assertGreater(waits[-1], 0.9)
        self.assertLessEqual(max(waits), 2)


class SignalTests(SimpleTestCase):
    def setUp(self):
        self.enterContext(registry.isolate())
        self.backend = MemoryBackend("default", {})
        self.sent = []

    def connect(self, *names):
        for name in names:
            signal = getattr(signals, name)

            def receive(name=name, signal=None, **arguments):
                self.sent.append((name, arguments))

            signal.connect(receive)
            self.addCleanup(signal.disconnect, receive)

    def test_consumer_that_returns(self):
        consumer("tests.one")(lambda **kwargs: self.sent.append("consumer"))
        self.connect("consumer_started", "consumer_finished", "consumer_failed")
        run_consumer(self.backend, "tests.one", {"key": 1})
        (_, started), _, (_, finished) = self.sent
        self.assertGreater(finished.pop("duration"), 0)
        about = {
            "sender": Consumer,
            "consumer": registry.get("tests.one"),
            "channel": "tests.one",
            "message": {"key": 1},
            "message_id": started["message_id"],
        }
        self.assertEqual(
            self.sent,
            [("consumer_started", about), "consumer", ("consumer_finished", about)],
        )

    def test_consumer_that_fails(self):
        error = SystemExit()

        def fail(**kwargs):
            raise error

        consumer("tests.one")(fail)
        self.connect("consumer_started", "consumer_finished", "consumer_failed")
        with self.assertLogs(LOGGER, "ERROR"):
            run_consumer(self.backend, "tests.one", {})
        self.assertEqual(
            [name for name, _ in self.sent],
            ["consumer_started", "consumer_failed", "consumer_finished"],
        )
        self.assertIs(self.sent[1][1]["exception"], error)

    def test_receiver_that_fails_does_not_keep_the_consumer_from_running(self):
        def fail(**kwargs):
            raise KeyError

        signals.consumer_started.connect(fail)
        self.addCleanup(signals.consumer_started.disconnect, fail)
        consumer("tests.one")(lambda **kwargs: self.sent.append("consumer"))
        with self.assertLogs("django.dispatch", "ERROR"):
            outcome = run_consumer(self.backend, "tests.one", {})
        self.assertEqual((self.sent, outcome), (["consumer"], "handled"))

    def test_nothing_is_sent_without_receivers(self):
        consumer("tests.one")(lambda **kwargs: None)
        with mock.patch("django.dispatch.Signal.send_robust") as send:
            run_consumer(self.backend, "tests.one", {})
        send.assert_not_called()

    def test_worker(self):
        self.connect("worker_started", "worker_stopped")
        worker = Worker(self.backend)
        worker.stop()
        thread = threading.Thread(target=worker.run, daemon=True)
        thread.start()
        thread.join(PATIENCE)
        about = {"sender": Worker, "worker": worker}
        self.assertEqual(
            self.sent, [("worker_started", about), ("worker_stopped", about)]
        )


class AcknowledgementTests(SimpleTestCase):
    """Of messages whose sender waits until the consumer is done with them."""

    def setUp(self):
        self.enterContext(registry.isolate())
        self.backend = MemoryBackend("default", {"OPTIONS": {"THREADS": 0}})
        self.seen = []

    def run_message(self, **message):
        message = {"send_channel": "socket!1", "acknowledge": 7} | message
        self.backend.send("test.messages", message)
        Worker(self.backend).run_one(0)
        return self.backend.receive(["socket!"])

    def test_comes_when_the_consumer_is_done(self):
        @consumer("test.messages")
        def consume(**message):
            self.seen.append((message, self.backend.depths()))

        self.assertEqual(self.run_message(), ("socket!1", {"acknowledged": 7}))
        seen = {"send_channel": "socket!1", "channel": "test.messages"}
        self.assertEqual(self.seen, [(seen, {})])

    def test_comes_after_what_the_consumer_sends(self):
        @consumer("test.messages")
        def consume(send_channel, **message):
            self.backend.send(send_channel, {"content": "first"})

        self.assertEqual(self.run_message(), ("socket!1", {"content": "first"}))
        received = self.backend.receive(["socket!"])
        self.assertEqual(received, ("socket!1", {"acknowledged": 7}))

    def test_comes_also_if_the_consumer_fails(self):
        @consumer("test.messages")
        def consume(**message):
            raise SystemExit

        with self.assertLogs(LOGGER, "ERROR"):
            received = self.run_message()
        answer = {"acknowledged": 7, "failed": True}
        self.assertEqual(received, ("socket!1", answer))

    def test_cannot_be_sent_to_what_is_no_channel(self):
        @consumer("test.messages")
        def consume(**message):
            self.seen.append(message)

        with self.assertLogs(LOGGER, "WARNING"):
            self.assertIsNone(self.run_message(send_channel=7))
        self.assertEqual(len(self.seen), 1)


class PaceTests(SimpleTestCase):
    def test_takes_one_message_until_it_knows_better(self):
        self.assertEqual(Pace().batch(), 1)

    def test_takes_several_if_consumers_are_quick(self):
        pace = Pace()
        for _ in range(100):
            pace.note(Pace.seconds / 5)
        self.assertIn(pace.batch(), (4, 5))
        for _ in range(100):
            pace.note(0)
        self.assertEqual(pace.batch(), Pace.most)

    def test_one_slow_consumer_is_enough_to_take_one_again(self):
        pace = Pace()
        for _ in range(100):
            pace.note(0)
        pace.note(1)
        self.assertEqual(pace.batch(), 1)
