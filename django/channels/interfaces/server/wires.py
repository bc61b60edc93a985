"""A socket that the hub reads and writes without a greenlet."""

import logging
import socket
import struct

from gevent import get_hub

logger = logging.getLogger("django.channels.interface")

READ, WRITE = 1, 2  # As the loops of gevent have them.

# Bytes to receive at once. One client that sends a lot does not keep others
# waiting for longer than these take.
RECEIVE_SIZE = 2**14

# SO_LINGER: drop what is unsent, and tell the client with a reset.
_DROP = struct.pack("ii", 1, 0)


class Wire:
    """
    The connected socket `sock`, a stdlib socket, in the hub of the current thread.

    `owner` is told by received(data) and lost(), which must not wait. Both are
    called by the hub only, never from within a method of the wire.

    What does not fit the socket's buffer waits, within the bounds of `limits`.
    """

    __slots__ = (
        "owner",
        "limits",
        "sock",
        "is_paused",
        "_reader",
        "_writer",
        "_waiting",
        "_size",
        "_has_begun",
        "_is_last",
    )

    def __init__(self, sock, owner, limits):
        sock.setblocking(False)
        if sock.family in (socket.AF_INET, socket.AF_INET6):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.owner = owner
        self.limits = limits
        self.sock = sock
        self.is_paused = True
        self._reader = get_hub().loop.io(sock.fileno(), READ)
        self._writer = None
        self._waiting = None
        self._size = 0
        # Whether a part of what waits first is out already.
        self._has_begun = False
        self._is_last = False

    @staticmethod
    def take(sock):
        """Return the stdlib socket for one of gevent, which is not used any more."""
        return socket.socket(sock.family, sock.type, sock.proto, sock.detach())

    def pause(self):
        """Let the client wait, once the buffers between are full."""
        if not self.is_paused:
            self.is_paused = True
            self._reader.stop()

    def resume(self):
        """Read what the client sends."""
        if self.is_paused:
            self.is_paused = False
            self._reader.start(self._read)

    def write(self, data):
        """
        Send `data`, now or when the client reads. Return False, and drop it, if
        too much waits already.
        """
        if self._waiting is not None:
            return self._append(data)
        try:
            sent = self.sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._fail()
            return True
        if sent != len(data):
            self._wait([memoryview(data)[sent:] if sent else data], bool(sent))
        return True

    def cut(self, data):
        """Send `data` next, before all that waits and has not begun to go out."""
        waiting = self._waiting
        if waiting is None:
            self.write(data)
        else:
            self._wait([waiting[0], data] if self._has_begun else [data])

    def finish(self):
        """Tell the client that no more comes, when all is out (RFC 9293, 3.6)."""
        self._is_last = True
        if self._waiting is None:
            self._shut()

    def close(self, drop=False):
        """Close the socket. With `drop` nothing more of what is unsent goes out."""
        self._reader.stop()
        self._reader.close()
        self._stop_writing()
        if drop:
            try:
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _DROP)
            except OSError:
                pass
        self.sock.close()
        self.owner = None

    def _read(self):
        try:
            data = self.sock.recv(RECEIVE_SIZE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self.owner.received(data)
        else:
            self.owner.lost()

    def _append(self, data):
        # What is on its way already does not count, however large it is.
        behind = self._size - len(self._waiting[0])
        if (
            len(self._waiting) >= self.limits.unsent_frames
            or behind + len(data) > self.limits.unsent_bytes
        ):
            return False
        self._waiting.append(data)
        self._size += len(data)
        return True

    def _wait(self, waiting, has_begun=None):
        self._waiting = waiting
        self._size = sum(map(len, waiting))
        if has_begun is not None:
            self._has_begun = has_begun
        if self._writer is None:
            self._writer = get_hub().loop.io(self.sock.fileno(), WRITE)
            self._writer.start(self._flush)

    def _flush(self):
        waiting = self._waiting
        try:
            while waiting:
                data = waiting[0]
                sent = self.sock.send(data)
                self._size -= sent
                self._has_begun = sent < len(data)
                if self._has_begun:
                    waiting[0] = memoryview(data)[sent:]
                else:
                    del waiting[0]
        except BlockingIOError:
            return
        except OSError:
            self._fail()
            return
        self._stop_writing()
        if self._is_last:
            self._shut()

    def _stop_writing(self):
        self._waiting = None
        self._size = 0
        if self._writer is not None:
            self._writer.stop()
            self._writer.close()
            self._writer = None

    def _fail(self):
        # Reading tells that the client is gone, and nothing else has to.
        self._stop_writing()
        self.resume()

    def _shut(self):
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self._fail()
