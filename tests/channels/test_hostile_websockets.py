"""
What no client of a WebSocket may send to a running server.

Handshakes get the right status, and frames the right close code. Consumers hear
of the client that it has come and gone, and of nothing that it has done wrong.
"""

import itertools
import socket as socketlib
import struct
import zlib
from contextlib import closing

# First, as it skips this module where gevent is missing.
from .sockets import ACCEPT, KEY, Client, frame

# isort: split

from websockets.frames import BINARY, CLOSE, CONT, PING, PONG, TEXT

from .hostile import HostileTestCase, read_all, send_what_is_taken
from .http_requests import pieces
from .utils import wait_until

MESSAGE_SIZE = 100_000
FRAGMENTS = 50

HEADERS = {
    "Host": "127.0.0.1",
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Key": KEY,
    "Sec-WebSocket-Version": "13",
}
DEFLATE = "permessage-deflate; client_max_window_bits"
HIDDEN = b"GET /hidden/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


def handshake(path="/hostile/", line="GET {} HTTP/1.1", extra="", **changes):
    """
    Return the bytes of a handshake. `changes` are of values, by what is unique in
    the names of their headers; those of None are left out.
    """
    lines = [line.format(path)]
    for name, value in HEADERS.items():
        value = changes.get(name.lower().rpartition("-")[2], value)
        if value is not None:
            lines.append(f"{name}: {value}")
    return ("\r\n".join(lines) + "\r\n" + extra + "\r\n").encode("iso-8859-1")


def origin(*values):
    return handshake(extra="".join(f"Origin: {value}\r\n" for value in values))


HANDSHAKES = {
    "origin of another site": (origin("http://evil.example"), 403),
    "origin that begins alike": (origin("http://127.0.0.1.evil.example"), 403),
    "origin that ends alike": (origin("http://evil127.0.0.1"), 403),
    "origin on another port": (origin("http://127.0.0.1:1"), 403),
    "origin with a user": (origin("http://127.0.0.1@evil.example"), 403),
    "origin with a path": (origin("http://127.0.0.1/"), 403),
    "origin of another scheme": (origin("file://127.0.0.1"), 403),
    "origin null": (origin("null"), 403),
    "origin empty": (origin(""), 403),
    "origin malformed": (origin("127.0.0.1"), 403),
    "two origins": (origin("http://127.0.0.1", "http://127.0.0.1"), 403),
    "list of origins": (origin("http://127.0.0.1 http://evil.example"), 403),
    "host of another site": (handshake(host="other.example"), 400),
    "no host": (handshake(host=None), 400),
    "no key": (handshake(key=None), 400),
    "empty key": (handshake(key=""), 400),
    "short key": (handshake(key="c2hvcnQ="), 400),
    "long key": (handshake(key="dGhlIHNhbXBsZSBub25jZSBsb25n"), 400),
    "key not base64": (handshake(key="the sample nonce!!!!!!!!"), 400),
    "key not ASCII": (handshake(key="dGhlIHNhbXBsZSBub25jZ\xe9=="), 400),
    "two keys": (handshake(extra=f"Sec-WebSocket-Key: {KEY}\r\n"), 400),
    "no version": (handshake(version=None), 426),
    "version 7": (handshake(version="7"), 426),
    "version 8": (handshake(version="8"), 426),
    "version 14": (handshake(version="14"), 426),
    "version 013": (handshake(version="013"), 426),
    "list of versions": (handshake(version="13, 8"), 426),
    "two versions": (handshake(extra="Sec-WebSocket-Version: 13\r\n"), 426),
    "post": (handshake(line="POST {} HTTP/1.1"), 405),
    "method in lower case": (handshake(line="get {} HTTP/1.1"), 405),
    "bad subprotocol": (handshake(extra="Sec-WebSocket-Protocol: a b\r\n"), 400),
    "bad extension": (handshake(extra="Sec-WebSocket-Extensions: a;=\r\n"), 400),
    "body": (handshake(extra="Content-Length: 5\r\n") + b"hello", 400),
    "body, a request": (
        handshake(extra=f"Content-Length: {len(HIDDEN)}\r\n") + HIDDEN,
        400,
    ),
    "chunks": (handshake(extra="Transfer-Encoding: chunked\r\n") + b"0\r\n\r\n", 400),
    "bare LF": (handshake(extra="A: b\n"), 400),
    "HTTP/1.2": (handshake(line="GET {} HTTP/1.2"), 505),
}

# They are requests like others, for RFC 9110, section 7.8, has their Upgrade ignored.
ORDINARY = {
    "no connection": handshake(connection=None),
    "other connection": handshake(connection="keep-alive"),
    "no upgrade": handshake(upgrade=None),
    "other upgrade": handshake(upgrade="h2c"),
    "HTTP/1.0": handshake(line="GET {} HTTP/1.0"),
}


def close(code, reason=b""):
    return frame(CLOSE, struct.pack("!H", code) + reason)


def start(data, opcode=TEXT):
    """Return the first frame of a message of several."""
    return frame(opcode, data, fin=0)


def head(opcode, length, form, fin=1):
    """Return the head of a frame whose length has the struct format `form`."""
    marker = {"B": b"", "H": b"\xfe", "Q": b"\xff"}[form]
    first = bytes([fin << 7 | opcode])
    if form == "B":
        return first + bytes([0x80 | length]) + b"abcd"
    return first + marker + struct.pack(f"!{form}", length) + b"abcd"


FRAMES = {
    "text not masked": (frame(TEXT, b"x", masked=False), 1002),
    "empty text not masked": (frame(TEXT, masked=False), 1002),
    "ping not masked": (frame(PING, b"x", masked=False), 1002),
    "close not masked": (frame(CLOSE, masked=False), 1002),
    **{
        f"opcode {opcode}": (frame(opcode, b"x"), 1002)
        for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15]
    },
    **{
        f"reserved bits {rsv}": (frame(TEXT, b"x", rsv=rsv), 1002)
        for rsv in range(1, 8)
    },
    "reserved bit in a ping": (frame(PING, rsv=4), 1002),
    "reserved bit in a close": (frame(CLOSE, rsv=4), 1002),
    "ping in parts": (frame(PING, b"x", fin=0), 1002),
    "pong in parts": (frame(PONG, b"x", fin=0), 1002),
    "close in parts": (frame(CLOSE, fin=0), 1002),
    "ping of 126 bytes": (frame(PING, b"x" * 126), 1002),
    "pong of 65536 bytes": (frame(PONG, b"x" * 65536), 1002),
    "close of 126 bytes": (close(1000, b"x" * 124), 1002),
    "continuation of nothing": (frame(CONT, b"x"), 1002),
    "text in a message": (start(b"x") + frame(TEXT, b"x"), 1002),
    "binary in a message": (start(b"x") + frame(BINARY, b"x"), 1002),
    "start in a message": (start(b"x") + start(b"x"), 1002),
    "reserved bit in a continuation": (start(b"x") + frame(CONT, b"x", rsv=4), 1002),
}

TEXTS = {
    "lone byte": (frame(TEXT, b"\xff"), 1007),
    "lone continuation byte": (frame(TEXT, b"a\x80b"), 1007),
    "overlong slash": (frame(TEXT, b"\xc0\xaf"), 1007),
    "overlong NUL": (frame(TEXT, b"\xe0\x80\x80"), 1007),
    "surrogate": (frame(TEXT, b"\xed\xa0\x80"), 1007),
    "surrogate pair": (frame(TEXT, b"\xed\xa0\xbd\xed\xb8\x80"), 1007),
    "above Unicode": (frame(TEXT, b"\xf4\x90\x80\x80"), 1007),
    "five bytes": (frame(TEXT, b"\xf8\x88\x80\x80\x80"), 1007),
    "end cut off": (frame(TEXT, b"caf\xc3"), 1007),
    "end cut off in parts": (start(b"caf") + frame(CONT, b"\xc3"), 1007),
    "split over frames": (start(b"caf\xc3") + frame(CONT, b"\x28"), 1007),
    "split surrogate": (start(b"\xed") + frame(CONT, b"\xa0\x80"), 1007),
    # It need not be waited for the rest.
    "first of many frames": (start(b"\xff"), 1007),
    "last byte of a long one": (frame(TEXT, b"a" * 90_000 + b"\xc3"), 1007),
}

CLOSES = {
    **{
        f"code {code}": (close(code), 1002)
        for code in [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 2000, 2999, 5000, 65535]
    },
    "one byte": (frame(CLOSE, b"\x03"), 1002),
    "reason not UTF-8": (close(1000, b"\xff"), 1007),
    "reason cut off": (close(1000, b"caf\xc3"), 1007),
}

SIZES = {
    "1 GiB announced": (head(TEXT, 2**30, "Q"), 1009),
    "2**63 - 1 announced": (head(BINARY, 2**63 - 1, "Q"), 1009),
    "above the limit": (head(TEXT, MESSAGE_SIZE + 126, "Q"), 1009),
    "one byte above the limit": (frame(TEXT, b"x" * (MESSAGE_SIZE + 1)), 1009),
    "1 GiB in a continuation": (start(b"x") + head(CONT, 2**30, "Q"), 1009),
    "sum of two": (
        start(b"x" * 90_000, BINARY) + frame(CONT, b"x" * 20_000),
        1009,
    ),
    "sum of many": (start(b"x") + frame(CONT, b"x" * 10_000, fin=0) * 11, 1009),
    "many frames": (start(b"x") + frame(CONT, b"x", fin=0) * FRAGMENTS, 1009),
    "many empty frames": (start(b"") + frame(CONT, fin=0) * FRAGMENTS, 1009),
    "highest bit set": (head(TEXT, 2**63 + 1, "Q"), 1009),
    "length 0 in 16 bits": (head(TEXT, 0, "H"), 1002),
    "length 125 in 16 bits": (head(TEXT, 125, "H") + b"x" * 125, 1002),
    "length 5 in 64 bits": (head(TEXT, 5, "Q") + b"x" * 5, 1002),
    "length 65535 in 64 bits": (head(TEXT, 65535, "Q") + b"x" * 65535, 1002),
    "ping of 5 bytes in 16 bits": (head(PING, 5, "H") + b"x" * 5, 1002),
}


def deflate(data):
    """Return what permessage-deflate makes of a message (RFC 7692, section 7.2.1)."""
    compressor = zlib.compressobj(9, wbits=-15)
    data = compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH)
    return data.removesuffix(b"\0\0\xff\xff")


BOMB = deflate(b"x" * 20_000_000)

COMPRESSED = {
    "bomb": (frame(TEXT, BOMB, rsv=4), 1009),
    "bomb in parts": (
        b"".join(
            frame(CONT if number else TEXT, part, fin=0, rsv=0 if number else 4)
            for number, part in enumerate(pieces(BOMB, 1000))
        ),
        1009,
    ),
    "one byte above the limit": (
        frame(TEXT, deflate(b"x" * (MESSAGE_SIZE + 1)), rsv=4),
        1009,
    ),
    "not compressed": (frame(TEXT, b"\xff" * 100, rsv=4), 1002),
    "not UTF-8": (frame(TEXT, deflate(b"\xff"), rsv=4), 1007),
    "ping": (frame(PING, deflate(b"x"), rsv=4), 1002),
    "marked again": (
        frame(TEXT, deflate(b"x"), fin=0, rsv=4) + frame(CONT, b"", rsv=4),
        1002,
    ),
    "other reserved bit": (frame(TEXT, deflate(b"x"), rsv=6), 1002),
}


class HostileSocketTestCase(HostileTestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.paths = (f"/hostile/{number}/" for number in itertools.count(1))

    def setUp(self):
        self.site.reset()

    def open(self, ahead=b"", extensions=None, **options):
        """Return the Client of a new WebSocket, and its path."""
        path = next(self.paths)
        extra = extensions and f"Sec-WebSocket-Extensions: {extensions}\r\n" or ""
        sock = self.site.attack(handshake(path, extra=extra) + ahead, **options)
        self.enterContext(closing(sock))
        client = Client(sock)
        self.assertEqual(client.read_answer(), 101)
        self.assertEqual(client.headers["Sec-WebSocket-Accept"], ACCEPT)
        return client, path

    def assertEnds(self, client, path, code, told=1006):
        """Check the close frame, the end, and what consumers are told."""
        self.assertOthersAreServed()
        self.assertEqual(client.read_close(), code)
        self.assertIsNone(client.read())
        client.sock.close()
        wait_until(lambda: [path, str(told)] in self.site.heard("disconnect"))
        self.assertOthersAreServed()

    def assertNotHeard(self, path, what="receive"):
        self.assertIs([path] in self.site.heard(what), False)

    def assertFails(self, inputs, extensions=None):
        for name, (data, code) in inputs.items():
            with self.subTest(name):
                client, path = self.open(extensions=extensions)
                # What comes after it is not taken any more.
                send_what_is_taken(client.sock, [data, frame(TEXT, b"hidden")])
                self.assertEnds(client, path, code)
                self.assertNotHeard(path)
            with self.subTest(f"{name}, in pieces"):
                client, path = self.open(extensions=extensions)
                size = len(data) // 100 + 1
                send_what_is_taken(client.sock, pieces(data, size))
                self.assertEnds(client, path, code)
                self.assertNotHeard(path)


class HostileWebSocketTests(HostileSocketTestCase):
    settings_text = f"""
CHANNELS_LIMITS = {{
    "COMPRESSION": True, "MESSAGE_SIZE": {MESSAGE_SIZE}, "FRAGMENTS": {FRAGMENTS},
    "UNSENT_MESSAGES": 8,
}}
"""

    def test_handshakes(self):
        for name, (data, status) in HANDSHAKES.items():
            with self.subTest(name), closing(self.site.attack(data + HIDDEN)) as sock:
                self.assertOthersAreServed()
                received = read_all(sock)
                self.assertTrue(received.startswith(b"HTTP/1.1 %d " % status), received)
                self.assertEqual(received.count(b"HTTP/1.1 %d" % status), 1)
                self.assertNotIn(b"HTTP/1.1 200", received)
                if status == 426:
                    self.assertIn(b"\r\nSec-WebSocket-Version: 13\r\n", received)
        client, path = self.open()
        self.assertEqual(self.site.heard("connect"), [[path]])

    def test_requests_that_are_no_handshakes(self):
        for name, data in ORDINARY.items():
            with self.subTest(name), closing(self.site.attack(data)) as sock:
                sock.shutdown(socketlib.SHUT_WR)
                received = read_all(sock)
                self.assertTrue(received.startswith(b"HTTP/1.1 200 "), received)
                self.assertNotIn(b"Upgrade", received)

    def test_frames(self):
        self.assertFails(FRAMES)

    def test_texts(self):
        self.assertFails(TEXTS)

    def test_closes(self):
        self.assertFails(CLOSES)

    def test_sizes(self):
        self.assertFails(SIZES)

    def test_compressed(self):
        self.assertFails(COMPRESSED, DEFLATE)

    def test_compression_that_is_not_negotiated(self):
        self.assertFails({"text": (frame(TEXT, deflate(b"x"), rsv=4), 1002)})

    def test_frames_with_the_handshake(self):
        """They may come before its answer, but count only after it."""
        for name, (data, code) in {
            "not masked": FRAMES["text not masked"],
            "too long": SIZES["1 GiB announced"],
        }.items():
            with self.subTest(name):
                client, path = self.open(data + HIDDEN)
                self.assertEnds(client, path, code)
        self.assertHeard("request")

    def test_frames_with_a_handshake_that_is_refused(self):
        data = origin("null") + frame(TEXT, b"x") * 1000
        with closing(self.site.attack(data)) as sock:
            self.assertOthersAreServed()
            self.assertEqual(read_all(sock).count(b"HTTP/1.1 "), 1)

    def test_messages_after_a_close(self):
        client, path = self.open()
        client.write(close(3000) + frame(TEXT, b"hidden"))
        self.assertEnds(client, path, 3000, told=3000)
        self.assertNotHeard(path)

    def test_frames_between_others(self):
        """Control frames may stand in a message, which is not hostile."""
        client, path = self.open()
        client.write(start(b"caf\xc3") + frame(PING, b"x" * 125) + frame(CONT, b"\xa9"))
        self.assertEqual(client.read().opcode, PONG)
        self.assertEqual(client.read().data.decode(), "café")

    def test_clients_that_say_no_more(self):
        for name, data in [
            ("nothing", b""),
            ("half a head", b"\x81"),
            ("half a frame", head(TEXT, 50_000, "H") + b"x"),
            ("half a message", start(b"x")),
        ]:
            for how in ("half closed", "closed", "reset"):
                with self.subTest(name, how=how):
                    client, path = self.open()
                    client.write(data)
                    if how == "half closed":
                        client.sock.shutdown(socketlib.SHUT_WR)
                        self.assertIsNone(client.read_close())
                    elif how == "reset":
                        client.sock.setsockopt(
                            socketlib.SOL_SOCKET,
                            socketlib.SO_LINGER,
                            struct.pack("ii", 1, 0),
                        )
                    client.sock.close()
                    self.assertOthersAreServed()
                    wait_until(lambda: [path, "1006"] in self.site.heard("disconnect"))
                    self.assertNotHeard(path)

    def test_floods(self):
        for name, data in [
            ("pings", frame(PING, b"x" * 125) * 20_000),
            ("pongs", frame(PONG) * 100_000),
            ("empty pings", frame(PING) * 100_000),
            ("unread messages", frame(TEXT, b"x") * 10_000),
            ("unread binary messages", frame(BINARY) * 10_000),
        ]:
            with self.subTest(name):
                client, path = self.open(receive_buffer=4096)
                client.sock.setblocking(False)
                for part in pieces(data, 50_000):
                    try:
                        client.sock.send(part)
                    except (BlockingIOError, ConnectionError):
                        pass
                    self.assertOthersAreServed()
                client.sock.close()
                wait_until(
                    lambda: path in dict(self.site.heard("disconnect")),
                )

    def test_client_that_does_not_read(self):
        client, path = self.open(receive_buffer=4096)
        client.write(frame(TEXT, b"much"))
        for _ in range(10):
            self.assertOthersAreServed()
        self.assertEnds(client, path, 1013)
        self.assertEqual(self.site.heard("receive").count([path]), 1)


class SlowSocketTests(HostileSocketTestCase):
    settings_text = """
CHANNELS_LIMITS = {"PING_AFTER": 0.5, "SILENCE": 1, "MESSAGE_RATE": 50}
"""

    def assertOthersAreServed(self):
        # Only so many messages are allowed to the good client, too.
        response, content = self.site.get("/good/", client=self.client_of_http)
        self.assertEqual((response.status, content), (200, b"Hello World"))

    def test_silence(self):
        client, path = self.open()
        self.assertEqual(client.read().opcode, PING)
        self.assertEnds(client, path, 1011)
        super().assertOthersAreServed()

    def test_silence_in_a_frame(self):
        client, path = self.open(head(TEXT, 100, "B") + b"x")
        self.assertEnds(client, path, 1011)
        super().assertOthersAreServed()

    def test_message_rate(self):
        client, path = self.open(frame(TEXT, b"x") * 500)
        self.assertEnds(client, path, 1008)
        self.assertLessEqual(self.site.heard("receive").count([path]), 60)
        super().assertOthersAreServed()
