"""
The process that does to a server what no honest client does.

It is asked as caller.py is. It gives way to other processes where there are too
few processors, for an attacker has some of its own.
"""

import os
import select
import time
import zlib
from itertools import cycle, repeat

from benchmarks.caller import serve
from benchmarks.interface_sockets import (
    BINARY,
    COMPRESSED,
    FINAL,
    MASK,
    TEXT,
    client_frame,
    dial,
    handshake,
    length_bytes,
)

SOCKET = "/echo/"
HOST = b"Host: 127.0.0.1\r\n"
BROKEN = [
    b"\r\n\r\n\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    b"GET /\r\n\r\n",
    b"GET / HTTP/9.9\r\n" + HOST + b"\r\n",
    b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + HOST + HOST + b"\r\n",
    b"GET / HTTP/1.1\r\nHost: elsewhere.example\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + HOST + b"X: " + b"x" * 2**17 + b"\r\n\r\n",
    b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n",
    b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n-5\r\n",
    b"GET /echo/ HTTP/1.1\r\n" + HOST + b"Upgrade: websocket\r\n\r\n",
]


def slow_heads(port, seconds):
    """Send heads byte by byte, on many connections."""
    head = b"GET / HTTP/1.1\r\n" + HOST + b"X: "
    return attack(port, seconds, 200, lambda: (head, *b"x" * 1000), pause=0.05)


def flood(port, seconds):
    """Send small frames, as many as are taken."""
    frames = client_frame(TEXT, b"x") * 500

    def script():
        yield handshake(SOCKET)
        yield from repeat(frames)

    return attack(port, seconds, 4, script)


def bomb(port, seconds):
    """Send messages of 16 KB that are 16 MB once they are decompressed."""
    deflate = zlib.compressobj(9, wbits=-15)
    data = deflate.compress(bytes(2**24)) + deflate.flush(zlib.Z_SYNC_FLUSH)
    frame = client_frame(BINARY, data[:-4], FINAL | COMPRESSED)
    opening = handshake(SOCKET, "Sec-WebSocket-Extensions: permessage-deflate")
    return attack(port, seconds, 4, lambda: (opening, frame))


def large_frames(port, seconds):
    """Announce frames of 1 GB, and begin to send them."""
    frame = bytes([FINAL | BINARY]) + length_bytes(2**30, True) + MASK + bytes(2**16)
    return attack(port, seconds, 4, lambda: (handshake(SOCKET), frame))


def broken_requests(port, seconds):
    """Send requests that are none."""
    requests = cycle(BROKEN)
    return attack(port, seconds, 8, lambda: (next(requests),))


def attack(port, seconds, connections, script, pause=0):
    """
    Keep so many connections busy, with what ``script()`` gives for each: bytes to
    send, or a byte as a number, one after another. What ends is begun anew. Return
    how many bytes were sent.
    """
    attackers, sent = {}, 0
    end = time.monotonic() + seconds
    with select.epoll() as epoll:
        while time.monotonic() < end:
            while len(attackers) < connections:
                attacker = Attacker(dial(port), script())
                attackers[attacker.fileno()] = attacker
                epoll.register(attacker, select.EPOLLIN | select.EPOLLOUT)
            for fd, event in epoll.poll(0.05):
                try:
                    if event & ~select.EPOLLOUT:
                        attackers[fd].receive()
                    if event & select.EPOLLOUT and not attackers[fd].is_done:
                        sent += attackers[fd].send()
                        if attackers[fd].is_done:
                            epoll.modify(fd, select.EPOLLIN)
                except OSError:
                    attackers.pop(fd).close()
            time.sleep(pause)
    for attacker in attackers.values():
        attacker.close()
    return sent


class Attacker:
    """A connection, and what is to be sent there."""

    def __init__(self, connection, script):
        self.connection = connection
        self.connection.setblocking(False)
        self.fileno = connection.fileno
        self.close = connection.close
        self.script = iter(script)
        self.unsent = b""
        self.is_done = False

    def receive(self):
        """Take what comes. Raise OSError at its end."""
        if not self.connection.recv(2**18):
            raise ConnectionError

    def send(self):
        """Send what is next, and return how many bytes have left."""
        if not self.unsent:
            part = next(self.script, b"")
            self.unsent = bytes([part]) if isinstance(part, int) else part
        if not self.unsent:
            self.is_done = True
            return 0
        count = self.connection.send(self.unsent)
        self.unsent = self.unsent[count:]
        return count


KINDS = {
    "slow heads": slow_heads,
    "a flood of frames": flood,
    "compression bombs": bomb,
    "frames of 1 GB": large_frames,
    "broken requests": broken_requests,
}


if __name__ == "__main__":
    os.nice(10)
    serve(KINDS.values())
