import functools
import gc
import socket as socketlib
import struct
import tracemalloc
from unittest import mock

# First, as it skips this module where gevent is missing.
from .sockets import (
    WebSocketTestCase,
    connected_pair,
    frame,
    in_hub,
    loopback_pair,
    settle,
    upgrade,
)

# isort: split

import gevent
from websockets.frames import BINARY, CLOSE, PING, PONG, TEXT

from django.channels.interfaces.server.phases import Phase

LOGGER = "django.channels.interface"


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
        drop = struct.pack("ii", 1, 0)
        client.sock.setsockopt(socketlib.SOL_SOCKET, socketlib.SO_LINGER, drop)
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
        (gone, _), (there, other) = self.connect(), self.connect()
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
            for number, (server, client) in enumerate(pairs):
                self.socks.append(client)
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
