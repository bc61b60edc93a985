import time
from unittest import mock

from django.channels import Channel, Group, channels
from django.channels.exceptions import (
    BackendUnavailable,
    ChannelFull,
    InvalidChannelName,
    InvalidMessage,
)
from django.channels.inbox import Inbox
from django.test import SimpleTestCase, override_settings

from .layers import layer


@override_settings(CHANNELS=layer(EXPIRY=30))
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
        self.assertNotEqual(Group("chat"), "chat")
        self.assertEqual(len({Group("chat"), Group("chat"), Group("other")}), 2)

    def test_members_hear_what_is_sent(self):
        group, other = Group("chat"), self.inbox.open()
        group.add(self.channel)
        group.add(other)
        group.send({"content": "hello"})
        self.assertEqual(self.backend.depths(), {self.inbox.name: 3})
        for name in [self.channel, other]:
            self.assertEqual(self.inbox.receive(name, 0), {"content": "hello"})
            self.assertIsNone(self.inbox.receive(name, 0))

    def test_each_inbox_hears_a_copy(self):
        group, other = Group("chat"), Inbox(self.backend, "test.client")
        channel = other.open()
        group.add(self.channel)
        group.add(channel)
        group.send({"lines": [1]})
        self.inbox.receive(self.channel, 0)["lines"].append(2)
        self.assertEqual(other.receive(channel, 0), {"lines": [1]})

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

    def test_a_channel_that_closes_meanwhile_does_not_stay(self):
        group, other = Group("chat"), self.inbox.open()
        group.add(other)
        self.assertIsNone(self.inbox.receive(other, 0))
        join = self.backend.join

        def close_first(*args):
            self.assertIsNone(self.inbox.receive(other, 0))
            self.inbox.close(self.channel)
            join(*args)

        with mock.patch.object(self.backend, "join", close_first):
            group.add(self.channel)
        self.assertIsNone(self.inbox.receive(other, 0))
        self.assertEqual(list(group), [other])

    def test_who_leaves_and_joins_again_hears_what_is_sent(self):
        group = Group("chat")
        group.add(self.channel)
        group.remove(self.channel)
        group.add(self.channel)
        self.assertIsNone(self.inbox.receive(self.channel, 0))
        self.assertEqual(list(group), [self.channel])
        group.send({"content": "hello"})
        self.assertEqual(self.inbox.receive(self.channel, 0), {"content": "hello"})

    def test_who_cannot_be_told_is_no_member(self):
        group = Group("chat")
        with (
            mock.patch.object(self.backend, "send", side_effect=ChannelFull),
            self.assertRaises(ChannelFull),
        ):
            group.add(self.channel)
        self.assertEqual(list(group), [])

    def test_waiting_does_not_need_a_store_that_takes_members(self):
        group = Group("chat")
        group.add(self.channel)
        self.assertIsNone(self.inbox.receive(self.channel, 0))
        self.inbox.memberships._due = 0
        self.backend.send(self.channel, {"content": "hello"})
        with mock.patch.object(self.backend, "join", side_effect=ChannelFull):
            received = self.inbox.receive(self.channel, 0)
        self.assertEqual(received, {"content": "hello"})

    @override_settings(CHANNELS=layer(EXPIRY=0.3))
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
