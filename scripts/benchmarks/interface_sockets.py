"""WebSockets of clients: plain sockets, with frames made by hand (RFC 6455)."""

import select
import socket
from contextlib import contextmanager

from fork.base import Problem

TIMEOUT = 30  # Seconds.
HOST = "127.0.0.1"

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
FINAL, COMPRESSED = 0x80, 0x40
MASK = b"\x37\xfa\x21\x3d"

# Handshakes that are under way at once.
TOGETHER = 64


def dial(port, source=HOST):
    """Return a connection of the address ``source``."""
    connection = socket.socket()
    connection.settimeout(TIMEOUT)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if source != HOST:
        connection.bind((source, 0))
    connection.connect((HOST, port))
    return connection


def length_bytes(size, masked):
    """Return the bytes of a frame's head that tell the length of its payload."""
    bit = 0x80 if masked else 0
    if size < 126:
        return bytes([bit | size])
    if size < 2**16:
        return bytes([bit | 126]) + size.to_bytes(2, "big")
    return bytes([bit | 127]) + size.to_bytes(8, "big")


def client_frame(opcode, payload, flags=FINAL):
    """Return a frame as clients send it."""
    size = len(payload)
    key = int.from_bytes((MASK * (size // 4 + 1))[:size], "big")
    masked = (int.from_bytes(payload, "big") ^ key).to_bytes(size, "big")
    return bytes([flags | opcode]) + length_bytes(size, True) + MASK + masked


def server_frame(opcode, payload):
    """Return a frame as servers send it."""
    return bytes([FINAL | opcode]) + length_bytes(len(payload), False) + payload


def handshake(path, *headers):
    """Return the bytes of an opening handshake."""
    lines = [
        f"GET {path} HTTP/1.1",
        f"Host: {HOST}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        *headers,
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def receive_answer(connection):
    """Receive the answer to an opening handshake, which has to accept."""
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        received = connection.recv(4096)
        answer += received
        if not received or not answer.startswith(b"HTTP/1.1 101"[: len(answer)]):
            raise Problem(f"A handshake was answered with {answer[:60]!r}.")


def open_sockets(port, path, count, source=HOST):
    """Return so many open WebSockets, as non-blocking sockets."""
    opened, data = [], handshake(path)
    while len(opened) < count:
        batch = [dial(port, source) for _ in range(min(TOGETHER, count - len(opened)))]
        for connection in batch:
            connection.sendall(data)
        for connection in batch:
            receive_answer(connection)
            connection.setblocking(False)
        opened += batch
    return opened


@contextmanager
def watched(port, path, count):
    """
    Give an epoll object that watches so many open WebSockets, and a dict of them
    by descriptor. They are closed with the context.
    """
    sockets = {sock.fileno(): sock for sock in open_sockets(port, path, count)}
    with select.epoll(count) as epoll:
        try:
            for fd in sockets:
                epoll.register(fd, select.EPOLLIN)
            yield epoll, sockets
        finally:
            for connection in sockets.values():
                connection.close()


def wait(epoll):
    """Return the descriptors that have something to read, of which there is one."""
    events = epoll.poll(TIMEOUT)
    if not events:
        raise Problem(f"Nothing came for {TIMEOUT} seconds.")
    return [fd for fd, _ in events]


def receive(connection):
    """Return what has come, which must not be the end."""
    received = connection.recv(65536)
    if not received:
        raise Problem("The server closed a WebSocket.")
    return received
