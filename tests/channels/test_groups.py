import time
from unittest import mock

from django.channels import Channel, Group, channels
from django.channels.exceptions import (
    BackendUnavailable,
    InvalidChannelName,
    InvalidMessage,
)
from django.channels.inbox import Inbox
from django.test import SimpleTestCase, override_settings

from .utils import MEMORY


@override_settings(CHANNELS={"default": {"BACKEND": MEMORY, "EXPIRY": 30}})
class GroupTests(SimpleTestCase):
    def setUp(self):
        self.backend = channels["default"]
        self.backend.flush()
        self.inbox = Inbox(self.backend, "test.client")
        self.channel = self.inbox.open()

    def test_is_a_set_of_channels(self):
        group = Group("chat")
        other = self.inbox.open()
        self.assertFalse(group)
        group.add(self.channel)
        group.add(self.channel)
        group.add(other)
        self.assertEqual(sorted(group), sorted([self.channel, other]))
        self.assertEqual(len(group), 2)
        self.assertIn(other, group)
        group.remove(other)
        group.remove(other)
        self.assertNotIn(other, group)

    def test_names_it_and_its_backend(self):
        self.assertEqual(Group("chat"), Group("chat"))
        self.assertNotEqual(Group("chat"), Group("chat", backend="other"))
        self.assertEqual(repr(Group("chat")), "<Group: 'chat'>")

    def test_members_hear_what_is_sent(self):
        group, other = Group("chat"), self.inbox.open()
        group.add(self.channel)
        group.add(other)
        group.send({"content": "hello"})
        self.assertEqual(self.backend.depths(), {self.inbox.name: 3})
        for name in [self.channel, other]:
            self.assertEqual(self.inbox.receive(name, 0), {"content": "hello"})
            self.assertIsNone(self.inbox.receive(name, 0))

    def test_members_may_be_changed_while_they_are_iterated(self):
        group, other = Group("chat"), self.inbox.open()
        group.add(self.channel)
        group.add(other)
        for member in group:
            Channel(member).send({"content": "hello"})
            group.remove(member)
        self.assertEqual(len(group), 0)

    def test_who_left_hears_nothing(self):
        group = Group("chat")
        group.add(self.channel)
        group.remove(self.channel)
        group.send({"content": "hello"})
        self.assertIsNone(self.inbox.receive(self.channel, 0))

    def test_a_closed_channel_leaves(self):
        group, other = Group("chat"), self.inbox.open()
        group.add(self.channel)
        group.add(other)
        self.assertIsNone(self.inbox.receive(other, 0))
        self.inbox.close(self.channel)
        self.assertEqual(list(group), [other])
        self.inbox.close(other)
        self.assertEqual(list(group), [])

    def test_a_channel_that_is_closed_already_does_not_stay(self):
        group, other = Group("chat"), self.inbox.open()
        self.inbox.close(self.channel)
        group.add(self.channel)
        self.assertIsNone(self.inbox.receive(other, 0))
        self.assertEqual(list(group), [])

    @override_settings(CHANNELS={"default": {"BACKEND": MEMORY, "EXPIRY": 0.3}})
    def test_a_waiting_client_stays_longer_than_expiry(self):
        inbox = Inbox(channels["default"], "test.client")
        channel = inbox.open()
        Group("chat").add(channel)
        self.assertIsNone(inbox.receive(channel, 1))
        self.assertEqual(list(Group("chat")), [channel])
        time.sleep(0.4)
        self.assertEqual(list(Group("chat")), [])

    def test_refuses_a_channel_that_is_no_clients(self):
        with self.assertRaisesMessage(InvalidChannelName, "'myapp.new' cannot be in"):
            Group("chat").add("myapp.new")
        with self.assertRaises(InvalidChannelName):
            Group("chat").add("no name")

    def test_refuses_invalid_names(self):
        for name in ["", "a b", "a!b", "*", None]:
            with self.subTest(name=name), self.assertRaises(InvalidChannelName):
                Group(name)

    def test_refuses_what_is_no_message(self):
        with self.assertRaisesMessage(InvalidMessage, "'key'"):
            Group("chat").send({"key": object()})

    def test_an_application_cannot_send_to_the_address_of_a_group(self):
        with self.assertRaises(InvalidChannelName):
            Channel(f"{self.inbox.name}*chat")

    def test_closing_does_not_need_the_store(self):
        Group("chat").add(self.channel)
        self.assertIsNone(self.inbox.receive(self.inbox.open(), 0))
        with mock.patch.object(self.backend, "leave", side_effect=BackendUnavailable):
            self.inbox.close(self.channel)
