"""Delayed messages: what holds on any layer, and what is the memory backend's own."""

import os
import threading
import time
from datetime import timedelta
from unittest import mock, skipUnless

from django.channels import Channel, Group, InvalidDelay, channels, consumer
from django.channels.backends.base import BaseChannelBackend
from django.channels.backends.contract import PATIENCE, run_threads
from django.channels.backends.memory import MemoryBackend
from django.channels.background import background
from django.channels.delays import LOOK_INTERVAL, Looks, clean_delay
from django.channels.envelopes import Seen
from django.channels.registry import registry
from django.db import transaction
from django.test import SimpleTestCase, TransactionTestCase, override_settings

from .layers import layer, without_threads
from .utils import MEMORY, run_in_fork, wait_until


class Clock:
    """Takes the place of the module time."""

    def __init__(self):
        self.now = 1000

    def monotonic(self):
        return self.now


class CleanTests(SimpleTestCase):
    def test_seconds_and_timedeltas(self):
        for delay, seconds in [
            (0, 0),
            (2, 2),
            (0.5, 0.5),
            (timedelta(minutes=1, milliseconds=500), 60.5),
            (timedelta(days=30), 2_592_000),
        ]:
            with self.subTest(delay=delay):
                self.assertEqual(clean_delay(delay, "tests.one"), seconds)

    def test_no_time(self):
        sentence = "A delay must be a number of seconds or a timedelta, not str."
        with self.assertRaisesMessage(InvalidDelay, sentence):
            clean_delay("5", "tests.one")

    def test_beyond_the_limits(self):
        sentence = (
            "A delay must be from 0 to 2592000 seconds (30 days), not "
            "datetime.timedelta(days=31)."
        )
        with self.assertRaisesMessage(InvalidDelay, sentence):
            clean_delay(timedelta(days=31), "tests.one")

    def test_is_a_value_error(self):
        with self.assertRaises(ValueError):
            clean_delay(-1, "tests.one")


class LooksTests(SimpleTestCase):
    def setUp(self):
        self.clock = self.enterContext(
            mock.patch("django.channels.delays.time", Clock())
        )
        self.looks = Looks()

    def test_once_in_an_interval(self):
        self.assertIs(self.looks.take(1), True)
        self.assertIs(self.looks.take(1), False)
        self.clock.now += LOOK_INTERVAL
        self.assertIs(self.looks.take(1), True)

    def test_always_if_the_receiver_does_not_wait(self):
        for _ in range(2):
            self.assertIs(self.looks.take(0), True)

    def test_receivers_wait_until_the_next_look(self):
        self.assertEqual(self.looks.limit(5), 0)
        self.looks.take(1)
        self.assertEqual(self.looks.limit(5), LOOK_INTERVAL)
        self.assertEqual(self.looks.limit(0.25), 0.25)

    def test_earlier_if_something_is_due_earlier(self):
        self.looks.take(1)
        for seconds in (0.5, 0.25, 0.75):
            self.looks.note(seconds)
        self.assertEqual(self.looks.limit(5), 0.25)
        self.clock.now += 0.25
        self.assertIs(self.looks.take(1), True)


class SeenTests(SimpleTestCase):
    def test_an_envelope_that_came_too_early_is_remembered_to_its_deadline(self):
        clock = self.enterContext(mock.patch("django.channels.envelopes.time", Clock()))
        seen = Seen(60)
        self.assertIs(seen.add("early", 300), True)
        self.assertIs(seen.add("in time", 60), True)
        for number in range(4):
            clock.now += 62
            seen.add(f"other {number}", 60)
            self.assertIs(seen.add("early", 300), False)
        self.assertIs(seen.add("in time", 60), True)
        clock.now += 62
        seen.add("last", 60)
        self.assertEqual(seen._lasting, {})

    def test_an_envelope_of_a_sender_with_a_fast_clock_is_remembered_like_others(self):
        clock = self.enterContext(mock.patch("django.channels.envelopes.time", Clock()))
        seen = Seen(60)
        self.assertIs(seen.add("first", 60), True)
        clock.now += 61
        self.assertIs(seen.add("fast", 60 + 1.5), True)
        self.assertEqual(seen._lasting, {})
        clock.now += 61
        self.assertIs(seen.add("fast", 0.5), False)


class WithoutSupportTests(SimpleTestCase):
    def test_says_that_it_cannot(self):
        class Backend(BaseChannelBackend):
            def push(self, channel, packed):
                self.pushed = packed

        backend = Backend("default", {})
        sentence = "The backend 'default' is a Backend, which cannot delay messages."
        with self.assertRaisesMessage(InvalidDelay, sentence):
            backend.send("tests.one", {"key": 1}, 1)
        backend.send("tests.one", {"key": 1}, 0)
        self.assertEqual(backend.pushed, '{"key":1}')

    def test_says_what_is_missing(self):
        backend = BaseChannelBackend("default", {})
        with self.assertRaisesMessage(NotImplementedError, "push_delayed()"):
            backend.push_delayed("tests.one", "{}", 1)


@override_settings(CHANNELS=layer())
class ChannelTests(SimpleTestCase):
    def setUp(self):
        self.enterContext(without_threads)
        self.backend = channels["default"]
        self.backend.flush()
        self.addCleanup(self.backend.flush)

    def test_delay(self):
        for delay in (0.2, timedelta(seconds=0.2)):
            with self.subTest(delay=delay):
                begun = time.monotonic()
                Channel("tests.later").send({"key": 1}, delay)
                received = self.backend.receive(["tests.later"], PATIENCE)
                self.assertEqual(received, ("tests.later", {"key": 1}))
                self.assertGreaterEqual(time.monotonic() - begun, 0.2)

    def test_invalid_delay(self):
        with self.assertRaisesMessage(InvalidDelay, "not NoneType"):
            Channel("tests.later").send({}, delay=None)
        with self.assertRaisesMessage(InvalidDelay, "cannot be delayed, as"):
            Channel("tests.inbox!1").send({}, delay=1)
        self.assertEqual(self.backend.queues(), {})

    def test_groups_have_no_delay(self):
        with self.assertRaises(TypeError):
            Group("tests").send({}, delay=1)


@override_settings(CHANNELS=layer())
class SendOnCommitTests(TransactionTestCase):
    available_apps = ["channels"]

    def setUp(self):
        self.enterContext(without_threads)
        self.backend = channels["default"]
        self.backend.flush()
        self.addCleanup(self.backend.flush)

    def test_the_delay_begins_with_the_commit(self):
        with transaction.atomic():
            Channel("tests.later").send_on_commit({"key": 1}, delay=0.2)
            time.sleep(0.1)
            self.assertEqual(self.backend.queues(), {})
            begun = time.monotonic()
        received = self.backend.receive(["tests.later"], PATIENCE)
        self.assertEqual(received, ("tests.later", {"key": 1}))
        self.assertGreaterEqual(time.monotonic() - begun, 0.2)

    def test_refuses_an_invalid_delay_at_once(self):
        with self.assertRaises(InvalidDelay), transaction.atomic():
            Channel("tests.later").send_on_commit({}, delay=-1)

    def test_refuses_at_once_what_the_backend_cannot_do(self):
        without = mock.patch.object(type(self.backend), "supports_delay", False)
        sentence = "which cannot delay messages."
        with transaction.atomic(), without:
            with self.assertRaisesMessage(InvalidDelay, sentence):
                Channel("tests.later").send_on_commit({}, delay=1)


@override_settings(CHANNELS={"default": {"BACKEND": MEMORY}})
class MemoryTests(SimpleTestCase):
    def test_the_thread_of_the_process_runs_a_delayed_message(self):
        background.stop()
        self.addCleanup(background.stop)
        self.enterContext(registry.isolate())
        calls = []
        consumer("tests.later")(lambda number, **kwargs: calls.append(number))
        Channel("tests.later").send({"number": 2}, delay=0.3)
        Channel("tests.later").send({"number": 1})
        wait_until(lambda: len(calls) == 2)
        self.assertEqual(calls, [1, 2])

    def test_due_messages_go_ahead_of_what_is_sent_after_that(self):
        backend = MemoryBackend("default", {})
        backend.send("later", {"number": 1}, 0.05)
        time.sleep(0.1)
        backend.send("later", {"number": 2})
        received = [backend.receive(["later"])[1]["number"] for _ in range(2)]
        self.assertEqual(received, [1, 2])

    def test_receivers_that_waited_leave_nothing_behind(self):
        backend = MemoryBackend("default", {})
        received = []
        run_threads(
            *[lambda: received.append(backend.receive(["one", "two"], PATIENCE))] * 2,
            lambda: backend.receive(["three"], 0.01),
            lambda: backend.send("one", {"number": 1}, 0.1),
            lambda: backend.send("two", {"number": 2}, 0.2),
        )
        self.assertCountEqual(
            received, [("one", {"number": 1}), ("two", {"number": 2})]
        )
        self.assertEqual((backend._receivers, backend._delayed), ({}, {}))

    def test_an_earlier_message_wakes_those_who_wait_for_a_later_one(self):
        backend = MemoryBackend("default", {})
        backend.send("later", {"number": 2}, 60)
        received = []
        waiting = threading.Thread(
            target=lambda: received.append(backend.receive(["later"], PATIENCE)),
            daemon=True,
        )
        waiting.start()
        wait_until(lambda: backend._receivers)
        backend.send("later", {"number": 1}, 0.05)
        waiting.join(PATIENCE)
        self.assertEqual(received, [("later", {"number": 1})])

    def test_what_expires_unread_is_swept_by_what_others_send(self):
        backend = MemoryBackend("default", {"EXPIRY": 0.1})
        backend.send("unread", {}, 0.05)
        time.sleep(0.3)
        backend.send("other", {})
        self.assertEqual((list(backend._queues), backend._delayed), (["other"], {}))
        self.assertEqual(backend.drops["expired"], 1)

    @skipUnless(hasattr(os, "fork"), "Needs os.fork().")
    def test_a_fork_starts_without_them(self):
        backend = MemoryBackend("default", {})
        backend.send("later", {}, 60)
        self.assertEqual(run_in_fork(backend.queues), {})
        self.assertEqual(backend.queues()["later"].delayed, 1)
