from io import BytesIO

from django.channels.backends.memory import MemoryBackend
from django.channels.bodies import (
    WINDOW,
    BodyReader,
    BodySource,
    open_body,
    receive_body,
)
from django.channels.exceptions import InvalidMessage
from django.channels.messages import encode_bytes
from django.test import RequestFactory, SimpleTestCase


def make_request(body, **environ):
    return RequestFactory().post(
        "/", body, content_type="application/octet-stream", **environ
    )


class BrokenInput:
    """A connection that fails after some bytes."""

    def __init__(self, data):
        self.data = BytesIO(data)

    def read(self, size):
        if data := self.data.read(size):
            return data
        raise OSError("The connection is gone.")

    readline = read


class BodySourceTests(SimpleTestCase):
    def test_chunks(self):
        self.assertEqual(
            list(BodySource(make_request(b"abcde"), 2)),
            [
                {"bytes": encode_bytes(b"ab"), "more": True},
                {"bytes": encode_bytes(b"cd"), "more": True},
                {"bytes": encode_bytes(b"e"), "more": True},
                {"bytes": ""},
            ],
        )

    def test_nothing_is_read_before_it_is_asked_for(self):
        request = make_request(b"abcde")
        source = BodySource(request, 2)
        self.assertIs(request._read_started, False)
        next(source)
        self.assertEqual(request._stream.read(), b"cde")

    def test_connection_that_fails(self):
        request = make_request(b"", **{"wsgi.input": BrokenInput(b"ab")})
        request._stream.limit = 10
        self.assertEqual(
            list(BodySource(request, 2)),
            [
                {"bytes": encode_bytes(b"ab"), "more": True},
                {"error": "The connection is gone."},
            ],
        )


class BodyReaderTests(SimpleTestCase):
    def read(self, *chunks):
        return BodyReader({"bytes": encode_bytes(chunk)} for chunk in chunks).buffered()

    def test_read(self):
        file = self.read(b"abc", b"de", b"f")
        self.assertEqual(
            [file.read(2), file.read(3), file.read()], [b"ab", b"cde", b"f"]
        )
        self.assertEqual(file.read(1), b"")

    def test_lines(self):
        file = self.read(b"one\ntw", b"o\nthree")
        self.assertEqual(list(file), [b"one\n", b"two\n", b"three"])

    def test_error(self):
        file = BodyReader(
            iter([{"bytes": encode_bytes(b"ab"), "more": True}, {"error": "gone"}])
        ).buffered()
        self.assertEqual(file.read(2), b"ab")
        with self.assertRaisesMessage(OSError, "gone"):
            file.read(1)

    def test_nonsense(self):
        for message, msg in [
            ({}, "has no 'bytes'"),
            ({"bytes": 1}, "has no 'bytes'"),
            ({"bytes": "no base64"}, "is not base64 text"),
        ]:
            with (
                self.subTest(message=message),
                self.assertRaisesMessage(InvalidMessage, msg),
            ):
                BodyReader(iter([message])).read(1)


class ReceiveBodyTests(SimpleTestCase):
    def setUp(self):
        self.backend = MemoryBackend("default", {"EXPIRY": 0.1})

    def asked(self):
        """Return for how many chunks the reader has asked since the last time."""
        asked = 0
        while received := self.backend.receive(["tests.answers!"]):
            asked += received[1]["read"]
        return asked

    def test_asks_as_it_reads(self):
        body = receive_body(self.backend, "tests.body", "tests.answers!1")
        self.assertEqual(self.asked(), 0)
        for number in range(2):
            part = {"bytes": encode_bytes(b"%d" % number), "more": True}
            self.backend.send("tests.body", part)
        self.backend.send("tests.body", {"bytes": ""})
        next(body)
        self.assertEqual(self.asked(), WINDOW)
        next(body)
        self.assertEqual(self.asked(), 1)
        self.assertEqual(list(body), [{"bytes": ""}])
        self.assertEqual(self.asked(), 1)
        self.assertEqual(self.backend.depths(), {})

    def test_a_chunk_that_does_not_come_is_an_error(self):
        body = receive_body(self.backend, "tests.body", "tests.answers!1")
        self.assertEqual(list(body), [{"error": "No data came within 0.1 seconds."}])

    def test_open_body(self):
        for message, body in [
            ({}, b""),
            ({"body": encode_bytes(b"inline")}, b"inline"),
            (
                {"body_channel": "tests.body", "response_channel": "tests.answers!1"},
                b"channel",
            ),
        ]:
            with self.subTest(body=body):
                self.backend.send("tests.body", {"bytes": encode_bytes(b"channel")})
                self.assertEqual(open_body(self.backend, message).read(), body)
                self.backend.flush()
