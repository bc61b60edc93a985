import socket as socketlib

# First, as it skips this module where gevent is missing.
from .sockets import (
    ACCEPT,
    WebSocketTestCase,
    frame,
    in_hub,
    loopback_pair,
    settle,
    upgrade,
)

# isort: split

from websockets.frames import TEXT

from django.channels import BackendUnavailable, ChannelFull
from django.channels.interfaces.server.handshakes import Handshake, Refusal
from django.channels.interfaces.server.phases import Phase
from django.channels.registry import registry
from django.test import SimpleTestCase, override_settings

LOGGER = "django.channels.interface"


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
                "scheme": "http",
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
        option = socket._wire.sock.getsockopt(
            socketlib.IPPROTO_TCP, socketlib.TCP_NODELAY
        )
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
            request = upgrade(("Origin", origin), scheme="https")
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
