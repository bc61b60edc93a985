"""
What no client of HTTP may send to a running server.

Each input is refused with one answer and the end of the connection. No consumer
hears of it, and neither of the request that is hidden behind each of them.
"""

import re
import time
from contextlib import closing

from django.channels.backends.contract import PATIENCE

from .hostile import GOOD, HostileTestCase, read_all, send_what_is_taken
from .http_requests import pieces
from .utils import wait_until

HOST = b"Host: 127.0.0.1\r\n"
GET = b"GET /hostile/ HTTP/1.1\r\n" + HOST
POST = b"POST /hostile/ HTTP/1.1\r\n" + HOST
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
HELLO = b"5\r\nhello\r\n"
# Of what comes after what is refused there must be no answer.
HIDDEN = b"GET /hidden/ HTTP/1.1\r\n" + HOST + b"\r\n"

TLS = bytes.fromhex("16030100a5010000a10303" + "5a" * 32 + "00000ac02bc02fc02cc030cca9")

LENGTHS = {
    name: (POST + lines + b"\r\n\r\nhello", status)
    for name, lines, status in [
        ("differing", b"Content-Length: 5\r\nContent-Length: 6", 400),
        ("repeated", b"Content-Length: 5\r\nContent-Length: 5", 400),
        ("list", b"Content-Length: 5, 5", 400),
        ("list of two", b"Content-Length: 0,5", 400),
        ("plus", b"Content-Length: +5", 400),
        ("minus", b"Content-Length: -1", 400),
        ("underscore", b"Content-Length: 0_5", 400),
        ("hexadecimal", b"Content-Length: 0x5", 400),
        ("exponent", b"Content-Length: 5e0", 400),
        ("fraction", b"Content-Length: 5.0", 400),
        ("empty", b"Content-Length:", 400),
        ("words", b"Content-Length: 5 5", 400),
        ("quoted", b'Content-Length: "5"', 400),
        ("Arabic digit", "Content-Length: ٥".encode(), 400),
        ("full-width digit", "Content-Length: ５".encode(), 400),
        ("superscript", b"Content-Length: \xb2", 400),
        ("no-break space", b"Content-Length: \xa05", 400),
        ("vertical tab", b"Content-Length: \x0b5", 400),
        ("NUL", b"Content-Length: 5\0", 400),
        ("above 64 bits", b"Content-Length: 18446744073709551617", 413),
        ("many digits", b"Content-Length: " + b"9" * 5000, 413),
        ("above the limit", b"Content-Length: 1001", 413),
        (
            "above the limit, expecting",
            b"Content-Length: 1001\r\nExpect: 100-continue",
            413,
        ),
        ("other expectation", b"Content-Length: 5\r\nExpect: 200-ok", 417),
    ]
}

CODINGS = {
    name: (POST + lines + b"\r\n\r\n" + HELLO + b"0\r\n\r\n", status)
    for name, lines, status in [
        ("length first", b"Content-Length: 5\r\nTransfer-Encoding: chunked", 400),
        ("length last", b"Transfer-Encoding: chunked\r\nContent-Length: 5", 400),
        ("length 0", b"Content-Length: 0\r\nTransfer-Encoding: chunked", 400),
        ("unknown", b"Transfer-Encoding: xchunked", 400),
        ("identity", b"Transfer-Encoding: identity", 400),
        ("empty", b"Transfer-Encoding:", 400),
        ("comma", b"Transfer-Encoding: ,chunked", 400),
        ("twice", b"Transfer-Encoding: chunked, chunked", 400),
        ("two lines", b"Transfer-Encoding: chunked\r\nTransfer-Encoding: a", 400),
        ("chunked not last", b"Transfer-Encoding: chunked, gzip", 400),
        ("only gzip", b"Transfer-Encoding: gzip", 400),
        ("gzip", b"Transfer-Encoding: gzip, chunked", 501),
        ("parameter", b"Transfer-Encoding: chunked;q=1", 400),
        ("quoted", b'Transfer-Encoding: "chunked"', 400),
        ("vertical tab", b"Transfer-Encoding: \x0bchunked", 400),
        ("NEL", b"Transfer-Encoding: \x85chunked", 400),
        ("folded", b"Transfer-Encoding:\r\n chunked", 400),
        ("space before colon", b"Transfer-Encoding : chunked", 400),
    ]
} | {
    "HTTP/1.0": (
        b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    )
}

CHUNKS = {
    name: (CHUNKED + body, status)
    for name, body, status in [
        ("hexadecimal prefix", b"0x5\r\nhello\r\n0\r\n\r\n", 400),
        ("minus", b"-5\r\nhello\r\n0\r\n\r\n", 400),
        ("plus", b"+5\r\nhello\r\n0\r\n\r\n", 400),
        ("underscore", b"0_5\r\nhello\r\n0\r\n\r\n", 400),
        ("leading space", b" 5\r\nhello\r\n0\r\n\r\n", 400),
        ("trailing space", b"5 \r\nhello\r\n0\r\n\r\n", 400),
        ("no size", b"\r\nhello\r\n0\r\n\r\n", 400),
        ("no digit", b"g\r\nhello\r\n0\r\n\r\n", 400),
        ("NUL", b"5\0\r\nhello\r\n0\r\n\r\n", 400),
        ("bare LF after the size", b"5\nhello\r\n0\r\n\r\n", 400),
        ("bare CR after the size", b"5\rhello\r\n0\r\n\r\n", 400),
        ("no line end", b"5\r\nhello0\r\n\r\n", 400),
        ("more than the size", b"5\r\nhello!!\r\n0\r\n\r\n", 400),
        ("less than the size", b"6\r\nhello\r\n0\r\n\r\n", 400),
        ("bare LF after the data", b"5\r\nhello\n0\r\n\r\n", 400),
        ("too many digits", b"0" * 17 + b"5\r\nhello\r\n0\r\n\r\n", 400),
        ("64 bits", b"f" * 16 + b"\r\nhello", 413),
        ("size above the limit", b"3e9\r\nhello", 413),
        ("sum above the limit", HELLO * 201, 413),
        ("long extension", b"5;" + b"a" * 2000 + b"\r\nhello", 400),
        ("long extensions", (b"1;" + b"a" * 1000 + b"\r\nx\r\n") * 20, 400),
        ("bare LF in an extension", b"5;a\nb\r\nhello\r\n0\r\n\r\n", 400),
        ("bare CR in an extension", b"5;a\rb\r\nhello\r\n0\r\n\r\n", 400),
        ("NUL in an extension", b"5;a\0\r\nhello\r\n0\r\n\r\n", 400),
        ("long trailers", HELLO + b"0\r\n" + b"A: %b\r\n" % (b"b" * 90) * 90, 431),
        ("long trailer", HELLO + b"0\r\nA: " + b"a" * 9000, 431),
        ("many trailers", HELLO + b"0\r\n" + b"A: b\r\n" * 102, 431),
        ("trailer without colon", HELLO + b"0\r\nA\r\n\r\n", 400),
        ("folded trailer", HELLO + b"0\r\nA: b\r\n c\r\n\r\n", 400),
        ("bare LF in trailers", HELLO + b"0\r\nA: b\n\r\n", 400),
        ("NUL in a trailer", HELLO + b"0\r\nA: \0\r\n\r\n", 400),
    ]
}

LINES = {
    name: (b"GET /hostile/ HTTP/1.1\r\n" + lines + b"\r\n", status)
    for name, lines, status in [
        ("bare LF", b"Host: 127.0.0.1\nA: b\r\n", 400),
        ("bare CR", b"Host: 127.0.0.1\rA: b\r\n", 400),
        ("CR CR LF", b"Host: 127.0.0.1\r\r\n", 400),
        ("folded with a space", HOST + b"A: b\r\n c\r\n", 400),
        ("folded with a tab", HOST + b"A: b\r\n\tc\r\n", 400),
        ("folded first line", b" A: b\r\n" + HOST, 400),
        ("no colon", HOST + b"A\r\n", 400),
        ("space before colon", HOST + b"A : b\r\n", 400),
        ("tab before colon", HOST + b"A\t: b\r\n", 400),
        ("no name", HOST + b": b\r\n", 400),
        ("space in a name", HOST + b"A B: c\r\n", 400),
        ("slash in a name", HOST + b"A/B: c\r\n", 400),
        ("parenthesis in a name", HOST + b"A(B): c\r\n", 400),
        ("NUL in a name", HOST + b"A\0: b\r\n", 400),
        ("name not ASCII", HOST + "É: b\r\n".encode(), 400),
        ("NUL", HOST + b"A: b\0c\r\n", 400),
        ("vertical tab", HOST + b"A: b\x0bc\r\n", 400),
        ("form feed", HOST + b"A: b\x0cc\r\n", 400),
        ("escape", HOST + b"A: \x1b[2J\r\n", 400),
        ("DEL", HOST + b"A: b\x7f\r\n", 400),
        ("NEL in a name", HOST + b"A\x85: b\r\n", 400),
        ("no Host", b"", 400),
        ("two Hosts", HOST + HOST, 400),
        ("two different Hosts", HOST + b"Host: other.example\r\n", 400),
        ("list of Hosts", b"Host: 127.0.0.1, 127.0.0.1\r\n", 400),
        ("empty Host", b"Host:\r\n", 400),
        ("Host with a path", b"Host: 127.0.0.1/a\r\n", 400),
        ("Host with a user", b"Host: me@127.0.0.1\r\n", 400),
        ("Host with a space", b"Host: 127.0.0.1 a\r\n", 400),
        ("Host with a bad port", b"Host: 127.0.0.1:x\r\n", 400),
        ("Host not ASCII", "Host: ex\xe4mple\r\n".encode(), 400),
        ("Host of another site", b"Host: other.example\r\n", 400),
        ("Host that ends alike", b"Host: x.127.0.0.1\r\n", 400),
        ("many headers", HOST + b"A: b\r\n" * 101, 431),
        ("long header", HOST + b"A: " + b"a" * 70_000, 431),
        ("long name", HOST + b"a" * 70_000, 431),
        ("tiny headers", HOST + b"a:\r\n" * 20_000, 431),
    ]
}

REQUEST_LINES = {
    name: (line + b"\r\n" + HOST + b"\r\n", status)
    for name, line, status in [
        ("HTTP/0.9", b"GET /hostile/", 400),
        ("HTTP/2.0", b"GET /hostile/ HTTP/2.0", 505),
        ("HTTP/1.2", b"GET /hostile/ HTTP/1.2", 505),
        ("HTTP/0.9 said", b"GET /hostile/ HTTP/0.9", 505),
        ("HTTP/1", b"GET /hostile/ HTTP/1", 400),
        ("HTTP/1.10", b"GET /hostile/ HTTP/1.10", 400),
        ("HTTP/+1.1", b"GET /hostile/ HTTP/+1.1", 400),
        ("HTTP/1.x", b"GET /hostile/ HTTP/1.x", 400),
        ("lower-case version", b"GET /hostile/ http/1.1", 400),
        ("other protocol", b"GET /hostile/ RTSP/1.0", 400),
        ("space after the version", b"GET /hostile/ HTTP/1.1 ", 400),
        ("two spaces", b"GET  /hostile/ HTTP/1.1", 400),
        ("tab", b"GET\t/hostile/ HTTP/1.1", 400),
        ("leading space", b" GET /hostile/ HTTP/1.1", 400),
        ("four words", b"GET /hostile/ /a HTTP/1.1", 400),
        ("no target", b"GET HTTP/1.1", 400),
        ("no method", b"/hostile/ HTTP/1.1", 400),
        ("bad method", b"G[T /hostile/ HTTP/1.1", 400),
        ("control character in the method", b"GE\x01T /hostile/ HTTP/1.1", 400),
        ("method not ASCII", "GÉT /hostile/ HTTP/1.1".encode(), 400),
        ("long method", b"A" * 33 + b" /hostile/ HTTP/1.1", 501),
        ("CONNECT", b"CONNECT 127.0.0.1:443 HTTP/1.1", 501),
        ("CONNECT to a path", b"CONNECT /hostile/ HTTP/1.1", 501),
        ("authority", b"GET 127.0.0.1:80 HTTP/1.1", 400),
        ("asterisk", b"GET * HTTP/1.1", 400),
        ("relative path", b"GET hostile/ HTTP/1.1", 400),
        ("only a query", b"GET ?a=b HTTP/1.1", 400),
        ("absolute with another host", b"GET http://other.example/ HTTP/1.1", 400),
        ("absolute with a user", b"GET http://me@127.0.0.1/ HTTP/1.1", 400),
        ("absolute with no host", b"GET http:///hostile/ HTTP/1.1", 400),
        ("absolute with another scheme", b"GET ftp://127.0.0.1/ HTTP/1.1", 400),
        ("fragment", b"GET /hostile/#a HTTP/1.1", 400),
        ("NUL", b"GET /hostile/\0 HTTP/1.1", 400),
        ("control character", b"GET /hostile/\x1f HTTP/1.1", 400),
        ("DEL", b"GET /hostile/\x7f HTTP/1.1", 400),
        ("control character in the query", b"GET /hostile/?\x01 HTTP/1.1", 400),
        ("path not ASCII", "GET /höstile/ HTTP/1.1".encode(), 400),
        ("long target", b"GET /" + b"a" * 20_000 + b" HTTP/1.1", 414),
        ("long query", b"GET /?" + b"a" * 20_000 + b" HTTP/1.1", 414),
        ("bare LF", b"GET /hostile/ HTTP/1.1\n", 400),
        ("bare CR", b"GET /hostile/\r HTTP/1.1", 400),
        ("two empty lines before", b"\r\n\r\nGET /hostile/ HTTP/1.1", 400),
    ]
}

OTHER_PROTOCOLS = {
    "HTTP/2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "TLS": (TLS, 400),
    "SSH": (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", 400),
    "PROXY": (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n" + GET + b"\r\n", 400),
    "PROXY, binary": (b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c" + b"\0" * 12, 400),
    "Redis": (b"*1\r\n$4\r\nPING\r\n\r\n", 400),
    "SMTP": (b"EHLO example.com\r\n\r\n", 400),
    "NULs": (b"\0" * 1000, 400),
    "high bytes": (b"\xff" * 1000, 400),
    "all bytes": (bytes(range(256)), 400),
    "WebSocket frame": (b"\x81\x85abcd\x09\x07\x0f\x08\x0e", 400),
}

answer_re = re.compile(rb"HTTP/1\.1 (\d\d\d) ")


class HostileHttpTests(HostileTestCase):
    settings_text = "CHANNELS_MAX_BODY_SIZE = 1000\n"

    def assertAnswers(self, sock, *statuses):
        """Check that there are these answers, and the end of the connection."""
        with closing(sock):
            self.assertOthersAreServed()
            received = read_all(sock)
        found = [int(status) for status in answer_re.findall(received)]
        self.assertEqual(found, list(statuses), received[:500])
        self.assertIn(b"\r\nConnection: close\r\n", received)

    def assertRefused(self, inputs):
        for name, (data, status) in inputs.items():
            with self.subTest(name):
                self.assertAnswers(self.site.attack(data + HIDDEN), status)
            with self.subTest(f"{name}, in pieces"):
                sock = self.site.attack()
                size = len(data) // 500 + 1
                send_what_is_taken(sock, pieces(data, size))
                self.assertAnswers(sock, status)
        self.assertHeard("request")

    def setUp(self):
        self.site.reset()

    def test_lengths(self):
        self.assertRefused(LENGTHS)

    def test_codings(self):
        self.assertRefused(CODINGS)

    def test_chunks(self):
        self.assertRefused(CHUNKS)

    def test_lines(self):
        self.assertRefused(LINES)

    def test_request_lines(self):
        self.assertRefused(REQUEST_LINES)

    def test_other_protocols(self):
        self.assertRefused(OTHER_PROTOCOLS)

    def test_after_a_good_request(self):
        for name, data in [
            ("bare LF", b"GET / HTTP/1.1\n\n"),
            ("garbage", b"\x00\x01\x02"),
            ("hidden body", HIDDEN.replace(b"GET", b"GET\t")),
        ]:
            with self.subTest(name):
                first = GET.replace(b"hostile", b"first") + b"\r\n"
                self.assertAnswers(self.site.attack(first + data), 200, 400)
        self.assertHeard("request", *[["/first/"]] * 3)

    def test_request_in_a_body(self):
        """What stands in a body is no request, however it is framed."""
        first = POST.replace(b"hostile", b"first")
        last = HIDDEN.replace(b"hidden", b"last").replace(
            b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"
        )
        for name, framing, body in [
            ("length", b"Content-Length: %d\r\n\r\n" % len(HIDDEN), HIDDEN),
            (
                "chunks",
                b"Transfer-Encoding: chunked\r\n\r\n",
                b"%x\r\n%b\r\n0\r\n\r\n" % (len(HIDDEN), HIDDEN),
            ),
            (
                "extension and trailer",
                b"Transfer-Encoding: Chunked\r\n\r\n",
                b"1;GET /hidden/ HTTP/1.1\r\nx\r\n0\r\nGET: /hidden/ HTTP/1.1\r\n\r\n",
            ),
            (
                "last chunk in the body",
                b"Content-Length: %d\r\n\r\n" % (len(HIDDEN) + 5),
                b"0\r\n\r\n" + HIDDEN,
            ),
        ]:
            with self.subTest(name):
                self.site.reset()
                sock = self.site.attack(first + framing + body + last)
                self.assertAnswers(sock, 200, 200)
                self.assertHeard("request", ["/first/"], ["/last/"])

    def test_clients_that_leave_before_the_end(self):
        for name, data in [
            ("nothing", b""),
            ("half a line", b"GET /hostile/ HT"),
            ("half a head", GET),
            ("half a body", POST + b"Content-Length: 10\r\n\r\nhello"),
            ("half a chunk", CHUNKED + b"5\r\nhel"),
            ("no last chunk", CHUNKED + HELLO),
            ("half a trailer", CHUNKED + HELLO + b"0\r\nA: "),
        ]:
            with self.subTest(name):
                self.site.attack(data).close()
                self.assertOthersAreServed()
        self.assertHeard("request")

    def test_clients_that_say_no_more(self):
        """The other direction may still be open: they get no answer, but an end."""
        for name, data in [("head", GET), ("body", CHUNKED + HELLO)]:
            with self.subTest(name), closing(self.site.attack(data)) as sock:
                sock.shutdown(1)
                self.assertEqual(read_all(sock), b"")
        self.assertHeard("request")

    def test_client_that_sends_on_after_a_refusal(self):
        with closing(self.site.attack(POST + b"Content-Length: 1001\r\n\r\n")) as sock:
            for _ in range(10):
                send_what_is_taken(sock, [b"x" * 1_000_000])
                self.assertOthersAreServed()
            self.assertTrue(read_all(sock).startswith(b"HTTP/1.1 413 "))
        self.assertHeard("request")

    def test_many_requests_at_once(self):
        request = GET.replace(b"/hostile/", GOOD.encode()) + b"\r\n"
        with closing(self.site.attack(request * 300)) as sock:
            for _ in range(10):
                self.assertOthersAreServed()
            sock.shutdown(1)
            self.assertEqual(read_all(sock).count(b"HTTP/1.1 200 OK"), 300)


class SlowClientTests(HostileTestCase):
    settings_text = """
CHANNELS_LIMITS = {"HEAD_TIME": 1, "BODY_TIME": 1, "WRITE_TIME": 1}
"""

    def assertTooSlow(self, inputs):
        """Check that all of these get 408, when they are sent beside each other."""
        socks = {name: self.site.attack(data) for name, data in inputs.items()}
        self.assertOthersAreServed()
        for name, sock in socks.items():
            with self.subTest(name), closing(sock):
                self.assertTrue(read_all(sock).startswith(b"HTTP/1.1 408 "))
        self.assertHeard("request")

    def setUp(self):
        self.site.reset()

    def test_parts(self):
        self.assertTooSlow(
            {
                "a byte": b"G",
                "head": GET,
                "many headers": GET + b"A: b\r\n" * 90,
                "body": POST + b"Content-Length: 10\r\n\r\nhello",
                "no body": POST + b"Content-Length: 10\r\n\r\n",
                "chunk size": CHUNKED + b"5",
                "chunk": CHUNKED + b"5\r\nhel",
                "trailers": CHUNKED + HELLO + b"0\r\nA: b\r\n",
            }
        )

    def assertDripIsRefused(self, start, drop):
        """Send a little again and again, until there is an answer."""
        with closing(self.site.attack(start)) as sock:
            sock.settimeout(0.1)
            deadline, received = time.monotonic() + PATIENCE, b""
            while not received and time.monotonic() < deadline:
                send_what_is_taken(sock, [drop])
                try:
                    received = sock.recv(65536)
                except TimeoutError:
                    self.assertOthersAreServed()
        self.assertTrue(received.startswith(b"HTTP/1.1 408 "), received)
        self.assertHeard("request")

    def test_head_that_drips(self):
        self.assertDripIsRefused(GET, b"A: b\r\n")

    def test_body_that_drips(self):
        self.assertDripIsRefused(POST + b"Content-Length: 10000\r\n\r\n", b"x")

    def test_chunks_that_drip(self):
        self.assertDripIsRefused(CHUNKED, b"1\r\nx\r\n")

    def test_body_that_stops_during_its_answer(self):
        """The answer is cut off, for there cannot be a second one."""
        request = POST.replace(b"/hostile/", b"/reading/")
        data = request + b"Content-Length: 1000000\r\n\r\nhello"
        with closing(self.site.attack(data)) as sock:
            self.assertOthersAreServed()
            received = read_all(sock)
        self.assertTrue(received.startswith(b"HTTP/1.1 200 "), received)
        self.assertIn(b"begun", received)
        self.assertEqual(received.count(b"HTTP/1.1 "), 1)
        self.assertFalse(received.endswith(b"0\r\n\r\n"))

    def test_answers_that_are_not_read(self):
        for path in (b"/large/", b"/endless/"):
            with self.subTest(path):
                sock = self.site.attack(receive_buffer=4096)
                with closing(sock):
                    sock.sendall(GET.replace(b"/hostile/", path) + b"\r\n")
                    wait_until(lambda: [path.decode()] in self.site.heard("request"))
                    self.assertOthersAreServed()
                    if path == b"/endless/":
                        wait_until(lambda: self.site.heard("ended"))
                    # It comes to an end, though not to that of the response.
                    self.assertLess(len(read_all(sock)), 20_000_000)

    def test_clients_that_leave_an_answer(self):
        for path in (b"/large/", b"/endless/"):
            with self.subTest(path):
                sock = self.site.attack(GET.replace(b"/hostile/", path) + b"\r\n")
                sock.recv(1000)
                sock.close()
                self.assertOthersAreServed()
        wait_until(lambda: self.site.heard("ended"))

    def test_answer_that_is_read_slowly(self):
        """A client that goes on reading gets all of it, however long this takes."""
        sock = self.site.attack(receive_buffer=65536)
        with closing(sock):
            sock.sendall(
                GET.replace(b"/hostile/", b"/large/") + b"Connection: close\r\n\r\n"
            )
            size, deadline = 0, time.monotonic() + 2
            while part := sock.recv(50_000):
                size += len(part)
                if time.monotonic() < deadline:
                    time.sleep(0.02)
        self.assertGreater(size, 20_000_000)
