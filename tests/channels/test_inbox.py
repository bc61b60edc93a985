import os
import threading
from unittest import mock, skipUnless

from django.channels.backends.contract import PATIENCE
from django.channels.backends.memory import MemoryBackend
from django.channels.exceptions import BackendUnavailable
from django.channels.inbox import Inbox, thread_inbox
from django.test import SimpleTestCase

from .utils import run_in_fork


class InboxTests(SimpleTestCase):
    def setUp(self):
        self.backend = MemoryBackend("default", {})
        self.inbox = Inbox(self.backend, "tests.answers")

    def test_channels_are_of_one_queue(self):
        first, second = self.inbox.open(), self.inbox.open()
        self.assertNotEqual(first, second)
        for channel in [first, second]:
            self.assertRegex(channel, r"^tests\.answers\.[0-9a-f]{16}!\d+$")
            self.backend.send(channel, {})
        self.assertEqual(self.backend.depths(), {self.inbox.name: 2})

    def test_receive(self):
        channel = self.inbox.open()
        self.backend.send(channel, {"number": 1})
        self.backend.send(channel, {"number": 2})
        self.assertEqual(self.inbox.receive(channel, 0), {"number": 1})
        self.assertEqual(self.inbox.receive(channel, 0), {"number": 2})
        self.assertIsNone(self.inbox.receive(channel, 0.01))

    def test_a_store_that_is_away_is_waited_for(self):
        channel = self.inbox.open()
        receive = self.inbox.memberships.receive
        away = BackendUnavailable("It is away.")
        with mock.patch.object(self.inbox.memberships, "receive") as received:
            received.side_effect = [away, away, None, (channel, {"number": 1})]
            message = self.inbox.receive(channel, PATIENCE)
        self.assertEqual(message, {"number": 1})
        self.assertEqual(self.inbox.memberships.receive, receive)

    def test_a_store_that_does_not_come_back(self):
        channel = self.inbox.open()
        away = BackendUnavailable("It is away.")
        with (
            mock.patch.object(self.inbox.memberships, "receive", side_effect=away),
            self.assertRaisesMessage(BackendUnavailable, "It is away."),
        ):
            self.inbox.receive(channel, 0.01)

    def test_receive_keeps_messages_of_other_open_channels(self):
        first, second = self.inbox.open(), self.inbox.open()
        self.backend.send(first, {"number": 1})
        self.backend.send(second, {"number": 2})
        self.assertEqual(self.inbox.receive(second, 0), {"number": 2})
        self.assertEqual(self.inbox.receive(first, 0), {"number": 1})

    def test_messages_of_closed_channels_are_dropped(self):
        closed, channel = self.inbox.open(), self.inbox.open()
        self.inbox.close(closed)
        self.backend.send(closed, {"number": 1})
        self.backend.send(channel, {"number": 2})
        with self.assertLogs("django.channels.inbox", "WARNING") as logs:
            self.assertEqual(self.inbox.receive(channel, 0), {"number": 2})
        self.assertIn(closed, logs.output[0])
        self.assertEqual(self.backend.depths(), {})

    def test_who_sends_a_late_response_is_told(self):
        closed, channel, waiting = (self.inbox.open() for _ in range(3))
        self.inbox.close(closed)
        head = {"content": "", "more": True, "credit_channel": "tests.sender!1"}
        for name in [closed, waiting]:
            self.backend.send(name, head)
        with self.assertLogs("django.channels.inbox", "WARNING"):
            self.assertIsNone(self.inbox.receive(channel, 0))
        self.inbox.close(waiting)
        for _ in range(2):
            received = self.backend.receive(["tests.sender!"])
            self.assertEqual(received, ("tests.sender!1", {"closed": True}))

    def test_late_credit_is_dropped_in_silence(self):
        closed, channel = self.inbox.open(), self.inbox.open()
        self.inbox.close(closed)
        for message in [{"read": 1}, {"closed": True}]:
            self.backend.send(closed, message)
        with self.assertNoLogs("django.channels.inbox", "WARNING"):
            self.assertIsNone(self.inbox.receive(channel, 0))
        self.assertEqual(self.backend.depths(), {})

    def test_each_thread_and_backend_has_an_inbox(self):
        inbox = thread_inbox(self.backend, "tests.answers")
        self.assertIs(thread_inbox(self.backend, "tests.answers"), inbox)
        others = []
        thread = threading.Thread(
            target=lambda: others.append(thread_inbox(self.backend, "tests.answers"))
        )
        thread.start()
        thread.join()
        others.append(thread_inbox(MemoryBackend("default", {}), "tests.answers"))
        self.assertEqual(len({inbox.name, *(other.name for other in others)}), 3)

    @skipUnless(hasattr(os, "fork"), "Needs os.fork().")
    def test_a_fork_has_an_inbox_of_its_own(self):
        inbox = thread_inbox(self.backend, "tests.answers")
        name = run_in_fork(lambda: thread_inbox(self.backend, "tests.answers").name)
        self.assertRegex(name, r"^tests\.answers\.[0-9a-f]{16}!$")
        self.assertNotEqual(name, inbox.name)
