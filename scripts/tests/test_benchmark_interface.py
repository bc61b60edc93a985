"""Tests of the benchmark of the interface server: its measures and its clients."""

import select
import socket
import unittest

from benchmarks import interface
from benchmarks.interface_sockets import (
    CLOSE,
    MASK,
    PING,
    PONG,
    TEXT,
    client_frame,
    server_frame,
)

SENT, EXPECTED = client_frame(TEXT, b"sent"), server_frame(TEXT, b"expected")


class MeasureTests(unittest.TestCase):
    def test_each_figure_has_a_key_of_its_own(self):
        measures = interface.all_measures()
        keys = [part.key for measure in measures for part in measure.parts or [measure]]
        self.assertEqual(len(set(keys)), len(keys))

    def test_each_measure_can_be_chosen(self):
        chosen = {measure.key.split("-")[0] for measure in interface.all_measures()}
        self.assertEqual(chosen, set(interface.KEYS))


class FrameTests(unittest.TestCase):
    def test_the_example_of_the_rfc(self):
        # RFC 6455, section 5.7, with the same mask.
        frame = b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"
        self.assertEqual(client_frame(TEXT, b"Hello"), frame)
        self.assertEqual(server_frame(TEXT, b"Hello"), b"\x81\x05Hello")

    def test_lengths(self):
        for size, head in [
            (125, b"\x81\xfd"),
            (126, b"\x81\xfe\x00\x7e"),
            (65535, b"\x81\xfe\xff\xff"),
            (65536, b"\x81\xff\x00\x00\x00\x00\x00\x01\x00\x00"),
        ]:
            with self.subTest(size):
                frame = client_frame(TEXT, bytes(size))
                self.assertEqual(frame[: len(head) + 4], head + MASK)
                self.assertEqual(len(frame), len(head) + 4 + size)


@unittest.skipUnless(hasattr(select, "epoll"), "Needs epoll.")
class HolderTests(unittest.TestCase):
    def setUp(self):
        from benchmarks.interface_holding import Holder

        self.holder = Holder(SENT, EXPECTED)
        self.addCleanup(self.holder.epoll.close)
        self.servers = [self.add() for _ in range(2)]

    def add(self):
        """Have the holder hold a WebSocket, and return the end of the server."""
        client, server = socket.socketpair()
        self.addCleanup(client.close)
        self.addCleanup(server.close)
        client.setblocking(False)
        self.holder.add(client)
        return server

    def test_a_ping_is_answered(self):
        self.servers[0].send(server_frame(PING, b"some"))
        self.assertEqual(self.holder.keep(0.01), [2, 1])
        self.assertEqual(self.servers[0].recv(100), client_frame(PONG, b"some"))

    def test_a_broadcast_is_heard(self):
        for server in self.servers:
            server.send(server_frame(PING, b"") + EXPECTED)
        heard, began, last = self.holder.hear(20, sends=True)
        self.assertEqual(heard, 2)
        self.assertGreater(last, began)
        self.assertEqual(self.servers[0].recv(len(SENT)), SENT)

    def test_a_frame_comes_in_pieces(self):
        for server in self.servers:
            server.send(EXPECTED[:1])
        self.assertEqual(self.holder.hear(0.01, sends=False)[0], 0)
        for server in self.servers:
            server.send(EXPECTED[1:])
        self.assertEqual(self.holder.hear(20, sends=False)[0], 2)

    def test_other_frames_are_no_broadcast(self):
        for server in self.servers:
            server.send(server_frame(TEXT, b"Expected"))
        self.assertEqual(self.holder.hear(0.01, sends=False)[0], 0)

    def test_what_is_closed_is_not_open(self):
        self.servers[0].send(server_frame(CLOSE, b"\x03\xe9"))
        self.assertEqual(self.holder.keep(0.01), [1, 0])
        self.servers[1].close()
        self.assertEqual(self.holder.keep(0.01), [0, 0])
