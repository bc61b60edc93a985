from unittest import mock

from django.channels import (
    Channel,
    ChannelFull,
    InvalidChannelBackend,
    InvalidChannelName,
    InvalidMessage,
    channels,
)
from django.db import transaction
from django.test import SimpleTestCase, TransactionTestCase, override_settings

from .layers import layer, without_threads


@override_settings(CHANNELS=layer("default", "other", CAPACITY=2))
class ChannelTests(SimpleTestCase):
    def setUp(self):
        self.enterContext(without_threads)
        for backend in channels.all():
            backend.flush()

    def test_send(self):
        Channel("tests.inbox!1").send({"key": 1})
        received = channels["default"].receive(["tests.inbox!"])
        self.assertEqual(received, ("tests.inbox!1", {"key": 1}))

    def test_send_to_another_backend(self):
        Channel("tests.inbox!1", backend="other").send({"key": 1})
        self.assertEqual(channels["default"].depths(), {})
        self.assertEqual(channels["other"].depths(), {"tests.inbox!": 1})

    def test_invalid_name(self):
        with self.assertRaisesMessage(InvalidChannelName, "'a b' is not a valid name"):
            Channel("a b")

    def test_invalid_message(self):
        with self.assertRaisesMessage(InvalidMessage, "'key' is of the type bytes"):
            Channel("tests.inbox!1").send({"key": b"bytes"})

    def test_full(self):
        channel = Channel("tests.inbox!1")
        for _ in range(2):
            channel.send({})
        with self.assertRaises(ChannelFull):
            channel.send({})

    def test_unknown_backend(self):
        with self.assertRaisesMessage(InvalidChannelBackend, "CHANNELS['missing']"):
            Channel("tests.inbox!1", backend="missing").send({})

    def test_equality(self):
        self.assertEqual(Channel("a"), Channel("a"))
        self.assertNotEqual(Channel("a"), Channel("b"))
        self.assertNotEqual(Channel("a"), Channel("a", backend="other"))
        self.assertEqual(Channel("a"), mock.ANY)
        self.assertEqual(len({Channel("a"), Channel("a")}), 1)

    def test_view_with_a_timeout_that_is_none(self):
        for timeout in [0, -1]:
            with self.assertRaisesMessage(ValueError, "must be above 0, not"):
                Channel("a").as_view(timeout=timeout)

    def test_repr(self):
        self.assertEqual(repr(Channel("a.b")), "<Channel: 'a.b'>")


@override_settings(CHANNELS=layer())
class SendOnCommitTests(TransactionTestCase):
    available_apps = ["channels"]

    def setUp(self):
        self.enterContext(without_threads)
        channels["default"].flush()

    def depth(self):
        return channels["default"].depths().get("tests.inbox!", 0)

    def test_sends_when_the_transaction_is_committed(self):
        with transaction.atomic():
            Channel("tests.inbox!1").send_on_commit({"key": 1})
            self.assertEqual(self.depth(), 0)
        self.assertEqual(self.depth(), 1)

    def test_does_not_send_when_it_is_rolled_back(self):
        with self.assertRaises(KeyError), transaction.atomic():
            Channel("tests.inbox!1").send_on_commit({"key": 1})
            raise KeyError
        self.assertEqual(self.depth(), 0)

    def test_sends_at_once_outside_of_a_transaction(self):
        Channel("tests.inbox!1").send_on_commit({"key": 1})
        self.assertEqual(self.depth(), 1)

    def test_sends_what_the_message_was(self):
        message = {"key": 1}
        with transaction.atomic():
            Channel("tests.inbox!1").send_on_commit(message)
            message["key"] = 2
        received = channels["default"].receive(["tests.inbox!"])
        self.assertEqual(received, ("tests.inbox!1", {"key": 1}))

    def test_refuses_an_invalid_message_at_once(self):
        with self.assertRaises(InvalidMessage), transaction.atomic():
            Channel("tests.inbox!1").send_on_commit({"key": object()})
