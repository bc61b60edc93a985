"""Idle WebSockets, which answer pings and wait for a broadcast."""

import select
import time

from benchmarks.interface_sockets import (
    CLOSE,
    HOST,
    PING,
    PONG,
    TOGETHER,
    client_frame,
    open_sockets,
)


class Holder:
    """
    Holds WebSockets open. ``sent`` is the frame that makes a consumer send to the
    group of all of them, and ``expected`` is what each of them gets then.
    """

    def __init__(self, sent, expected):
        self.sent = sent
        self.expected = expected
        self.epoll = select.epoll()
        self.sockets = {}
        self.pending = {}  # Descriptor -> bytes of a frame that is not whole.
        self.pings = 0
        self.heard_at = {}  # Descriptor -> time.

    def hold(self, port, path, count, source=HOST):
        """Open so many WebSockets from an address, and return how many are open."""
        while count > 0:
            batch = open_sockets(port, path, min(count, TOGETHER), source)
            count -= len(batch)
            for connection in batch:
                self.add(connection)
            self.take(0)
        return len(self.sockets)

    def add(self, connection):
        """Hold a WebSocket that is open, a non-blocking socket."""
        self.sockets[connection.fileno()] = connection
        self.epoll.register(connection, select.EPOLLIN)

    def keep(self, seconds):
        """
        Answer pings for so many seconds. Return how many WebSockets are open then,
        and how many pings there were.
        """
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.take(left)
        return [len(self.sockets), self.pings]

    def hear(self, seconds, sends):
        """
        Wait until all have heard the broadcast, for so many seconds at most, after
        one of them has sent it if ``sends`` is true. Return how many have heard, and
        when the frame was sent and the last of them heard, by the system's clock.
        """
        began, self.heard_at = time.monotonic(), {}
        if sends:
            next(iter(self.sockets.values())).send(self.sent)
        while len(self.heard_at) < len(self.sockets):
            if (left := began + seconds - time.monotonic()) <= 0:
                break
            self.take(left)
        return [len(self.heard_at), began, max(self.heard_at.values(), default=began)]

    def take(self, seconds):
        """Take what comes, or wait for it so many seconds."""
        for fd, _ in self.epoll.poll(seconds):
            try:
                received = self.sockets[fd].recv(65536)
            except OSError:
                received = b""
            data = self.pending.pop(fd, b"") + received
            while len(data) > 1 and len(data) >= 2 + (data[1] & 0x7F):
                data = self.take_frame(fd, data)
            if data:
                self.pending[fd] = data
            if not received:
                self.drop(fd)

    def take_frame(self, fd, data):
        """Take the first frame, which is a short one, and return what follows it."""
        end = 2 + (data[1] & 0x7F)
        opcode, payload = data[0] & 0x0F, data[2:end]
        if opcode == PING:
            self.pings += 1
            self.sockets[fd].send(client_frame(PONG, payload))
        elif data[:end] == self.expected:
            self.heard_at[fd] = time.monotonic()
        elif opcode == CLOSE:
            self.drop(fd)
            return b""
        return data[end:]

    def drop(self, fd):
        if connection := self.sockets.pop(fd, None):
            connection.close()
