from unittest import mock

from django.channels.interfaces.http.errors import InvalidResponse
from django.channels.interfaces.http.heads import parse_head
from django.channels.interfaces.http.writing import (
    CONTINUE,
    ResponseWriter,
    response_head,
    simple_response,
)
from django.test import SimpleTestCase


@mock.patch("django.channels.interfaces.http.writing.time", lambda: 0.5)
class ResponseTests(SimpleTestCase):
    date = b"Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n"

    def write(self, *parts, status=200, headers=(), length=None, **kwargs):
        writer = ResponseWriter(**kwargs)
        data = writer.head(status, None, headers, length)
        for part in parts:
            data += writer.body(part)
        return data + writer.end(), writer

    def assertWritten(self, expected, *args, **kwargs):
        data, writer = self.write(*args, **kwargs)
        self.assertEqual(data, expected)
        return writer

    def test_known_length(self):
        writer = self.assertWritten(
            b"HTTP/1.1 200 OK\r\nX-A: b\r\n" + self.date + b"Content-Length: 5\r\n\r\n"
            b"Hello",
            b"Hello",
            headers=[("X-A", "b")],
            length=5,
        )
        self.assertIs(writer.keep_alive, True)
        self.assertEqual((writer.left, writer.excess), (0, 0))

    def test_chunks(self):
        writer = self.assertWritten(
            b"HTTP/1.1 200 OK\r\n" + self.date + b"Transfer-Encoding: chunked\r\n\r\n"
            b"5\r\nHello\r\nc\r\n world world\r\n0\r\n\r\n",
            b"Hello",
            b"",
            b" world world",
        )
        self.assertIs(writer.keep_alive, True)

    def test_unknown_length_for_an_old_client(self):
        writer = self.assertWritten(
            b"HTTP/1.1 200 OK\r\n" + self.date + b"Connection: close\r\n\r\nHello",
            b"Hello",
            version="1.0",
            keep_alive=True,
        )
        self.assertIs(writer.keep_alive, False)

    def test_known_length_for_an_old_client(self):
        for keep_alive, connection in [(True, b"keep-alive"), (False, b"close")]:
            self.assertWritten(
                b"HTTP/1.1 200 OK\r\n" + self.date + b"Connection: " + connection + b""
                b"\r\nContent-Length: 1\r\n\r\na",
                b"a",
                length=1,
                version="1.0",
                keep_alive=keep_alive,
            )

    def test_length_of_the_application_comes_first(self):
        data, writer = self.write(b"Hello", headers=[("content-length", "3")], length=5)
        self.assertEqual(data.count(b"Content-Length: 3\r\n"), 1)
        self.assertTrue(data.endswith(b"\r\n\r\nHel"))
        self.assertEqual((writer.left, writer.excess), (0, 2))
        self.assertIs(writer.keep_alive, True)

    def test_body_that_is_too_short(self):
        _, writer = self.write(b"Hello", headers=[("Content-Length", "9")])
        self.assertIs(writer.keep_alive, False)
        self.assertEqual(writer.left, 4)

    def test_head(self):
        for headers, length, expected in [
            ([], 5, b"Content-Length: 5\r\n"),
            ([("Content-Length", "7")], 0, b"Content-Length: 7\r\n"),
            ([("Content-Length", "0")], 0, b""),
            ([], None, b""),
        ]:
            with self.subTest(headers=headers, length=length):
                writer = self.assertWritten(
                    b"HTTP/1.1 200 OK\r\n" + self.date + expected + b"\r\n",
                    b"Hello",
                    headers=headers,
                    length=length,
                    method="HEAD",
                )
                self.assertIs(writer.keep_alive, True)

    def test_statuses_without_body(self):
        for status, reason in [(204, b"No Content"), (304, b"Not Modified")]:
            for method in ("GET", "HEAD"):
                for headers in ([], [("Content-Length", "5")]):
                    writer = self.assertWritten(
                        b"HTTP/1.1 %d %b\r\n" % (status, reason) + self.date + b"\r\n",
                        b"Hello",
                        status=status,
                        headers=headers,
                        method=method,
                    )
                    self.assertIs(writer.keep_alive, True)

    def test_hop_by_hop_headers_are_left_out(self):
        headers = [("Transfer-Encoding", "gzip"), ("Keep-Alive", "5"), ("te", "a")]
        headers += [("Upgrade", "a"), ("Trailer", "b"), ("Connection", "keep-alive")]
        writer = self.assertWritten(
            b"HTTP/1.1 200 OK\r\n" + self.date + b"Content-Length: 0\r\n\r\n",
            headers=headers,
            length=0,
        )
        self.assertIs(writer.keep_alive, True)

    def test_application_closes(self):
        writer = self.assertWritten(
            b"HTTP/1.1 200 OK\r\n" + self.date + b"Connection: close\r\n"
            b"Content-Length: 0\r\n\r\n",
            headers=[("connection", "Close")],
            length=0,
        )
        self.assertIs(writer.keep_alive, False)

    def test_date_and_server(self):
        self.assertIn(b"Server: me\r\n", self.write(server="me")[0])
        headers = [("date", "today"), ("SERVER", "you")]
        data, _ = self.write(headers=headers, server="me", length=0)
        self.assertEqual(
            data,
            b"HTTP/1.1 200 OK\r\ndate: today\r\nSERVER: you\r\nContent-Length: 0\r\n"
            b"\r\n",
        )

    def test_date_moves_on(self):
        for now, expected in [(59.9, b"00:00:59"), (60.0, b"00:01:00")]:
            with mock.patch(
                "django.channels.interfaces.http.writing.time", lambda: now
            ):
                self.assertIn(expected, self.write()[0])

    def test_for_request(self):
        head = parse_head(b"HEAD / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        writer = ResponseWriter.for_request(head, server="me")
        self.assertEqual((writer.method, writer.version), ("HEAD", "1.0"))
        self.assertEqual((writer.keep_alive, writer.server), (True, "me"))

    def test_injection(self):
        evil = ["b\r\nX: y", "b\nX: y", "b\rX", "b\0", "b\r\n", "\r\n", "b\x0b", "\x7f"]
        for text in [*evil, "\u2028", "\U0001f600"]:
            for status, reason, headers in [
                (200, "OK", [("A", text)]),
                (200, "OK", [("Set-Cookie", "a"), (text, "b")]),
                (200, text, []),
                (200, "OK", [("Connection", "a"), ("Content-Length", text)]),
            ]:
                with self.subTest(reason=reason, headers=headers):
                    writer = ResponseWriter()
                    with self.assertRaises(InvalidResponse):
                        writer.head(status, reason, headers)
                    # Another response can still be written.
                    self.assertTrue(writer.head(500, None, [], 0))

    def test_names(self):
        for name in ("", " A", "A ", "A:", "A b", "Ä", "(a)", "A: b\r\nC"):
            with self.subTest(name=name), self.assertRaises(InvalidResponse):
                response_head(200, "OK", [(name, "a")])

    def test_faults_are_named(self):
        with self.assertRaisesMessage(InvalidResponse, "The header 'A: b\\r\\nC: d'"):
            response_head(200, "OK", [("B", "c"), ("A", "b\r\nC: d")])
        with self.assertRaisesMessage(InvalidResponse, "The status line"):
            response_head(200, "OK\r\nA: b", [("B", "c")])

    def test_statuses(self):
        for status in (0, 99, 100, 101, 199, 600, 1000, -200):
            with self.subTest(status=status), self.assertRaises(InvalidResponse):
                ResponseWriter().head(status, None, [])

    def test_lengths(self):
        for values in (["5", "5"], ["+5"], [""], ["-1"], ["1" * 19], ["5,5"], ["²"]):
            headers = [("Content-Length", value) for value in values]
            with self.subTest(values=values), self.assertRaises(InvalidResponse):
                ResponseWriter().head(200, None, headers)

    def test_reasons(self):
        self.assertEqual(
            response_head(404, None, []), b"HTTP/1.1 404 Not Found\r\n\r\n"
        )
        self.assertEqual(response_head(200, "", []), b"HTTP/1.1 200 \r\n\r\n")
        self.assertEqual(response_head(200, "Gä", []), b"HTTP/1.1 200 G\xe4\r\n\r\n")
        self.assertEqual(
            response_head(599, None, []), b"HTTP/1.1 599 Unknown Status Code\r\n\r\n"
        )

    def test_interim_responses(self):
        self.assertEqual(response_head(100, None, []), CONTINUE)
        self.assertEqual(
            response_head(101, None, [("Upgrade", "websocket")]),
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n",
        )

    def test_simple_response(self):
        self.assertEqual(
            simple_response(400, "Lines must end with CRLF."),
            b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n"
            + self.date
            + b"Connection: close\r\nContent-Length: 25\r\n\r\n"
            b"Lines must end with CRLF.",
        )
        data = simple_response(
            503, "ä", close=False, headers=[("Retry-After", "1")], method="HEAD"
        )
        self.assertIn(b"Retry-After: 1\r\n", data)
        self.assertNotIn(b"Connection", data)
        self.assertTrue(data.endswith(b"Content-Length: 2\r\n\r\n"))
