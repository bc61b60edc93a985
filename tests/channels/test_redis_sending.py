"""What a worker sends by Redis without waiting for the outcome."""

import threading
import time
from unittest import mock

from django.channels.backends.contract import PATIENCE
from django.channels.backends.shared import Clock
from django.channels.exceptions import ChannelFull
from django.test import SimpleTestCase

from .test_redis import RedisTestCase

LOGGER = "django.channels.backends"


class HoldingTestCase(RedisTestCase):
    def setUp(self):
        self.backend = self.create_backend(CAPACITY=5)
        self.session = self.backend.shards[0].session
        self.hold()

    def hold(self):
        """Be about to receive, as a worker is that runs a consumer."""
        # Only what the server has done before is held.
        self.backend.reply("tests.first!1", {})
        self.backend.receive(["tests.first!"], PATIENCE)
        self.backend.hold_replies()
        self.assertIs(self.session.is_holding, True)

    def go_on(self):
        """Receive, as a worker does after its consumers."""
        self.assertIsNone(self.backend.receive(["tests.other"]))

    def arrived(self):
        """Return what is in the inbox, once another process asks for it."""
        other = self.create_other()
        received = []
        while (item := other.receive(["tests!"])) is not None:
            received.append((item[0], item[1]["number"]))
        return received

    def create_other(self):
        from django.channels.backends.redis import RedisBackend

        other = RedisBackend("other", {"LOCATION": self.location})
        self.addCleanup(other.close)
        return other

    def commands(self):
        """Return how many scripts the server has run."""
        (info,) = self.session.call(("INFO", "commandstats"))
        for line in info.decode().splitlines():
            if line.startswith("cmdstat_evalsha:calls="):
                return int(line.partition("=")[2].partition(",")[0])


class HoldingTests(HoldingTestCase):
    def test_goes_with_the_next_commands_in_its_order(self):
        with mock.patch.object(self.session._flusher, "watch"):
            for number in range(3):
                self.backend.send(f"tests!{number}", {"number": number})
            self.assertEqual(self.arrived(), [])
            self.go_on()
        sent = [(f"tests!{number}", number) for number in range(3)]
        self.assertEqual(self.arrived(), sent)

    def test_goes_although_its_thread_is_busy(self):
        received = []

        def receive():
            received.append(self.create_other().receive(["tests!"], PATIENCE))

        thread = threading.Thread(target=receive)
        thread.start()
        for number in range(2):
            self.backend.send("tests!1", {"number": number})
            thread.join(PATIENCE)
        self.assertEqual(received, [("tests!1", {"number": 0})])

    def test_messages_for_one_inbox_take_one_command(self):
        with mock.patch.object(self.session._flusher, "watch"):
            before = self.commands()
            self.backend.hold_replies()
            for number in range(4):
                self.backend.reply(f"tests!{number}", {"number": number})
            self.go_on()
            self.assertEqual(self.commands() - before, 1)

    def test_long_messages_keep_their_place(self):
        sizes = [1, 30_000, 5_000, 1, 1]
        for number, size in enumerate(sizes):
            self.backend.send("tests!1", {"number": number, "text": "x" * size})
        self.go_on()
        sent = [("tests!1", number) for number in range(len(sizes))]
        self.assertEqual(self.arrived(), sent)

    def test_the_next_send_tells_that_there_was_no_room(self):
        for number in range(7):
            self.backend.send("tests!1", {"number": number})
        with self.assertLogs(LOGGER, "WARNING") as logs:
            self.go_on()
        self.assertEqual(len(logs.output), 2)
        self.backend.send("tests.else!1", {})
        with self.assertRaisesMessage(ChannelFull, "'tests!' holds 5 unread messages"):
            self.backend.send("tests!1", {"number": 7})
        self.assertEqual([number for _, number in self.arrived()], [0, 1, 2, 3, 4])

    def test_a_consumer_is_not_told_of_another_one(self):
        for number in range(6):
            self.backend.send("tests!1", {"number": number})
        with self.assertLogs(LOGGER, "WARNING"):
            self.go_on()
        self.arrived()
        self.backend.hold_replies()
        self.backend.send("tests!1", {"number": 7})
        self.go_on()
        self.assertEqual(self.arrived(), [("tests!1", 7)])

    def test_channels_outside_of_inboxes_are_not_held(self):
        for _ in range(5):
            self.backend.send("tests.jobs", {})
        with self.assertRaises(ChannelFull):
            self.backend.send("tests.jobs", {})

    def test_parts_that_others_build_on_are_not_held(self):
        for key in ("more", "join", "leave"):
            with self.subTest(key=key):
                self.backend.hold_replies()
                for _ in range(5):
                    self.backend.send("tests!1", {key: "x"})
                with self.assertRaises(ChannelFull):
                    self.backend.send("tests!1", {key: "x"})
                self.backend.flush()

    def test_no_part_comes_after_one_that_had_no_room(self):
        for number in range(6):
            self.backend.send("tests!1", {"number": number})
        with self.assertLogs(LOGGER, "WARNING"), self.assertRaises(ChannelFull):
            # The first of them had no room, which is known by the second.
            self.backend.send("tests!1", {"number": 6, "more": True})
            self.backend.send("tests!1", {"number": 7, "more": True})

    def test_other_threads_do_not_overtake(self):
        with mock.patch.object(self.session._flusher, "watch"):
            self.backend.send("tests!1", {"number": 1})
            send = self.backend.send
            thread = threading.Thread(target=send, args=("tests!1", {"number": 2}))
            thread.start()
            thread.join()
        self.assertEqual([number for _, number in self.arrived()], [1, 2])

    def test_what_was_refused_for_its_deadline_does_not_come_late(self):
        """Messages that are sealed one after another, with pauses between them."""
        texts = [self.backend.pack({"n": n, "x": "x" * 10_000}) for n in range(4)]
        push_command = self.backend.push_command

        def seal_slowly(*args, **kwargs):
            command = push_command(*args, **kwargs)
            time.sleep(0.03)
            return command

        # As well as it can be known.
        self.backend.shards[0].read_clock()
        with mock.patch.object(self.backend, "push_command", seal_slowly):
            outcomes = self.backend.push_many([("tests.body", t) for t in texts])
        self.assertEqual(outcomes, [None] * 4)
        received = [self.backend.receive(["tests.body"])[1]["n"] for _ in range(4)]
        self.assertEqual(received, [0, 1, 2, 3])

    def test_a_fault_of_one_session_does_not_end_the_thread_for_all(self):
        with (
            mock.patch.object(self.session, "flush_since", side_effect=KeyError),
            self.assertLogs(LOGGER, "ERROR"),
        ):
            self.backend.send("tests.else!1", {"number": 1})
            self.session._flusher._flush()
        self.test_goes_although_its_thread_is_busy()

    def test_what_was_sent_first_arrives_before_what_is_asked_later(self):
        self.backend.send("tests!1", {"number": 1})
        self.backend.join("tests.group", "tests!", ["tests!1"])
        self.assertEqual(self.arrived(), [("tests!1", 1)])

    def test_a_lost_connection_is_told(self):
        self.backend.send("tests!1", {"number": 1})
        with mock.patch.object(
            self.session._connection, "send_packed_command", side_effect=OSError
        ):
            with self.assertLogs(LOGGER, "WARNING") as logs:
                self.session.confirm()
        self.assertIn("A message on 'tests!1' was lost", logs.output[0])
        self.assertEqual(self.arrived(), [])

    def test_nothing_is_held_before_the_server_has_proven_to_know_how(self):
        backend = self.create_other()
        backend.hold_replies()
        backend.send("tests!1", {"number": 1})
        self.assertIs(backend.shards[0].session.is_holding, False)
        self.assertEqual(self.arrived(), [("tests!1", 1)])

    def test_the_first_part_of_many_has_room(self):
        messages = [("tests.jobs", self.backend.pack({"n": n})) for n in range(8)]
        outcomes = self.backend.push_many(messages)
        self.assertEqual(outcomes[:5], [None] * 5)
        self.assertEqual([type(error) for error in outcomes[5:]], [ChannelFull] * 3)
        received = [self.backend.receive(["tests.jobs"])[1]["n"] for _ in range(5)]
        self.assertEqual(received, [0, 1, 2, 3, 4])


class ClockTests(SimpleTestCase):
    def test_what_was_told_some_time_ago_shows_only_a_slow_clock(self):
        clock = Clock()
        clock.note(1000)
        self.assertIs(clock.is_set(), False)
        clock.set(1000)
        for told, least in [(900, 1000), (1100, 1100)]:
            with self.subTest(told=told):
                clock.note(told)
                self.assertGreaterEqual(clock.now(), least)
                self.assertLess(clock.now(), least + PATIENCE)
