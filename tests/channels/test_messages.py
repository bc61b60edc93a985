import base64
import enum
from unittest import skipUnless

from django.channels.exceptions import InvalidChannelName, InvalidMessage
from django.channels.messages import (
    check_queue_name,
    clean_message,
    decode_bytes,
    decode_message,
    encode_bytes,
    encode_message,
    queue_name,
)
from django.test import SimpleTestCase
from django.utils.datastructures import MultiValueDict
from django.utils.safestring import mark_safe

from .utils import in_ci, run_script

try:
    import pybase64
except ImportError:
    pybase64 = None


class Text(str, enum.Enum):
    VALUE = "value"


class Number(enum.IntEnum):
    ONE = 1


class CleanMessageTests(SimpleTestCase):
    def test_subclasses_become_plain_types(self):
        message = {
            Text.VALUE: Text.VALUE,
            "safe": mark_safe("<p>"),
            "number": Number.ONE,
            "dict": MultiValueDict({"key": ["value"]}),
        }
        cleaned = clean_message(message)
        self.assertEqual(
            cleaned,
            {"value": "value", "safe": "<p>", "number": 1, "dict": {"key": "value"}},
        )
        for key in cleaned:
            self.assertIs(type(key), str)
        types = [type(value) for value in cleaned.values()]
        self.assertEqual(types, [str, str, int, dict])

    def test_bytes_name_the_way_out(self):
        with self.assertRaisesMessage(
            InvalidMessage,
            "The value of 'data' is of the type bytes, so the message cannot be sent. "
            "Send bytes as base64 text, see django.channels.messages.encode_bytes().",
        ):
            clean_message({"data": b""})

    def test_other_types_name_the_way_out(self):
        with self.assertRaisesMessage(
            InvalidMessage,
            "The value of 'a.b[1].c' is of the type object, so the message cannot be "
            "sent. Send a string, a number, a boolean, None, a list or a dict instead.",
        ):
            clean_message({"a": {"b": [0, {"c": object()}]}})


class CodecTests(SimpleTestCase):
    def test_text_is_compact_ascii(self):
        text = encode_message({"a": [1, None, True], "b": "é"})
        self.assertEqual(text, '{"a":[1,null,true],"b":"\\u00e9"}')

    def test_round_trip(self):
        message = {"a": [1, None, True, 0.5, "\udc80"], "b": {"c": {}}}
        self.assertEqual(decode_message(encode_message(message)), message)

    def test_text_that_is_no_message(self):
        deep = '{"a":' * 40 + "1" + "}" * 40
        numbers = ['{"a": NaN}', '{"a": 1e999}', '{"a": 18446744073709551616}']
        for text in ["", "{", "[]", "1", *numbers, deep, "[" * 100_000, b"\xff"]:
            with self.subTest(text=text[:10]), self.assertRaises(InvalidMessage):
                decode_message(text)

    def test_bytes(self):
        for data in [b"", b"\x00\xff", bytes(range(256))]:
            with self.subTest(data=data):
                self.assertEqual(decode_bytes(encode_bytes(data)), data)

    def test_text_that_is_not_base64(self):
        for text in ["a", "a b=", "é", None, 1, ["YQ=="]]:
            with (
                self.subTest(text=text),
                self.assertRaisesMessage(InvalidMessage, "'body' is not base64 text"),
            ):
                decode_bytes(text, "body")


@skipUnless(pybase64 is not None or in_ci(), "Needs pybase64.")
class FastCodecTests(SimpleTestCase):
    """With pybase64 and without it the same texts are taken for base64."""

    def decode(self, function, text):
        try:
            return function(text, validate=True)
        except (TypeError, ValueError) as exc:
            return type(exc).__name__

    def test_same(self):
        for text in ["", "YQ==", "YQ", "Y", "YQ=", "YQ===", "Y Q=", "YQ==YQ==", "-_8="]:
            with self.subTest(text=text):
                self.assertEqual(
                    self.decode(pybase64.b64decode, text),
                    self.decode(base64.b64decode, text),
                )
        data = bytes(range(256))
        self.assertEqual(
            pybase64.b64encode_as_string(data), base64.b64encode(data).decode()
        )


class NameTests(SimpleTestCase):
    def test_queue_name(self):
        self.assertEqual(queue_name("a.b"), "a.b")
        self.assertEqual(queue_name("a.b!7"), "a.b!")

    def test_a_channel_of_an_inbox_is_not_received_by_itself(self):
        with self.assertRaisesMessage(
            InvalidChannelName, "'a!7' cannot be received from by itself: receive from"
        ):
            check_queue_name("a!7")


WITHOUT_PYBASE64 = """
import sys
sys.modules["pybase64"] = None
from django.channels.messages import InvalidMessage, decode_bytes, encode_bytes

print(encode_bytes(b"\\0\\xff" * 3), decode_bytes("AP8="))
try:
    decode_bytes("no base64", "bytes")
except InvalidMessage as exc:
    print(exc)
"""


class WithoutPybase64Tests(SimpleTestCase):
    def test_bytes_are_encoded_alike(self):
        result = run_script(WITHOUT_PYBASE64)
        self.assertEqual(result.stderr, "")
        self.assertEqual(
            result.stdout.splitlines(),
            ["AP8A/wD/ b'\\x00\\xff'", "The value of 'bytes' is not base64 text."],
        )
