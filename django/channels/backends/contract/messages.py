"""Tests of which messages and names are accepted."""

import datetime
import decimal
import uuid

from django.channels.backends.contract.tools import receive_all
from django.channels.exceptions import InvalidChannelName, InvalidMessage
from django.utils.translation import gettext_lazy


class MessageTests:
    """Promises 7 and 8: the same messages and names everywhere, and copies."""

    def test_accepts_json_values(self):
        backend = self.create_backend()
        for value in [
            None,
            True,
            0,
            -(2**63),
            2**64 - 1,
            0.1,
            1e300,
            "",
            "a\x00\n\u2028é\U0001f600",
            "\udc80",
            [],
            {},
            [1, [2, {"deep": [None, "text"]}]],
            {"": 1, "with space": 2},
            "x" * 2**20,
        ]:
            with self.subTest(value=repr(value)[:40]):
                backend.send("values", {"value": value})
                _, message = backend.receive(["values"])
                self.assertEqual(message, {"value": value})
                self.assertIs(type(message["value"]), type(value))

    def test_turns_tuples_into_lists(self):
        backend = self.create_backend()
        backend.send("values", {"value": (1, (2, 3))})
        self.assertEqual(backend.receive(["values"])[1], {"value": [1, [2, 3]]})

    def test_refuses_what_is_not_json(self):
        backend = self.create_backend()
        for value in [
            b"bytes",
            {1, 2},
            object(),
            datetime.datetime(2015, 6, 1),
            decimal.Decimal("1.5"),
            uuid.UUID(int=0),
            gettext_lazy("lazy"),
            float("nan"),
            float("inf"),
            2**64,
            -(2**63) - 1,
        ]:
            with (
                self.subTest(value=repr(value)[:40]),
                self.assertRaisesMessage(InvalidMessage, "'outer.list[1]'"),
            ):
                backend.send("values", {"outer": {"list": [0, value]}})
        self.assertEqual(backend.depths(), {})

    def test_refuses_keys_that_are_not_strings(self):
        backend = self.create_backend()
        for message in [{1: 2}, {"outer": {None: 1}}]:
            with self.subTest(message=message), self.assertRaises(InvalidMessage):
                backend.send("values", message)

    def test_refuses_reserved_keys(self):
        backend = self.create_backend()
        with self.assertRaisesMessage(InvalidMessage, "'channel' is reserved"):
            backend.send("values", {"channel": "other"})

    def test_refuses_what_is_not_a_dict(self):
        backend = self.create_backend()
        for message in [None, "text", ["list"], 1]:
            with self.subTest(message=message), self.assertRaises(InvalidMessage):
                backend.send("values", message)

    def test_refuses_endless_and_deep_messages(self):
        backend = self.create_backend()
        endless = {}
        endless["self"] = endless
        deep = value = {}
        for _ in range(5000):
            value["deep"] = value = {}
        for message in [endless, deep]:
            with self.assertRaisesMessage(InvalidMessage, "nested more than"):
                backend.send("values", message)

    def test_what_is_received_is_a_copy(self):
        backend = self.create_backend()
        message = {"list": [1]}
        backend.send("copies", message)
        message["list"].append(2)
        message["new"] = True
        self.assertEqual(backend.receive(["copies"])[1], {"list": [1]})

    def test_accepts_valid_names(self):
        backend = self.create_backend()
        for name in ["a", "a-b_c.D.9", "x" * 200]:
            with self.subTest(name=name):
                backend.send(name, {})
                self.assertEqual(backend.receive([name]), (name, {}))

    def test_refuses_invalid_names(self):
        backend = self.create_backend()
        names = [
            "",
            "a b",
            "é",
            "a/b",
            "a!b!c",
            "!b",
            "a!",
            "x" * 201,
            "a\n",
            b"a",
            None,
        ]
        for name in names:
            with self.subTest(name=name), self.assertRaises(InvalidChannelName):
                backend.send(name, {})

    def test_refuses_to_receive_from_a_name_that_is_in_no_list(self):
        backend = self.create_backend()
        with self.assertRaisesMessage(TypeError, "receive() needs a list of names"):
            backend.receive("abc")

    def test_refuses_to_receive_from_invalid_names(self):
        backend = self.create_backend()
        for name in ["", "a b", "a!b", None]:
            with self.subTest(name=name), self.assertRaises(InvalidChannelName):
                backend.receive([name])

    def test_an_inbox_receives_for_all_its_channels(self):
        backend = self.create_backend()
        backend.send("inbox!1", {"number": 1})
        backend.send("inbox!2", {"number": 2})
        backend.send("inbox!1", {"number": 3})
        backend.send("inbox", {"number": 4})
        self.assertEqual(
            receive_all(backend, ["inbox!"]),
            [
                ("inbox!1", {"number": 1}),
                ("inbox!2", {"number": 2}),
                ("inbox!1", {"number": 3}),
            ],
        )
        self.assertEqual(backend.receive(["inbox"]), ("inbox", {"number": 4}))
