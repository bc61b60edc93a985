"""
One connection of a client: reads its requests, and writes the responses.

It has a greenlet, which waits for the client or for the answer of a worker. A
request that becomes a WebSocket leaves it, and the greenlet ends.
"""

import time
from contextlib import suppress
from socket import MSG_PEEK, SHUT_RD, SHUT_RDWR, SHUT_WR

from geventwebsocket.handler import WebSocketHandler

from django.channels.interfaces.http.bodies import ChunkedDecoder
from django.channels.interfaces.http.errors import RequestRefused
from django.channels.interfaces.http.heads import find_head_end, parse_head
from django.channels.interfaces.http.writing import (
    simple_response,
)
from django.channels.interfaces.server.exchanges import Exchange
from django.channels.interfaces.server.yielding import give_way

READ_SIZE = 65536

# Bytes of a body in chunks that are taken apart at once. They may be 680 chunks.
CHUNKED_SIZE = 4096

# Bytes a second that a body must have on average, once a client has kept others
# waiting for it for as long as it may be silent. What workers take does not count.
BODY_RATE = 500

# Seconds for which what a client sends after a refusal is read.
LINGER = 1


class ClientGone(Exception):
    """The client has closed the connection."""


class ConnectionHandler(WebSocketHandler):
    """
    Serves the connection `sock` of a client at `address` for `server`, an
    InterfaceServer.

    pywsgi makes one for each connection. Its reader and its parser are not
    used, as they take what RFC 9112 calls ambiguous.
    """

    def __init__(self, sock, address, server):
        self.socket = sock
        self.client_address = address
        self.server = server
        self.limits = server.limits
        # What has been read and not been used.
        self.buffer = b""
        # Seconds for which the body at hand has been waited for.
        self._waited = 0

    def handle(self):
        """Serve requests until the connection ends."""
        try:
            # Others have their turn while each request waits for its answer.
            while self._handle_one():
                pass
        except (OSError, ClientGone):
            pass
        finally:
            if self.socket is not None:
                self.socket.close()

    @property
    def is_detached(self):
        """Whether somebody else has the socket now."""
        return self.socket is None

    def detach(self):
        """Give the socket, and what has been read from it, to somebody else."""
        sock, self.socket = self.socket, None
        data, self.buffer = self.buffer, b""
        return sock, data

    def _handle_one(self):
        """Serve a request. Return whether another one may follow."""
        try:
            head = self._read_head()
            if head is None:
                return False
            if "websocket" in head.upgrade:
                self.server.open_websocket(self, head)
                return False
        except RequestRefused as exc:
            return self._refuse(exc.status, exc.sentence)
        begun, size = time.monotonic(), 0
        self._waited = 0
        try:
            exchange = Exchange(self, head)
            status, keep_alive = exchange.run()
            size = exchange.size
            if not exchange.decoder.done:
                self._linger()
        except RequestRefused as exc:
            status, keep_alive = exc.status, self._refuse(exc.status, exc.sentence)
        self.server.counters.note_status(status)
        self.server.log_request(self, head, status, size, time.monotonic() - begun)
        return keep_alive and not self.server.is_stopping

    def _read_head(self):
        """Return the next Head, or None if the client, or the server, has enough."""
        data, self.buffer, position = self.buffer, b"", 0
        deadline = None
        while True:
            if data:
                end = find_head_end(data, position, self.limits.http)
                if end >= 0:
                    self.buffer = data[end:]
                    return parse_head(data[:end], self.limits.http)
                position = max(len(data) - 3, 0)
                if deadline is None:
                    deadline = time.monotonic() + self.limits.head_time
                else:
                    give_way()
            timeout = deadline and deadline - time.monotonic()
            more = self._receive(timeout) if data else self._receive_first()
            if not more:
                if data and more is None:
                    raise RequestRefused(408, "The request took too long.")
                return None
            data += more

    def _receive_first(self):
        """Return the first bytes of a request, b"" if the server has had enough."""
        if self.server.is_stopping:
            return b""
        # One timer for all such connections looks how long they wait.
        self.server.idle[self] = time.monotonic()
        self.socket.settimeout(None)
        try:
            return self.socket.recv(READ_SIZE)
        finally:
            self.server.idle.pop(self, None)

    def end_idle(self):
        """Let a greenlet that waits for the next request take what has come as all."""
        with suppress(OSError):
            self.socket._sock.shutdown(SHUT_RD)

    def _receive(self, timeout, most=READ_SIZE):
        """Return what comes next: b"" at the end, None if nothing comes in time."""
        if timeout <= 0:
            return None
        self.socket.settimeout(timeout)
        try:
            return self.socket.recv(most)
        except TimeoutError:
            return None

    def read_body(self, decoder):
        """
        Return the next bytes of a body. Raise RequestRefused if they do not come in
        time, and ClientGone if the client leaves before its end.
        """
        most = CHUNKED_SIZE if isinstance(decoder, ChunkedDecoder) else READ_SIZE
        while not decoder.done:
            data, self.buffer = self.buffer[:most], self.buffer[most:]
            data = data or self._receive_body(decoder.size, most)
            if data is None:
                raise RequestRefused(408, "The body of the request took too long.")
            if not data:
                raise ClientGone
            part = decoder.feed(data)
            if decoder.done:
                self.buffer = decoder.rest + self.buffer
            else:
                give_way()
            if part:
                return part
        return b""

    def _receive_body(self, size, most):
        """
        Return what comes next of a body of which `size` bytes have come, `most` bytes
        at most.
        """
        longest = self.limits.body_time
        begun = time.monotonic()
        data = self._receive(
            min(longest, longest + size / BODY_RATE - self._waited), most
        )
        self._waited += time.monotonic() - begun
        return data

    def peek(self):
        """
        Return the next byte that has come and leave it there, b"" at the end. Raise
        OSError if none has come. It does not wait, so the hub may call it.
        """
        return self.socket._sock.recv(1, MSG_PEEK)

    def write(self, data):
        """Send bytes. Raise OSError if the client takes none for `write_time`."""
        self.socket.settimeout(self.limits.write_time)
        # sendall() gives all of them together as much time as each has here.
        while (sent := self.socket.send(data)) < len(data):
            data = memoryview(data)[sent:]

    def drop(self):
        """End the connection. The hub may call it while the greenlet writes."""
        with suppress(OSError):
            self.socket._sock.shutdown(SHUT_RDWR)

    def _refuse(self, status, sentence):
        self.server.counters[f"http.refused.{status}"] += 1
        self.write(simple_response(status, sentence, server=self.server.name))
        self._linger()
        return False

    def _linger(self):
        """
        Read what the client still sends, for a while: if it came to a closed
        connection, the client would lose the answer (RFC 9112, section 9.6).
        """
        self.socket.shutdown(SHUT_WR)
        deadline = time.monotonic() + LINGER
        while self._receive(deadline - time.monotonic()):
            give_way()
