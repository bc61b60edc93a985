import functools
import gc
import zlib
from collections import Counter
from unittest import SkipTest, mock

from django.channels import BackendUnavailable, ChannelFull, consumer
from django.channels.backends.memory import MemoryBackend
from django.channels.registry import registry
from django.test import SimpleTestCase, override_settings

from .utils import in_ci

try:
    import gevent
    import websockets  # NOQA: F401
except ImportError:
    if in_ci():
        raise
    raise SkipTest("gevent and websockets are not installed.")

from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import BINARY, CLOSE, CONT, PING, PONG, TEXT

from django.channels.interfaces.server.connections import Phase
from django.channels.interfaces.server.handshakes import Handshake, Refusal
from django.channels.interfaces.server.limits import Limits
from django.channels.interfaces.server.websockets import WebSockets

from .sockets import (
    ACCEPT,
    Client,
    FakeRelay,
    connected_pair,
    frame,
    in_hub,
    loopback_pair,
    settle,
    upgrade,
)

LOGGER = "django.channels.interface"
MIB = 2**20


@override_settings(ALLOWED_HOSTS=["example.com", "other.example.com", "[2001:db8::1]"])
class WebSocketTestCase(SimpleTestCase):
    """Has a WebSocket, its client, and consumers that the tests play."""

    consumers = ("connect", "receive", "disconnect")
    options = {}

    def setUp(self):
        self.enterContext(registry.isolate())
        self.now = 1000
        self.numbers = 0
        self.left, self.ended = [], []
        for name in self.consumers:
            consumer(f"django.websocket.{name}")(lambda **kwargs: None)

    def start(self, **limits):
        """Make the WebSockets of the current hub."""
        self.relay = FakeRelay()
        self.counters = Counter()
        self.site = WebSockets(
            self.relay,
            MemoryBackend("default", {}),
            limits=Limits(**{**self.options, **limits}),
            counters=self.counters,
            left=self.left.append,
            ended=self.ended.append,
            clock=lambda: self.now,
        )

    def ask(self, request=None, ahead=b"", pair=connected_pair, extensions=()):
        """Send a handshake. Return the WebSocket and its client."""
        if not hasattr(self, "site"):
            self.start()
        server, sock = pair()
        self.numbers += 1
        name = f"tests.sockets!{self.numbers}"
        socket = self.site.open(server, name, request or upgrade(), ahead)
        return socket, Client(sock, extensions)

    def connect(self, *args, **kwargs):
        """Open a WebSocket, whose connect consumer accepts it."""
        socket, client = self.ask(*args, **kwargs)
        if self.relay.sent:
            self.acknowledge(socket)
        self.assertEqual(client.read_answer(), 101)
        return socket, client

    def acknowledge(self, socket, **extra):
        """Be the worker that has done the last message."""
        socket.deliver({"acknowledged": self.relay.sent[-1].number, **extra})

    def next_sent(self, count):
        """Wait for the message with this number, from 1 on, and return it."""
        settle(lambda: len(self.relay.sent) >= count)
        return self.relay.sent[count - 1]

    def tick(self, seconds):
        """Let time pass."""
        self.now += seconds
        self.site.check()

    def work(self, socket):
        """Be a worker that does all messages there are, until the socket has ended."""
        done = 0
        while not self.ended:
            settle(lambda: self.ended or len(self.relay.sent) > done)
            for item in self.relay.sent[done:]:
                done += 1
                socket.deliver({"acknowledged": item.number})


class HandshakeTests(WebSocketTestCase):
    @in_hub
    def test_connect_message(self):
        request = upgrade(("Sec-WebSocket-Protocol", "chat, superchat"))
        socket, client = self.ask(request)
        [sent] = self.relay.sent
        self.assertEqual(sent.channel, "django.websocket.connect")
        self.assertEqual(
            sent.message,
            {
                "send_channel": "tests.sockets!1",
                "path": "/chat/",
                "GET": [["room", "1"]],
                "META": request.META,
                "client": ["192.0.2.7", 50312],
                "subprotocols": ["chat", "superchat"],
                "state": {},
                "acknowledge": 1,
            },
        )

    @in_hub
    def test_is_accepted_when_the_consumer_is_done(self):
        socket, client = self.ask()
        self.acknowledge(socket)
        self.assertEqual(client.read_answer(), 101)
        self.assertEqual(client.headers["Sec-WebSocket-Accept"], ACCEPT)
        self.assertNotIn("Sec-WebSocket-Protocol", client.headers)
        self.assertNotIn("Sec-WebSocket-Extensions", client.headers)
        self.assertEqual(self.counters["websocket.accepted"], 1)

    @in_hub
    def test_without_consumers_is_accepted_at_once(self):
        for name in self.consumers:
            del registry._registry["default", f"django.websocket.{name}"]
        socket, client = self.ask()
        self.assertEqual(client.read_answer(), 101)
        client.send("unheard")
        client.close(1000)
        self.assertEqual(client.read_close(), 1000)
        client.sock.close()
        settle(lambda: self.ended)
        self.assertEqual(self.relay.sent, [])

    @in_hub
    def test_consumer_accepts_before_it_is_done(self):
        for message in [{"accept": True}, {"content": "first"}, {"bytes": "Zmlyc3Q="}]:
            with self.subTest(message=message):
                socket, client = self.ask()
                socket.deliver(message)
                self.assertEqual(client.read_answer(), 101)
                socket.deliver({"content": "second"})
                if "accept" not in message:
                    self.assertEqual(client.read().data, b"first")
                self.assertEqual(client.read_text(), "second")

    @in_hub
    def test_subprotocol(self):
        request = upgrade(
            ("Sec-WebSocket-Protocol", "one"), ("Sec-WebSocket-Protocol", "two")
        )
        socket, client = self.ask(request)
        socket.deliver({"subprotocol": "two"})
        client.read_answer()
        self.assertEqual(client.headers["Sec-WebSocket-Protocol"], "two")

    @in_hub
    def test_subprotocol_that_is_not_offered(self):
        socket, client = self.ask()
        with self.assertLogs(LOGGER, "ERROR") as logs:
            socket.deliver({"accept": True, "subprotocol": "other"})
        self.assertIn("its client does not offer it", logs.output[0])
        self.assertEqual(client.read_answer(), 101)
        self.assertNotIn("Sec-WebSocket-Protocol", client.headers)

    @in_hub
    def test_consumer_rejects(self):
        for message in [{"close": True}, {"close": 4001, "reason": "Sign in"}]:
            with self.subTest(message=message):
                self.ended.clear()
                socket, client = self.ask()
                before = len(self.relay.sent)
                socket.deliver({**message, "content": "not sent"})
                self.assertEqual(client.read_answer(), 403)
                self.assertEqual(client.sock.recv(1), b"")
                client.sock.close()
                settle(lambda: socket.phase is Phase.GONE)
                self.assertEqual(self.ended, [])
                self.acknowledge(socket)
                self.assertEqual(self.ended, [socket])
                self.assertEqual(len(self.relay.sent), before)
        self.assertEqual(self.counters["websocket.refused.rejected"], 2)

    @in_hub
    def test_consumer_fails(self):
        socket, client = self.ask()
        self.acknowledge(socket, failed=True)
        self.assertEqual(client.read_answer(), 500)
        self.assertEqual(self.relay.kinds, ["connect", "disconnect"])

    @in_hub
    def test_message_to_a_group_does_not_accept(self):
        socket, client = self.ask()
        self.site.broadcast([socket], {"content": "to all"})
        self.assertIs(socket.phase, Phase.CONNECTING)
        self.acknowledge(socket)
        self.assertEqual(client.read_answer(), 101)
        self.assertEqual(client.read_text(), "to all")

    @in_hub
    def test_messages_to_a_group_fill_no_memory(self):
        self.start(unsent_frames=3)
        socket, client = self.ask()
        for _ in range(5):
            self.site.broadcast([socket], {"content": "to all"})
        self.assertEqual(client.read_answer(), 503)

    @in_hub
    def test_nobody_answers(self):
        socket, client = self.ask()
        self.tick(59)
        self.assertIs(socket.phase, Phase.CONNECTING)
        with self.assertLogs(LOGGER, "WARNING") as logs:
            self.tick(2)
        self.assertIn("was not acknowledged within 60 seconds", logs.output[0])
        self.assertEqual(client.read_answer(), 504)
        self.assertEqual(self.relay.kinds, ["connect", "disconnect"])
        self.assertEqual(self.relay.sent[1].message["code"], 1006)

    @in_hub
    def test_store_does_not_take_the_message(self):
        for error, kinds in [
            (ChannelFull("full"), ["connect"]),
            (BackendUnavailable("away"), ["connect", "disconnect"]),
        ]:
            with self.subTest(error=error):
                self.start()
                socket, client = self.ask()
                self.relay.sent[0].failed(error)
                self.assertEqual(client.read_answer(), 503)
                self.assertEqual(self.relay.kinds, kinds)

    @in_hub
    def test_client_leaves_before_the_answer(self):
        socket, client = self.ask()
        client.sock.close()
        self.acknowledge(socket)
        self.assertEqual(self.next_sent(2).kind, "disconnect")
        self.assertEqual(self.relay.sent[1].message["code"], 1006)
        self.acknowledge(socket)
        self.assertEqual(self.left, [socket])
        self.assertEqual(self.ended, [socket])

    @in_hub
    def test_bytes_that_were_read_ahead(self):
        socket, client = self.connect(ahead=frame(TEXT, b"early"))
        self.next_sent(2)
        self.assertEqual(self.relay.texts, ["early"])

    @in_hub
    def test_nodelay(self):
        socket, client = self.connect(pair=loopback_pair)
        option = socket._wire.sock.getsockopt(6, 1)
        self.assertTrue(option)
        self.assertEqual(socket._wire.sock.gettimeout(), 0)


def status_of(request):
    """Return the status of the answer to a handshake, and the headers to add."""
    try:
        Handshake(request)
    except Refusal as refusal:
        return refusal.status, dict(refusal.headers)
    return 101, {}


@override_settings(ALLOWED_HOSTS=["example.com", "other.example.com", "[2001:db8::1]"])
class RefusalTests(SimpleTestCase):
    def test_requests(self):
        key, version = "Sec-WebSocket-Key", "Sec-WebSocket-Version"
        for name, request, status in [
            ("post", upgrade(method="POST"), 405),
            ("head", upgrade(method="HEAD"), 405),
            ("HTTP/1.0", upgrade(protocol="HTTP/1.0"), 505),
            ("HTTP/2", upgrade(protocol="HTTP/2"), 505),
            ("no version", upgrade(without=[version]), 426),
            ("version 7", upgrade((version, "7")), 426),
            ("version 8", upgrade((version, "8")), 426),
            ("version 14", upgrade((version, "14")), 426),
            ("two versions", upgrade((version, "13"), (version, "8")), 426),
            ("list of versions", upgrade((version, "13, 8")), 426),
            ("no key", upgrade(without=[key]), 400),
            ("short key", upgrade((key, "c2hvcnQ=")), 400),
            ("long key", upgrade((key, "dGhlIHNhbXBsZSBub25jZSBsb25n")), 400),
            ("key not base64", upgrade((key, "the sample nonce!!!!!!!!")), 400),
            ("key not ASCII", upgrade((key, "dGhlIHNhbXBsZSBub25jZQé=")), 400),
            ("two keys", upgrade((key, "a"), (key, "b")), 400),
            ("no upgrade", upgrade(without=["Upgrade"]), 426),
            ("other upgrade", upgrade(("Upgrade", "h2c")), 426),
            ("connection", upgrade(("Connection", "keep-alive")), 426),
            ("connection syntax", upgrade(("Connection", "Upgrade;;=")), 400),
            ("body", upgrade(("Content-Length", "5")), 400),
            ("chunks", upgrade(("Transfer-Encoding", "chunked")), 400),
            ("subprotocol", upgrade(("Sec-WebSocket-Protocol", "a b, ;")), 400),
            ("host", upgrade(("Host", "evil.example")), 400),
            ("header", upgrade(("Sec-WebSocket-Protocol", "a\r\nX: y")), 400),
            ("upper case", upgrade(("Upgrade", "WebSocket")), 101),
            ("empty body", upgrade(("Content-Length", "0")), 101),
        ]:
            with self.subTest(name):
                self.assertEqual(status_of(request)[0], status)

    def test_version_that_would_do(self):
        _, headers = status_of(upgrade(("Sec-WebSocket-Version", "8")))
        self.assertEqual(headers["Sec-WebSocket-Version"], "13")

    def test_origins(self):
        for origin, host, status in [
            (None, "example.com", 101),
            ("http://example.com", "example.com", 101),
            ("https://example.com", "example.com", 101),
            ("https://EXAMPLE.com", "example.COM", 101),
            ("http://example.com", "example.com:80", 101),
            ("https://example.com", "example.com:443", 101),
            ("http://example.com:80", "example.com", 101),
            ("http://example.com:8000", "example.com:8000", 101),
            ("http://[2001:db8::1]:8000", "[2001:db8::1]:8000", 101),
            ("http://example.com:8000", "example.com:8001", 403),
            ("http://example.com", "example.com:8000", 403),
            ("http://example.com:8000", "example.com", 403),
            ("https://example.com", "example.com:80", 403),
            ("http://other.example.com", "example.com", 403),
            ("http://evil.example", "example.com", 403),
            ("http://example.com.evil.example", "example.com", 403),
            ("http://evil.example/example.com", "example.com", 403),
            ("http://example.com/", "example.com", 403),
            ("http://example.com@evil.example", "example.com", 403),
            ("http://user@example.com", "example.com", 403),
            ("http://exam\tple.com", "example.com", 403),
            ("ftp://example.com", "example.com", 403),
            ("chrome-extension://example.com", "example.com", 403),
            ("example.com", "example.com", 403),
            ("null", "example.com", 403),
            ("", "example.com", 403),
        ]:
            with self.subTest(origin=origin, host=host):
                request = upgrade(("Host", host), ("Origin", origin))
                self.assertEqual(status_of(request)[0], status)

    def test_two_origins(self):
        origin = ("Origin", "http://example.com")
        self.assertEqual(status_of(upgrade(origin, origin))[0], 403)

    def test_allowed_origins(self):
        for allowed, origin, status in [
            (["https://other.org"], "https://other.org", 101),
            (["https://other.org"], "https://OTHER.org:443", 101),
            (["https://other.org"], "http://other.org", 403),
            (["https://other.org"], "https://www.other.org", 403),
            (["https://other.org:8443"], "https://other.org:8443", 101),
            (["https://other.org"], "https://other.org:8443", 403),
            (["https://*.other.org"], "https://www.other.org", 101),
            (["https://*.other.org"], "https://a.b.other.org", 101),
            (["https://*.other.org"], "https://another.org", 403),
            (["https://*.other.org"], "https://other.org.evil.example", 403),
            (["https://*.other.org"], "null", 403),
            (["null"], "null", 101),
            (["*"], "null", 101),
            (["*"], "http://anything.example", 101),
            (["capacitor://localhost"], "capacitor://localhost", 101),
        ]:
            with (
                self.subTest(allowed=allowed, origin=origin),
                self.settings(CHANNELS_ALLOWED_ORIGINS=allowed),
            ):
                self.assertEqual(status_of(upgrade(("Origin", origin)))[0], status)

    @override_settings(USE_X_FORWARDED_HOST=True)
    def test_host_from_a_proxy(self):
        proxied = [("Host", "inside"), ("X-Forwarded-Host", "example.com")]
        for origin, status in [("http://example.com", 101), ("http://inside", 403)]:
            request = upgrade(*proxied, ("Origin", origin))
            self.assertEqual(status_of(request)[0], status)

    @override_settings(SECURE_PROXY_SSL_HEADER=("HTTP_X_FORWARDED_PROTO", "https"))
    def test_page_without_tls_may_not_open_one_with(self):
        for origin, status in [
            ("https://example.com", 101),
            ("http://example.com", 403),
        ]:
            request = upgrade(("X-Forwarded-Proto", "https"), ("Origin", origin))
            self.assertEqual(status_of(request)[0], status)


class RefusedSocketTests(WebSocketTestCase):
    @in_hub
    def test_nobody_hears_of_it(self):
        socket, client = self.ask(upgrade(("Origin", "http://evil.example")))
        self.assertEqual(client.read_answer(), 403)
        self.assertEqual(client.headers["Connection"], "close")
        self.assertEqual(client.body, b"The origin is not allowed.\n")
        self.assertEqual(client.sock.recv(1), b"")
        client.sock.close()
        settle(lambda: self.ended)
        self.assertEqual(self.relay.sent, [])
        self.assertEqual(self.counters["websocket.refused.origin"], 1)

    @in_hub
    def test_client_that_does_not_close(self):
        socket, client = self.ask(upgrade(method="POST"))
        self.tick(6)
        self.assertEqual(self.ended, [socket])


def deflate(data):
    """Return the payload of a compressed message (RFC 7692, section 7.2.1)."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -12)
    return (packer.compress(data) + packer.flush(zlib.Z_SYNC_FLUSH))[:-4]


BOMB = deflate(bytes(64 * MIB))


class HostileTests(WebSocketTestCase):
    # What a client sends, and the code of the close frame that it gets.
    frames = {
        "not masked": (frame(TEXT, b"a", masked=False), 1002),
        "not masked and empty": (frame(TEXT, masked=False), 1002),
        "close not masked": (frame(CLOSE, masked=False), 1002),
        "RSV1": (frame(TEXT, b"a", rsv=4), 1002),
        "RSV2": (frame(TEXT, b"a", rsv=2), 1002),
        "RSV3": (frame(BINARY, b"a", rsv=1), 1002),
        "RSV1 of a ping": (frame(PING, b"a", rsv=4), 1002),
        **{f"opcode {code}": (frame(code), 1002) for code in (3, 4, 5, 6, 7)},
        **{f"opcode {code}": (frame(code), 1002) for code in (11, 12, 13, 14, 15)},
        "ping too long": (frame(PING, bytes(126)), 1002),
        "pong too long": (frame(PONG, bytes(126)), 1002),
        "close too long": (frame(CLOSE, b"\x03\xe8" + b"a" * 124), 1002),
        "ping in fragments": (frame(PING, fin=0), 1002),
        "close in fragments": (frame(CLOSE, fin=0), 1002),
        "continues nothing": (frame(CONT, b"a"), 1002),
        "continues a whole message": (frame(TEXT, b"a") + frame(CONT, b"b"), 1002),
        "message within a message": (frame(TEXT, b"a", fin=0) + frame(TEXT), 1002),
        "binary within text": (frame(TEXT, b"a", fin=0) + frame(BINARY), 1002),
        "close within a message": (frame(TEXT, b"a", fin=0) + frame(CLOSE), 1002),
        "close of one byte": (frame(CLOSE, b"\x03"), 1002),
        **{
            f"close code {code}": (frame(CLOSE, code.to_bytes(2, "big")), 1002)
            for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535)
        },
        "reason not UTF-8": (frame(CLOSE, b"\x03\xe8\xff"), 1007),
        "text not UTF-8": (frame(TEXT, b"\xff"), 1007),
        "surrogate": (frame(TEXT, b"\xed\xa0\x80"), 1007),
        "overlong": (frame(TEXT, b"\xc0\xaf"), 1007),
        "above Unicode": (frame(TEXT, b"\xf4\x90\x80\x80"), 1007),
        "half a character": (frame(TEXT, b"\xe2\x82"), 1007),
        "half in the last fragment": (
            frame(TEXT, b"a", fin=0) + frame(CONT, b"\xe2\x82"),
            1007,
        ),
        "wrong in the first fragment": (frame(TEXT, b"a\xff", fin=0), 1007),
        "wrong in a later fragment": (
            frame(TEXT, b"\xe2", fin=0) + frame(CONT, b"a", fin=0),
            1007,
        ),
        "1 MiB and a byte": (frame(BINARY, bytes(MIB + 1)), 1009),
        "1 MiB and a byte in fragments": (
            frame(BINARY, bytes(MIB), fin=0) + frame(CONT, b"a"),
            1009,
        ),
        "1 GiB announced": (frame(BINARY, length=2**30), 1009),
        "ping of 1 GiB announced": (frame(PING, length=2**30), 1009),
        "2 ** 63 announced": (frame(BINARY, length=2**63), 1009),
        "2 ** 64 - 1 announced": (frame(BINARY, length=2**64 - 1), 1009),
        "1,001 fragments": (frame(TEXT, fin=0) + frame(CONT, fin=0) * 1000, 1009),
        "request of HTTP": (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", 1002),
        "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 1002),
    }

    @in_hub
    def test_frames(self):
        for name, (data, code) in self.frames.items():
            with self.subTest(name):
                self.start()
                self.ended.clear()
                socket, client = self.connect()
                writer = gevent.spawn(client.write, data)
                self.assertEqual(client.read_close(), code)
                writer.join()
                client.sock.close()
                self.work(socket)
                self.assertEqual(self.relay.kinds[-1], "disconnect")
                self.assertEqual(self.relay.sent[-1].message["code"], 1006)
                self.assertEqual(sum(self.counters.values()), 2, self.counters)

    @in_hub
    def test_byte_by_byte(self):
        for name in ["RSV2", "text not UTF-8", "close code 1005", "1 GiB announced"]:
            data, code = self.frames[name]
            with self.subTest(name):
                socket, client = self.connect()
                for byte in data:
                    client.write(bytes([byte]))
                    gevent.sleep(0)
                self.assertEqual(client.read_close(), code)

    @in_hub
    def test_what_came_before_is_heard(self):
        socket, client = self.connect()
        client.write(frame(TEXT, b"good") + frame(3))
        self.assertEqual(client.read_close(), 1002)
        self.assertEqual(self.relay.texts, ["good"])

    @in_hub
    def test_data_after_close_is_dropped(self):
        socket, client = self.connect()
        client.write(frame(CLOSE, b"\x0f\xa1bye") + frame(TEXT, b"late") * 1000)
        self.assertEqual(client.read_close(), 4001)
        self.assertIsNone(client.read())
        client.write(frame(TEXT, b"later"))
        client.sock.close()
        self.work(socket)
        self.assertEqual(self.relay.kinds, ["connect", "disconnect"])
        self.assertEqual(self.relay.sent[1].message["code"], 4001)

    @in_hub
    def test_flood_of_small_frames_stays_bounded(self):
        socket, client = self.connect()
        gevent.spawn(client.write, frame(TEXT) * 100_000)
        self.next_sent(2)
        settle(lambda: socket._wire.is_paused)
        self.assertLess(len(socket._reports.turns._waiting), 1000)
        self.assertLessEqual(len(socket._unread), 2**14)
        self.assertEqual(self.relay.kinds, ["connect", "receive"])

    @in_hub
    def test_flood_of_pings_that_nobody_reads(self):
        self.start(unsent_bytes=10_000)
        socket, client = self.connect()
        flood = gevent.spawn(client.write, frame(PING, bytes(125)) * 100_000)
        settle(lambda: self.counters["websocket.slow"])
        self.tick(6)
        self.assertIs(socket.phase, Phase.GONE)
        flood.kill()

    @in_hub
    def test_rate(self):
        self.start(rate=10)
        socket, client = self.connect()
        client.send(*["a"] * 10)
        self.next_sent(2)
        self.tick(0.5)
        client.send(*["b"] * 5)
        settle(lambda: not socket._wire.is_paused)
        client.send("c")
        self.assertEqual(client.read_close(), 1008)
        self.assertEqual(self.counters["websocket.rate"], 1)

    @in_hub
    def test_largest_of_all(self):
        socket, client = self.connect()
        whole = "é" * (MIB // 2)
        data = whole.encode()
        gevent.spawn(
            client.write,
            frame(TEXT, data)
            # A byte at a time in the middle of a character, with pings between.
            + frame(TEXT, data[:-1], fin=0)
            + frame(PING, bytes(125))
            + frame(CONT, fin=0) * 997
            + frame(CONT, data[-1:], fin=0)
            + frame(PING, bytes(125))
            + frame(CONT),
        )
        for count in [2, 3]:
            sent = self.next_sent(count)
            self.assertEqual(sent.message["data"], {"content": whole})
            self.acknowledge(socket)
        self.assertEqual(client.read().opcode, PONG)
        self.assertEqual(client.read().opcode, PONG)


class CompressionTests(WebSocketTestCase):
    options = {"compression": True}
    offer = ("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits")

    def connect_compressed(self):
        return self.connect(
            upgrade(self.offer), extensions=[PerMessageDeflate(True, True, 12, 15)]
        )

    @in_hub
    def test_messages(self):
        socket, client = self.connect_compressed()
        answer = client.headers["Sec-WebSocket-Extensions"]
        self.assertIn("server_no_context_takeover", answer)
        self.assertIn("client_no_context_takeover", answer)
        text = "compressible " * 1000
        client.send(text)
        self.next_sent(2)
        self.assertEqual(self.relay.texts, [text])
        with mock.patch.object(socket._wire, "write", wraps=None) as write:
            socket.deliver({"content": text})
        self.assertLess(len(write.call_args[0][0]), 1000)
        for content in [text, "short"]:
            socket.deliver({"content": content})
            self.assertEqual(client.read_text(), content)

    @in_hub
    def test_broadcast(self):
        socket, client = self.connect_compressed()
        self.site.broadcast([socket], {"content": "a" * 1000})
        self.assertEqual(client.read_text(), "a" * 1000)

    @in_hub
    def test_no_memory_between_messages(self):
        socket, client = self.connect_compressed()
        client.send("a" * 1000)
        self.next_sent(2)
        socket.deliver({"content": "b" * 1000})
        client.read_text()
        [extension] = socket._framing._protocol.extensions
        self.assertFalse(hasattr(extension, "decoder"))
        self.assertFalse(hasattr(extension, "encoder"))

    @in_hub
    def test_hostile(self):
        half = len(BOMB) // 2
        many = deflate(bytes(MIB // 2))
        for name, data, code in [
            ("bomb", frame(BINARY, BOMB, rsv=4), 1009),
            ("bomb of text", frame(TEXT, BOMB, rsv=4), 1009),
            (
                "bomb in fragments",
                frame(BINARY, BOMB[:half], rsv=4, fin=0) + frame(CONT, BOMB[half:]),
                1009,
            ),
            (
                "bomb after 1 MiB",
                frame(BINARY, deflate(bytes(MIB)) + b"\0\0\xff\xff", rsv=4, fin=0)
                + frame(CONT, BOMB),
                1009,
            ),
            (
                "pieces of a bomb",
                frame(BINARY, many + b"\0\0\xff\xff", rsv=4, fin=0)
                + frame(CONT, many + b"\0\0\xff\xff", fin=0)
                + frame(CONT, many),
                1009,
            ),
            ("not compressed", frame(TEXT, b"\xff" * 50, rsv=4), 1002),
            ("not UTF-8", frame(TEXT, deflate(b"\xff" * 9), rsv=4), 1007),
            ("RSV1 later", frame(TEXT, fin=0) + frame(CONT, rsv=4), 1002),
            ("RSV1 of a ping", frame(PING, rsv=4), 1002),
            ("RSV2", frame(TEXT, deflate(b"a"), rsv=6), 1002),
        ]:
            with self.subTest(name):
                socket, client = self.connect_compressed()
                gevent.spawn(client.write, data)
                self.assertEqual(client.read_close(), code)

    @in_hub
    def test_is_off_by_default(self):
        self.start(compression=False)
        socket, client = self.connect(upgrade(self.offer))
        self.assertNotIn("Sec-WebSocket-Extensions", client.headers)

    @in_hub
    def test_offer_that_cannot_be_met(self):
        offer = "permessage-deflate; server_max_window_bits=8, x-unknown"
        socket, client = self.connect(upgrade((self.offer[0], offer)))
        self.assertNotIn("Sec-WebSocket-Extensions", client.headers)


class OrderTests(WebSocketTestCase):
    @in_hub
    def test_receive_message(self):
        socket, client = self.connect()
        client.send("grüß", b"\0\xff")
        sent = self.next_sent(2)
        self.assertEqual(sent.channel, "django.websocket.receive")
        self.assertEqual(
            sent.message,
            {
                "send_channel": "tests.sockets!1",
                "path": "/chat/",
                "GET": [["room", "1"]],
                "client": ["192.0.2.7", 50312],
                "state": {},
                "data": {"content": "grüß"},
                "acknowledge": 2,
            },
        )
        self.acknowledge(socket)
        self.assertEqual(self.next_sent(3).message["data"], {"bytes": "AP8="})

    @in_hub
    def test_empty_messages(self):
        socket, client = self.connect()
        client.send("", b"")
        self.assertEqual(self.next_sent(2).message["data"], {"content": ""})
        self.acknowledge(socket)
        self.assertEqual(self.next_sent(3).message["data"], {"bytes": ""})

    @in_hub
    def test_one_message_at_a_time(self):
        socket, client = self.connect()
        client.send(*"abc")
        client.close(4000)
        for count, kind in enumerate(["receive"] * 3 + ["disconnect"], 2):
            self.assertEqual(self.next_sent(count).kind, kind)
            gevent.sleep(0.01)
            self.assertEqual(len(self.relay.sent), count)
            self.acknowledge(socket)
        self.assertEqual(self.relay.texts, ["a", "b", "c"])
        self.assertEqual(self.relay.sent[-1].message["code"], 4000)
        self.assertEqual(self.ended, [])
        client.sock.close()
        settle(lambda: self.ended == [socket])
        self.assertEqual(len(self.site), 0)

    @in_hub
    def test_nothing_is_received_before_connect_is_done(self):
        socket, client = self.ask()
        socket.deliver({"accept": True})
        client.read_answer()
        client.send("a")
        client.close()
        client.sock.close()
        gevent.sleep(0.01)
        self.assertEqual(self.relay.kinds, ["connect"])
        self.work(socket)
        self.assertEqual(self.relay.kinds, ["connect", "receive", "disconnect"])
        self.assertEqual(self.relay.sent[2].message["code"], 1005)

    @in_hub
    def test_other_acknowledgements_are_ignored(self):
        socket, client = self.connect()
        client.send("a", "b")
        self.next_sent(2)
        for number in [1, 3, 0, -1, "2", None, [2], True]:
            socket.deliver({"acknowledged": number})
        self.assertEqual(self.relay.texts, ["a"])
        socket.deliver({"acknowledged": 2})
        socket.deliver({"acknowledged": 2})
        self.assertEqual(self.relay.texts, ["a", "b"])

    @in_hub
    def test_failed_consumer_releases_the_socket(self):
        socket, client = self.connect()
        client.send("a", "b")
        self.next_sent(2)
        self.acknowledge(socket, failed=True)
        self.assertEqual(self.relay.texts, ["a", "b"])
        self.assertIs(socket.phase, Phase.OPEN)

    @in_hub
    def test_lost_worker_releases_the_socket(self):
        socket, client = self.connect()
        client.send("a", "b")
        self.next_sent(2)
        self.now += 30
        client.write(frame(PONG))
        settle(lambda: socket.timing.heard == self.now)
        self.tick(29)
        self.assertEqual(self.relay.texts, ["a"])
        with self.assertLogs(LOGGER, "WARNING"):
            self.tick(2)
        self.assertEqual(self.relay.texts, ["a", "b"])
        self.assertEqual(self.counters["websocket.lost_worker"], 1)
        socket.deliver({"acknowledged": 2})
        self.assertEqual(self.relay.texts, ["a", "b"])

    @in_hub
    def test_lost_worker_of_the_disconnect_message(self):
        socket, client = self.connect()
        client.sock.close()
        self.next_sent(2)
        with self.assertLogs(LOGGER, "WARNING"):
            self.tick(61)
        self.assertEqual(self.ended, [socket])

    @in_hub
    def test_without_order(self):
        registry.get("django.websocket.receive").ordered = False
        socket, client = self.ask()
        socket.deliver({"accept": True})
        client.read_answer()
        client.send(*"abcd")
        client.close()
        client.sock.close()
        settle(lambda: socket.phase is Phase.GONE)
        self.assertEqual(self.relay.kinds, ["connect"])
        socket.deliver({"acknowledged": 1})
        self.assertEqual(self.relay.kinds, ["connect"] + ["receive"] * 4)
        for number in [4, 2, 5]:
            socket.deliver({"acknowledged": number})
        self.assertEqual(len(self.relay.sent), 5)
        socket.deliver({"acknowledged": 3})
        self.assertEqual(self.relay.kinds[5:], ["disconnect"])

    @in_hub
    def test_without_order_workers_get_a_bounded_number(self):
        registry.get("django.websocket.receive").ordered = False
        self.start(waiting_frames=4)
        socket, client = self.connect()
        client.send(*"abcdefgh")
        self.next_sent(5)
        gevent.sleep(0.01)
        self.assertEqual(self.relay.texts, [*"abcd"])
        self.acknowledge(socket)
        self.assertEqual(self.relay.texts, [*"abcde"])

    @in_hub
    def test_store_is_full(self):
        socket, client = self.connect()
        client.send("a", "b")
        sent = self.next_sent(2)
        sent.failed(ChannelFull("full"))
        gevent.sleep(0.01)
        self.assertEqual(self.relay.texts, ["a"])
        self.tick(1)
        self.assertEqual(self.relay.texts, ["a", "a"])
        self.acknowledge(socket)
        self.assertEqual(self.relay.texts, ["a", "a", "b"])

    @in_hub
    def test_store_stays_full(self):
        socket, client = self.connect()
        client.send("a")
        self.next_sent(2).failed(ChannelFull("full"))
        self.tick(1)
        self.now += 61
        with self.assertLogs(LOGGER, "ERROR"):
            self.relay.sent[-1].failed(ChannelFull("full"))
        self.assertEqual(client.read_close(), 1013)
        self.assertEqual(self.relay.kinds[-1], "disconnect")

    @in_hub
    def test_store_is_away(self):
        socket, client = self.connect()
        client.send("a")
        sent = self.next_sent(2)
        with self.assertLogs(LOGGER, "ERROR") as logs:
            sent.failed(BackendUnavailable("The store is away."))
        self.assertIn("The store is away.", logs.output[0])
        self.assertEqual(client.read_close(), 1013)
        self.assertEqual(self.counters["websocket.not_sent"], 1)

    @in_hub
    def test_store_is_full_for_the_disconnect_message(self):
        socket, client = self.connect()
        client.sock.close()
        self.next_sent(2).failed(ChannelFull("full"))
        self.assertEqual(self.ended, [])
        self.tick(1)
        self.assertEqual(self.relay.kinds, ["connect", "disconnect", "disconnect"])
        self.acknowledge(socket)
        self.assertEqual(self.ended, [socket])

    @in_hub
    def test_store_is_away_for_the_disconnect_message(self):
        socket, client = self.connect()
        client.sock.close()
        sent = self.next_sent(2)
        with self.assertLogs(LOGGER, "ERROR"):
            sent.failed(BackendUnavailable("away"))
        self.assertEqual(self.ended, [socket])

    @in_hub
    def test_state(self):
        socket, client = self.ask()
        socket.deliver({"state": {"user": 7}})
        self.assertIs(socket.phase, Phase.CONNECTING)
        self.acknowledge(socket)
        client.read_answer()
        client.send("a", "b")
        client.close()
        sent = self.next_sent(2)
        self.assertEqual(sent.message["state"], {"user": 7})
        sent.message["state"]["user"] = 8
        socket.deliver({"state": {"room": [1]}, "content": "hello"})
        self.assertEqual(client.read_text(), "hello")
        for count in [3, 4]:
            self.acknowledge(socket)
            sent = self.next_sent(count)
            self.assertEqual(sent.message["state"], {"room": [1]})
            sent.message["state"]["room"].append(2)
            sent.message["GET"].append("changed")
            sent.message["client"].append("changed")
        self.assertEqual(sent.kind, "disconnect")
        self.assertEqual(len(sent.message["GET"]), 2)


class OneConsumerTests(WebSocketTestCase):
    consumers = ("receive",)

    @in_hub
    def test_channels_without_consumer_are_not_sent(self):
        socket, client = self.connect()
        client.send("a")
        self.next_sent(1)
        client.sock.close()
        self.work(socket)
        self.assertEqual(self.relay.kinds, ["receive"])
        self.assertEqual(self.left, [socket])


class PressureTests(WebSocketTestCase):
    @in_hub
    def test_slow_consumer_stops_the_reading(self):
        for limits, size in [({}, 1), ({"waiting_bytes": 10_000}, 2000)]:
            with self.subTest(limits=limits):
                self.start(**limits)
                socket, client = self.connect()
                texts = [f"{number:04}" + "x" * size for number in range(3000)]
                writer = gevent.spawn(lambda: [client.send(text) for text in texts])
                settle(lambda: socket._wire.is_paused)
                gevent.sleep(0.01)
                self.assertEqual(len(self.relay.texts), 1)
                self.assertLess(len(socket._reports.turns._waiting), 700)
                # Whoever works through them hears all, in order.
                for count in range(2, 3002):
                    self.next_sent(count)
                    self.acknowledge(socket)
                self.assertEqual(self.relay.texts, texts)
                writer.join()

    @in_hub
    def test_close_is_heard_after_pressure(self):
        socket, client = self.connect()
        client.send(*["a"] * 100)
        client.close(4000)
        client.sock.close()
        self.work(socket)
        self.assertEqual(len(self.relay.texts), 100)
        self.assertEqual(self.relay.sent[-1].message["code"], 4000)

    @in_hub
    def test_paused_socket_is_not_silent(self):
        socket, client = self.connect()
        client.send(*["a"] * 100)
        settle(lambda: socket._wire.is_paused)
        for _ in range(5):
            self.tick(11)
        self.assertIs(socket.phase, Phase.OPEN)

    @in_hub
    def test_slow_reader_is_closed_and_others_feel_nothing(self):
        slow, slow_client = self.connect()
        quick, quick_client = self.connect()
        text = "x" * 50_000
        for _ in range(200):
            self.site.broadcast([slow, quick], {"content": text})
            self.assertEqual(quick_client.read_text(), text)
        self.assertEqual(self.counters["websocket.slow"], 1)
        self.assertIs(slow.phase, Phase.LINGERING)
        self.assertIs(quick.phase, Phase.OPEN)
        self.assertLess(slow._wire._size, 60_000)
        self.assertEqual(slow_client.read_close(), 1013)
        self.assertEqual(self.relay.kinds[-1], "disconnect")

    @in_hub
    def test_reader_that_never_reads_is_cut_off(self):
        socket, client = self.connect(pair=loopback_pair)
        while socket.phase is Phase.OPEN:
            socket.deliver({"content": "x" * 100_000})
        self.assertEqual(self.left, [])
        self.tick(6)
        self.assertEqual(self.left, [socket])
        self.assertIs(socket.phase, Phase.GONE)

    @in_hub
    def test_number_of_unsent_messages(self):
        self.start(unsent_frames=3)
        socket, client = self.connect()
        socket.deliver({"content": "x" * 2_000_000})
        for _ in range(2):
            socket.deliver({"content": "small"})
        self.assertIs(socket.phase, Phase.OPEN)
        socket.deliver({"content": "too many"})
        self.assertIs(socket.phase, Phase.LINGERING)
        self.assertEqual(len(client.read_text()), 2_000_000)
        self.assertEqual(client.read_close(), 1013)

    @in_hub
    def test_large_message_arrives(self):
        socket, client = self.connect()
        text = "x" * (5 * MIB)
        socket.deliver({"content": text})
        socket.deliver({"content": "and more"})
        self.assertEqual(client.read_text(), text)
        self.assertEqual(client.read_text(), "and more")
        self.assertIsNone(socket._wire._writer)


class DeliveryTests(WebSocketTestCase):
    @in_hub
    def test_content(self):
        socket, client = self.connect()
        for message, opcode, data in [
            ({"content": "grüß"}, TEXT, "grüß".encode()),
            ({"content": ""}, TEXT, b""),
            ({"bytes": "AP8="}, BINARY, b"\0\xff"),
            ({"content": "x" * 200}, TEXT, b"x" * 200),
            ({"content": "x" * 70_000}, TEXT, b"x" * 70_000),
            ({"content": "a", "mimetype": "text/html", "reason": "OK"}, TEXT, b"a"),
        ]:
            with self.subTest(message=str(message)[:50]):
                socket.deliver(message)
                received = client.read()
                self.assertEqual((received.opcode, received.data), (opcode, data))

    @in_hub
    def test_wrong_messages_are_logged(self):
        socket, client = self.connect()
        for message, text in [
            ({}, "none of the keys"),
            ({"text": "a"}, "none of the keys"),
            ({"content": 7}, "'content' must be of the type str"),
            ({"content": None}, "'content' must be of the type str"),
            ({"content": "\ud800"}, "half a character"),
            ({"content": "a", "bytes": "Yg=="}, "both"),
            ({"bytes": "***"}, "'bytes' is not base64"),
            ({"bytes": ["Yg=="]}, "'bytes' must be of the type str"),
            ({"accept": 1}, "'accept'"),
            ({"subprotocol": True}, "'subprotocol'"),
            ({"close": "yes"}, "'close'"),
            *(
                ({"close": code}, "'close' must be true or a code")
                for code in [0, 999, 1004, 1005, 1006, 1010, 1015, 2999, 5000, -1]
            ),
            ({"close": True, "reason": "x" * 124}, "'reason'"),
            ({"close": True, "reason": "a\nb"}, "'reason'"),
            ({"close": True, "reason": 7}, "'reason'"),
            ({"state": ["a"]}, "'state'"),
            ({"state": {1: 2}}, "string"),
            ({"state": {"a": 1.5e999}}, "'a'"),
        ]:
            with self.subTest(message=message):
                with self.assertLogs(LOGGER, "ERROR") as logs:
                    socket.deliver(message)
                self.assertIn(text, logs.output[0])
                self.assertIn("tests.sockets!1", logs.output[0])
        socket.deliver({"content": "still there"})
        self.assertEqual(client.read_text(), "still there")

    @in_hub
    def test_close(self):
        for message, code in [
            ({"close": True}, 1000),
            ({"close": 4001, "reason": "Signed out"}, 4001),
            ({"close": 1001}, 1001),
            ({"close": 1014}, 1014),
        ]:
            with self.subTest(message=message):
                socket, client = self.connect()
                socket.deliver({**message, "content": "last"})
                socket.deliver({"content": "too late"})
                socket.deliver({"close": 4999})
                self.assertEqual(client.read_text(), "last")
                received = client.read()
                self.assertEqual(received.opcode, CLOSE)
                self.assertEqual(
                    received.data,
                    code.to_bytes(2, "big") + message.get("reason", "").encode(),
                )

    @in_hub
    def test_close_that_is_false(self):
        socket, client = self.connect()
        socket.deliver({"close": False, "content": "a"})
        self.assertEqual(client.read_text(), "a")
        self.assertIs(socket.phase, Phase.OPEN)


class ClosingTests(WebSocketTestCase):
    @in_hub
    def test_codes(self):
        for data, code in [
            (frame(CLOSE), 1005),
            (frame(CLOSE, b"\x03\xe8"), 1000),
            (frame(CLOSE, b"\x0f\xa0reason"), 4000),
            (b"", 1006),
            (frame(TEXT, b"unfinished")[:-3], 1006),
        ]:
            with self.subTest(data=data):
                self.start()
                socket, client = self.connect()
                client.write(data)
                client.sock.close()
                sent = self.next_sent(2)
                self.assertEqual(sent.channel, "django.websocket.disconnect")
                self.assertEqual(
                    sent.message,
                    {
                        "send_channel": socket.channel,
                        "path": "/chat/",
                        "GET": [["room", "1"]],
                        "client": ["192.0.2.7", 50312],
                        "state": {},
                        "code": code,
                        "acknowledge": 2,
                    },
                )

    @in_hub
    def test_client_answers(self):
        socket, client = self.connect()
        socket.deliver({"close": 4001})
        client.send("on its way")
        self.assertEqual(client.read_close(), 4001)
        # The protocol of the client has answered.
        client._flush()
        self.assertEqual(self.next_sent(2).message["code"], 4001)
        self.assertIsNone(client.read())
        client.sock.close()
        self.acknowledge(socket)
        settle(lambda: self.ended == [socket])
        self.assertEqual(self.relay.texts, [])

    @in_hub
    def test_client_does_not_answer(self):
        socket, client = self.connect()
        socket.deliver({"close": True})
        self.tick(4)
        self.assertIs(socket.phase, Phase.CLOSING)
        self.tick(2)
        self.assertEqual(self.left, [socket])
        self.assertEqual(self.relay.sent[1].message["code"], 1006)

    @in_hub
    def test_client_does_not_close_the_connection(self):
        socket, client = self.connect()
        client.close(1000)
        self.assertEqual(self.next_sent(2).message["code"], 1000)
        self.assertIs(socket.phase, Phase.LINGERING)
        self.acknowledge(socket)
        self.assertEqual(self.ended, [])
        self.tick(6)
        self.assertEqual(self.ended, [socket])

    @in_hub
    def test_reset(self):
        socket, client = self.connect(pair=loopback_pair)
        client.sock.setsockopt(1, 13, b"\1\0\0\0\0\0\0\0")
        client.sock.close()
        self.assertEqual(self.next_sent(2).message["code"], 1006)
        self.assertEqual(self.left, [socket])

    @in_hub
    def test_client_is_gone_while_something_is_sent(self):
        socket, client = self.connect(pair=loopback_pair)
        client.sock.close()
        for _ in range(100):
            socket.deliver({"content": "x" * 100_000})
        settle(lambda: self.left == [socket])
        self.assertEqual(self.relay.kinds, ["connect", "disconnect"])

    @in_hub
    def test_shutdown(self):
        opened, client = self.connect()
        asking, other = self.ask()
        self.site.close_all()
        self.assertEqual(client.read_close(), 1001)
        self.assertEqual(other.read_answer(), 503)
        for sock in [client.sock, other.sock]:
            sock.close()
        settle(lambda: len(self.left) == 2)
        self.assertEqual(self.relay.kinds, ["connect", "connect", "disconnect"])
        self.acknowledge(opened)
        asking.deliver({"acknowledged": 1})
        self.assertEqual(self.relay.kinds[3:], ["disconnect"])

    @in_hub
    def test_stop(self):
        socket, client = self.connect()
        client.send(*"abc")
        self.next_sent(2)
        self.site.stop()
        self.assertEqual(self.relay.kinds, ["connect", "receive", "disconnect"])
        self.assertEqual(self.left, [socket])
        self.assertEqual(self.ended, [socket])
        self.assertEqual(len(self.site), 0)
        socket.deliver({"content": "nobody hears"})
        socket.deliver({"acknowledged": 2})
        socket.close()
        socket.abort()
        self.assertEqual(len(self.relay.sent), 3)
        self.assertEqual(self.ended, [socket])

    @in_hub
    def test_fault_in_the_code_closes_one_socket(self):
        socket, client = self.connect()
        other, other_client = self.connect()
        with mock.patch.object(type(socket._framing), "feed", side_effect=KeyError):
            with self.assertLogs(LOGGER, "ERROR"):
                client.send("a")
                self.assertIsNone(client.read())
        other.deliver({"content": "a"})
        self.assertEqual(other_client.read_text(), "a")
        self.assertEqual(self.relay.kinds[-1], "disconnect")

    @in_hub
    def test_no_memory_is_left(self):
        socket, client = self.connect()
        framing = socket._framing
        client.close()
        client.sock.close()
        self.work(socket)
        self.assertIsNone(socket._wire)
        self.assertIsNone(socket._framing)
        self.assertIsNone(framing._protocol.parser)
        self.assertEqual(self.left, [socket])


class SilenceTests(WebSocketTestCase):
    @in_hub
    def test_ping_after_silence(self):
        socket, client = self.connect()
        self.tick(19)
        self.tick(2)
        self.assertEqual(client.read().opcode, PING)
        client._flush()
        settle(lambda: socket.timing.heard == self.now)
        self.tick(19)
        self.assertIs(socket.phase, Phase.OPEN)
        self.tick(2)
        self.assertEqual(client.read().opcode, PING)

    @in_hub
    def test_silent_client_is_closed(self):
        socket, client = self.connect()
        for _ in range(59):
            self.tick(1)
        self.assertIs(socket.phase, Phase.OPEN)
        self.tick(1)
        self.assertIs(socket.phase, Phase.LINGERING)
        self.assertEqual(self.relay.sent[-1].message["code"], 1006)
        self.assertEqual(client.read().opcode, PING)
        self.assertEqual(client.read_close(), 1011)
        self.assertEqual(self.counters["websocket.silent"], 1)
        self.tick(6)
        self.assertIs(socket.phase, Phase.GONE)

    @in_hub
    def test_client_that_talks_is_not_pinged(self):
        socket, client = self.connect()
        for _ in range(10):
            self.now += 15
            client.write(frame(PONG))
            settle(lambda: socket.timing.heard == self.now)
            self.site.check()
        client.send("a")
        self.next_sent(2)
        socket.deliver({"content": "b"})
        self.assertEqual(client.read_text(), "b")

    @in_hub
    def test_timer(self):
        self.start(ping_after=0)
        socket, client = self.connect()
        self.assertEqual(client.read().opcode, PING)

    @in_hub
    def test_nothing_is_due_for_most(self):
        socket, client = self.connect()
        with mock.patch.object(type(socket), "check") as check:
            self.tick(10)
        check.assert_not_called()

    @in_hub
    def test_fault_in_one_does_not_keep_others_waiting(self):
        sockets = [self.connect() for _ in range(3)]
        broken = sockets[1][0]
        with (
            mock.patch.object(
                type(broken),
                "_check_silence",
                autospec=True,
                side_effect=functools.partial(fail_for, broken),
            ),
            self.assertLogs(LOGGER, "ERROR"),
        ):
            self.tick(30)
        self.assertIs(broken.phase, Phase.GONE)
        self.assertIs(sockets[2][0].phase, Phase.OPEN)


def fail_for(broken, socket, now):
    if socket is broken:
        raise KeyError("fault")


class BroadcastTests(WebSocketTestCase):
    @in_hub
    def test_all_receive(self):
        pairs = [self.connect() for _ in range(20)]
        sockets = [socket for socket, _ in pairs]
        for message, data in [
            ({"content": "grüß"}, "grüß".encode()),
            ({"bytes": "AP8="}, b"\0\xff"),
            ({"content": "a", "mimetype": "text/plain", "status": 200}, b"a"),
        ]:
            self.site.broadcast(iter(sockets), message)
            for _, client in pairs:
                self.assertEqual(client.read().data, data)

    @in_hub
    def test_frame_is_made_once(self):
        sockets = [self.connect()[0] for _ in range(3)]
        path = "django.channels.interfaces.server.websockets.encode_frame"
        with mock.patch(path, return_value=b"") as encode:
            self.site.broadcast(sockets, {"content": "a"})
        encode.assert_called_once()

    @in_hub
    def test_who_is_gone_is_left_out(self):
        (gone, client), (there, other) = self.connect(), self.connect()
        gone.abort()
        self.site.broadcast([gone, there], {"content": "a"})
        self.assertEqual(other.read_text(), "a")

    @in_hub
    def test_close_and_state(self):
        pairs = [self.connect() for _ in range(2)]
        sockets = [socket for socket, _ in pairs]
        self.site.broadcast(sockets, {"state": {"a": 1}, "content": "b"})
        self.site.broadcast(sockets, {"close": 4000, "content": "c"})
        for _, client in pairs:
            self.assertEqual(client.read_text(), "b")
            self.assertEqual(client.read_text(), "c")
            self.assertEqual(client.read_close(), 4000)

    @in_hub
    def test_wrong_message_is_logged_once(self):
        sockets = [self.connect()[0] for _ in range(3)]
        with self.assertLogs(LOGGER, "ERROR") as logs:
            self.site.broadcast(sockets, {"content": 7})
        self.assertEqual(len(logs.output), 1)


class MemoryTests(WebSocketTestCase):
    @in_hub
    def test_idle_sockets_are_small(self):
        import tracemalloc

        self.start()
        for _ in range(5):
            self.connect()
        pairs = [connected_pair() for _ in range(100)]
        requests = [upgrade() for _ in range(100)]
        self.relay.sent.clear()
        gc.collect()
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            for number, (server, _) in enumerate(pairs):
                socket = self.site.open(server, f"tests.s!{number}", requests[number])
                self.acknowledge(socket)
            self.relay.sent.clear()
            requests.clear()
            gevent.sleep(0.01)
            gc.collect()
            after, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        self.assertEqual(len(self.site), 105)
        self.assertLess((after - before) / 100, 7000)
