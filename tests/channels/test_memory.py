import os
import time
from unittest import mock, skipUnless

from django.channels.backends.contract import PATIENCE, ChannelBackendTests, run_threads
from django.channels.backends.memory import MemoryBackend
from django.channels.exceptions import InvalidChannelBackend
from django.test import SimpleTestCase

from .utils import run_in_fork


class MemoryBackendTests(ChannelBackendTests, SimpleTestCase):
    def create_backend(self, **params):
        return MemoryBackend("default", params)


class SerializingMemoryBackendTests(ChannelBackendTests, SimpleTestCase):
    def create_backend(self, **params):
        return MemoryBackend("default", {"OPTIONS": {"SERIALIZE": True}, **params})


class MemoryTests(SimpleTestCase):
    def test_serialize_keeps_json_text(self):
        backend = MemoryBackend("default", {"OPTIONS": {"SERIALIZE": True}})
        backend.send("wire", {"key": ["é"]})
        (entries,) = backend._queues.values()
        self.assertEqual(entries[0][2], '{"key":["\\u00e9"]}')

    def test_waiting_receivers_leave_nothing_behind(self):
        backend = MemoryBackend("default", {})
        run_threads(
            lambda: backend.receive(["one", "two"], timeout=0.01),
            lambda: backend.receive(["three", "four"], PATIENCE),
            lambda: (time.sleep(0.05), backend.send("four", {})),
        )
        self.assertEqual(backend._receivers, {})

    def test_an_interrupted_receiver_takes_no_message(self):
        backend = MemoryBackend("default", {})
        interrupt = mock.patch(
            "django.channels.backends.memory.Receiver.wait",
            side_effect=KeyboardInterrupt,
        )
        with interrupt, self.assertRaises(KeyboardInterrupt):
            backend.receive(["one"], PATIENCE)
        backend.send("one", {"key": 1})
        self.assertEqual(backend.receive(["one"]), ("one", {"key": 1}))

    def test_the_longest_waiting_receiver_is_served_first(self):
        backend = MemoryBackend("default", {})
        received = {}

        def wait(name, delay):
            time.sleep(delay)
            received[name] = backend.receive(["turn"], PATIENCE)[1]["number"]

        def send():
            while len(backend._receivers.get("turn", ())) < 2:
                time.sleep(0.01)
            backend.send("turn", {"number": 1})
            backend.send("turn", {"number": 2})

        run_threads(lambda: wait("first", 0), lambda: wait("second", 0.2), send)
        self.assertEqual(received, {"first": 1, "second": 2})

    def test_sending_sweeps_other_queues(self):
        backend = MemoryBackend("default", {"EXPIRY": 0.1})
        backend.send("unread", {})
        time.sleep(0.2)
        backend.send("other", {})
        self.assertEqual(list(backend._queues), ["other"])

    @skipUnless(hasattr(os, "fork"), "Needs os.fork().")
    def test_a_fork_starts_empty(self):
        backend = MemoryBackend("default", {})
        backend.send("before", {})

        def child():
            depths = [backend.depths()]
            backend.send("after", {})
            return [*depths, backend.depths()]

        # A lock that another thread of the parent holds must not stop the child.
        with backend._lock:
            result = run_in_fork(child)
        self.assertEqual(result, [{}, {"after": 1}])
        self.assertEqual(backend.depths(), {"before": 1})


class OptionTests(SimpleTestCase):
    def test_unknown_key(self):
        msg = "CHANNELS['default'] has the key 'EXPIRES', which MemoryBackend does not"
        with self.assertRaisesMessage(InvalidChannelBackend, msg):
            MemoryBackend("default", {"EXPIRES": 1})

    def test_unknown_option(self):
        msg = "CHANNELS['default']['OPTIONS'] has the key 'THREAD'"
        with self.assertRaisesMessage(InvalidChannelBackend, msg):
            MemoryBackend("default", {"OPTIONS": {"THREAD": 1}})

    def test_values_that_are_no_limits(self):
        for params in [
            {"EXPIRY": 0},
            {"EXPIRY": "60"},
            {"EXPIRY": True},
            {"CAPACITY": -1},
            {"CAPACITY": None},
            {"CAPACITY": 1.5},
            {"OPTIONS": {"THREADS": -1}},
            {"OPTIONS": {"THREADS": "2"}},
            {"OPTIONS": {"THREADS": 0.5}},
            {"OPTIONS": {"STOP_TIMEOUT": -1}},
        ]:
            with self.subTest(params=params):
                key = list(params.get("OPTIONS", params))[0]
                with self.assertRaisesMessage(InvalidChannelBackend, repr(key)):
                    MemoryBackend("default", params)

    def test_defaults(self):
        backend = MemoryBackend("default", {})
        self.assertEqual((backend.expiry, backend.capacity), (60, 10_000))
        self.assertEqual(
            backend.options, {"SERIALIZE": False, "THREADS": 1, "STOP_TIMEOUT": 10}
        )
