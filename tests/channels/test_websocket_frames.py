import zlib
from unittest import mock

# First, as it skips this module where gevent is missing.
from .sockets import WebSocketTestCase, frame, in_hub, settle, upgrade

# isort: split

import gevent
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import BINARY, CLOSE, CONT, PING, PONG, TEXT

from django.channels.interfaces.server import backlogs, sockets
from django.channels.interfaces.server.deflating import INTAKE, SLICE, Inflater
from django.channels.interfaces.server.phases import Phase
from django.channels.interfaces.server.reports import Reports

MIB = 2**20


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
                writer = self.spawn(client.write, data)
                self.assertEqual(client.read_close(), code)
                writer.join()
                client.sock.close()
                self.work(socket)
                self.assertEqual(self.relay.kinds[-1], "disconnect")
                self.assertEqual(self.relay.sent[-1].message["code"], 1006)
                self.assertEqual(self.counters["websocket.closed.1006"], 1)
                # That it was accepted, and why it has failed.
                told = self.counters.beside("websocket.closed.", "websocket.received")
                self.assertEqual(sum(told.values()), 2, told)

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
    def test_close_in_the_middle_of_a_message_is_no_fault(self):
        socket, client = self.connect()
        client.write(frame(TEXT, b"half", fin=False) + frame(CLOSE, b"\x03\xe8"))
        self.assertEqual(client.read_close(), 1000)

    @in_hub
    def test_flood_of_small_frames_stays_bounded(self):
        socket, client = self.connect()
        self.spawn(client.write, frame(TEXT) * 100_000)
        self.next_sent(2)
        settle(lambda: socket._wire.is_paused)
        self.assertLess(len(socket._reports.turns._waiting), 1000)
        self.assertLessEqual(len(socket._unread), 2**14)
        self.assertEqual(self.relay.kinds, ["connect", "receive"])

    @in_hub
    def test_flood_of_pings_that_nobody_reads(self):
        self.start(unsent_bytes=10_000)
        socket, client = self.connect()
        flood = self.spawn(client.write, frame(PING, bytes(125)) * 100_000)
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
        self.spawn(
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
        with mock.patch.object(type(socket._wire), "write", return_value=True) as write:
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
        framing = socket._framing
        self.assertIsNone(framing._assembly)
        self.assertIsNone(framing._work)
        [extension] = framing._protocol.extensions
        self.assertFalse(hasattr(extension.encode.__self__, "decoder"))
        self.assertFalse(hasattr(extension.encode.__self__, "encoder"))

    @in_hub
    def test_largest_messages_in_their_order(self):
        socket, client = self.connect_compressed()
        texts = ["a" * MIB, "b", "c" * SLICE, "", "d" * 2 * SLICE, "é" * (MIB // 2)]
        self.spawn(
            client.write,
            b"".join(
                frame(PING, b"p") + frame(TEXT, deflate(text.encode()), rsv=4)
                for text in texts
            )
            + frame(CLOSE, b"\x03\xe8"),
        )
        for count, text in enumerate(texts, 2):
            self.assertEqual(self.next_sent(count).message["data"]["content"], text)
            self.acknowledge(socket)
        for _ in texts:
            self.assertEqual(client.read().opcode, PONG)
        self.assertEqual(client.read_close(), 1000)

    @in_hub
    def test_others_have_their_turn_between_two_slices(self):
        busy, client = self.connect_compressed()
        quick, other = self.connect_compressed()
        turns = []

        def note_slices(inflater, data, is_last):
            # Meanwhile something comes from the other.
            other.sock.send(frame(TEXT, b"b"))
            for part in slices(inflater, data, is_last):
                turns.append("slice")
                yield part

        def note_message(reports, message, size):
            turns.append(message[0])
            return receive(reports, message, size)

        slices, receive = Inflater.slices, Reports.receive
        with (
            mock.patch.object(Inflater, "slices", note_slices),
            mock.patch.object(Reports, "receive", note_message),
            mock.patch.object(sockets, "TURN", 0),
            mock.patch.object(backlogs, "TURN", 0.0001),
        ):
            self.spawn(client.write, frame(TEXT, deflate(b"a" * MIB), rsv=4))
            settle(lambda: "a" in turns)
        self.assertEqual(turns.count("slice"), MIB // SLICE + 1)
        self.assertIn("slice", turns[turns.index("b") :])

    @in_hub
    def test_a_server_may_close_between_two_slices(self):
        socket, client = self.connect_compressed()
        with mock.patch.object(sockets, "TURN", 0):
            data = frame(TEXT, deflate(b"a" * MIB), rsv=4) + frame(PING, b"p")
            self.spawn(client.write, data)
            settle(lambda: socket._framing.is_busy)
            socket.deliver({"content": "before"})
            socket.deliver({"close": 4000})
            self.assertEqual(client.read_text(), "before")
            self.assertEqual(client.read_close(), 4000)
            client.write(frame(CLOSE, b"\x0f\xa0"))
            self.assertEqual(self.next_sent(2).message["code"], 4000)
        self.assertEqual(self.relay.kinds, ["connect", "disconnect"])

    @in_hub
    def test_a_client_may_close_behind_messages_that_come_too_late(self):
        socket, client = self.connect_compressed()
        socket.deliver({"close": 4000})
        late = frame(TEXT, deflate(b"late"), rsv=4)
        client.write(late * 3 + frame(CLOSE, b"\x0f\xa0"))
        self.assertEqual(self.next_sent(2).message["code"], 4000)
        self.assertEqual(self.relay.kinds, ["connect", "disconnect"])

    def test_blocks_without_content_are_taken_in_slices(self):
        blocks = b"\0\0\0\xff\xff" * INTAKE
        slices = list(Inflater().slices(blocks, is_last=False))
        self.assertEqual(slices, [b""] * 5)

    @in_hub
    def test_last_block(self):
        """A message may end with a block that says it is the last (7.2.3.5)."""
        socket, client = self.connect_compressed()
        packer = zlib.compressobj(9, zlib.DEFLATED, -12)
        data = packer.compress(b"ends") + packer.flush(zlib.Z_FINISH) + b"\0"
        client.write(frame(TEXT, data, rsv=4) * 2)
        for count in (2, 3):
            sent = self.next_sent(count)
            self.assertEqual(sent.message["data"], {"content": "ends"})
            self.acknowledge(socket)

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
                self.spawn(client.write, data)
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
