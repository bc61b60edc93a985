"""
One request of a client and its response, as messages.

The request goes out on django.wsgi.request, and the greenlet of the connection
waits for the answer: for memory only, however long it takes.
"""

import time
from tempfile import SpooledTemporaryFile

from gevent import get_hub
from gevent.queue import Empty, SimpleQueue

from django.channels.exceptions import (
    ChannelError,
    ChannelFull,
    InvalidMessage,
    ResponseBroken,
)
from django.channels.interfaces.http.bodies import body_decoder
from django.channels.interfaces.http.errors import InvalidResponse, RequestRefused
from django.channels.interfaces.http.writing import CONTINUE, ResponseWriter
from django.channels.interfaces.server.contents import (
    content_size,
    find_charset,
    response_headers,
)
from django.channels.interfaces.server.patience import IMPATIENT, PATIENCE
from django.channels.messages import encode_bytes
from django.channels.registry import registry
from django.channels.responses import check_part, check_response, decode_content

DISCONNECT_CHANNEL = "django.wsgi.disconnect"
BODY_PREFIX = "django.wsgi.body"

READ_SIZE = 65536

# Messages, and characters of content, that may wait for a client that reads slowly.
UNSENT_MESSAGES, UNSENT_SIZE = 1000, 2**23

# What is put beside messages when the client has left, or the server has to end.
GONE, STOPPED = object(), object()


class ServerStops(Exception):
    """The server ends before the response does."""


class Exchange:
    """
    The request with `head`, a Head, on `connection`, a ConnectionHandler, and the
    response to it.
    """

    def __init__(self, connection, head):
        self.connection = connection
        self.server = connection.server
        self.head = head
        self.writer = ResponseWriter.for_request(head, connection.server.name)
        self.timeout = connection.server.backend.expiry
        self.decoder = body_decoder(head, self._most_bytes())
        # Bytes of the body of the response, as far as it has been sent.
        self.size = 0
        self._mailbox = SimpleQueue()
        # Characters of content in it.
        self._unsent = 0
        self._is_slow = False
        # Whether a view has left the answer to a channel.
        self.is_left = False
        self._body_channel = None
        self._room = 0
        self._credit = None
        # Whether nobody has heard of the request, or has to hear of it any more.
        self._ended = True
        self._begun = False
        self._spooled = None
        self._chunks = None

    def run(self):
        """Return the status of the response, and whether another request may come."""
        server = self.server
        message = server.request_message(self.connection, self.head)
        self.path = message["path"]
        self.channel = server.open_channel(self.deliver)
        server.exchanges.add(self)
        try:
            message["response_channel"] = self.channel
            message |= self._body(message["META"])
            self._ended = False
            server.answer(message, self._mailbox.put)
            self._sent = time.monotonic()
            status = self._answer()
            return status, self.writer.keep_alive and self.decoder.done
        finally:
            server.exchanges.discard(self)
            server.close_channel(self.channel)
            if self._spooled is not None:
                self._spooled.close()
            if not self._ended:
                self._tell_of_leaving()

    def deliver(self, message):
        """
        Take a message of the response. A client that reads so slowly that too much
        waits is given up: no message may be left out of a response.
        """
        if self._is_slow:
            return
        # What is on its way already does not count, however large it is.
        is_much = self._mailbox.qsize() >= UNSENT_MESSAGES or self._unsent > UNSENT_SIZE
        self._unsent += content_size(message)
        if is_much:
            self._is_slow = True
            self.server.counters["http.slow"] += 1
            self.connection.drop()
            message = GONE
        self._mailbox.put(message)

    def stop(self):
        """End what may go on for long: the process ends."""
        self._mailbox.put(STOPPED)

    # The body of the request.

    def _most_bytes(self):
        """Return how large the body may be, or None."""
        limits = self.server.limits
        if limits.body is None and self.head.content_length is None:
            return limits.spool
        return limits.body

    def _body(self, meta):
        """Return the keys of the message that are about the body."""
        if self.decoder.done:
            return {}
        size = self.head.content_length
        if size is None:
            size = self._spool()
            # Django reads as much of a body as this says.
            meta["CONTENT_LENGTH"] = str(size)
            meta.pop("HTTP_TRANSFER_ENCODING", None)
        if size > self.server.backend.chunk_size:
            self._body_channel = f"{BODY_PREFIX}.{self.channel.replace('!', '.')}!body"
            return {"body_channel": self._body_channel}
        body = b"".join(self._parts())
        return {"body": encode_bytes(body)} if body else {}

    def _spool(self):
        """Take in a body whose length nobody has told, and return its length."""
        self._spooled = SpooledTemporaryFile(self.server.backend.chunk_size)
        for part in self._read():
            self._spooled.write(part)
        self._spooled.seek(0)
        return self.decoder.size

    def _parts(self):
        """Return an iterator over the bytes of the body."""
        if self._spooled is not None:
            return iter(lambda: self._spooled.read(READ_SIZE), b"")
        return self._read()

    def _read(self):
        """Yield the bytes of the body as they come from the client."""
        if self.head.expect_continue:
            self.connection.write(CONTINUE)
        while not self.decoder.done:
            if part := self.connection.read_body(self.decoder):
                yield part

    def _send_body(self):
        """Send as much of the body as its reader has room for."""
        if self._chunks is None:
            self._chunks = self._make_chunks()
        while self._room and self._body_channel is not None:
            chunk = next(self._chunks, b"")
            message = {"bytes": encode_bytes(chunk)}
            if chunk:
                message["more"] = True
            self.server.relay.send(self._body_channel, message)
            self._room -= 1
            if not chunk:
                self._body_channel = None

    def _make_chunks(self):
        """Yield the body in parts that are as large as a message may be."""
        parts, size, begun = [], 0, time.monotonic()
        # Who reads waits for EXPIRY, however slow the client is.
        longest = self.server.backend.expiry / 4
        for part in self._parts():
            parts.append(part)
            size += len(part)
            # The next part may be as large as what is read at once.
            is_large = size > self.server.backend.chunk_size - READ_SIZE
            if is_large or time.monotonic() - begun > longest:
                yield b"".join(parts)
                parts, size, begun = [], 0, time.monotonic()
        if parts:
            yield b"".join(parts)

    # The response.

    def _answer(self):
        """Send the response. Return its status."""
        try:
            message = self._receive()
            self.server.counters.answers.add(time.monotonic() - self._sent)
            check_response(message)
        except Empty:
            sentence = f"The request was not answered within {self.timeout} seconds."
            return self._fail(504, sentence)
        except ServerStops:
            return self._fail(503, "The server is going away.")
        except ChannelFull:
            # Nobody has heard of the request.
            self._ended = True
            return self._fail(503, "The server is too busy.")
        except InvalidMessage as exc:
            self.server.log_error(self.head, exc)
            return self._fail(500, "Server Error (500)")
        except ChannelError as exc:
            self.server.log_error(self.head, exc)
            return self._fail(503, "The server cannot answer now.")
        try:
            self._write(message)
        except ServerStops:
            self.writer.keep_alive = False
        except (
            *(InvalidMessage, InvalidResponse, ResponseBroken, Empty),
            *(UnicodeError, LookupError),  # What the charset does not have.
        ) as exc:
            self.server.log_error(self.head, exc)
            if not self._begun:
                return self._fail(500, "Server Error (500)")
            self.writer.keep_alive = False
        except RequestRefused:
            # Of the rest of its body: it cannot have a second answer.
            if not self._begun:
                raise
            self.writer.keep_alive = False
        return message.get("status", 200)

    def _write(self, message):
        headers = response_headers(message)
        charset = find_charset(headers)
        data = decode_content(message, charset)
        more = message.get("more", False)
        self._keep_alive_if_possible()
        head = self.writer.head(
            message.get("status", 200),
            message.get("reason") or self.server.reason(message.get("status", 200)),
            headers,
            None if more else len(data),
        )
        self._begun = True
        body = self._frame(data)
        if not more:
            self._ended = True
            self.connection.write(head + body + self.writer.end())
            return
        self.connection.write(head + body)
        self._credit = message.get("credit_channel")
        while more:
            self._tell(self._credit, {"read": 1})
            message = self._receive()
            check_part(message)
            if data := decode_content(message, charset):
                self.connection.write(self._frame(data))
            more = message.get("more", False)
        self._ended = True
        self.connection.write(self.writer.end())

    def _fail(self, status, sentence):
        """Send a response of one sentence."""
        data = sentence.encode()
        headers = [("Content-Type", "text/plain; charset=utf-8")]
        self._keep_alive_if_possible()
        head = self.writer.head(status, self.server.reason(status), headers, len(data))
        self.connection.write(head + self._frame(data) + self.writer.end())
        return status

    def _keep_alive_if_possible(self):
        """Have the client told if no other request may come on its connection."""
        if not self.decoder.done or self.server.is_stopping:
            self.writer.keep_alive = False

    def _frame(self, data):
        """Return a part of the body of the response as it goes out."""
        self.size += len(data)
        return self.writer.body(data) if data else b""

    def _receive(self):
        """
        Return the next message of the response, and send the body of the request
        meanwhile. Raise Empty if none comes in time, a ChannelError if the request
        could not be sent, and OSError if the client leaves.
        """
        while True:
            if self._room:
                self._send_body()
            item = self._wait()
            if isinstance(item, Exception):
                raise item
            if item is GONE:
                raise OSError("The client has left.")
            if item is STOPPED:
                raise ServerStops
            if "read" in item:
                self._room += min(max(int(item["read"]), 0), 64)
            elif "timeout" in item:
                self.timeout = item["timeout"]
                self.is_left = True
            else:
                self._unsent -= content_size(item)
                return item

    def _wait(self):
        """Return what comes next. Raise Empty if nothing comes in time."""
        if self._mailbox.empty():
            self.server.patience.watch(self._mailbox)
        item = self._mailbox.get()
        return self._wait_on() if item is IMPATIENT else item

    def _wait_on(self):
        """Do what _wait() does, and watch whether the client leaves meanwhile."""
        deadline = time.monotonic() + max(self.timeout - PATIENCE, 0)
        watcher = get_hub().loop.io(self.connection.socket.fileno(), 1)
        watcher.start(self._look, watcher)
        try:
            item = IMPATIENT
            while item is IMPATIENT:
                left = max(deadline - time.monotonic(), 0)
                item = self._mailbox.get(timeout=left)
            return item
        finally:
            watcher.close()

    def _look(self, watcher):
        """See what has come from a client that waits: its next request, or its end."""
        try:
            if not self.connection.peek():
                self._mailbox.put(GONE)
        except BlockingIOError:
            return
        except OSError:
            self._mailbox.put(GONE)
        watcher.stop()

    def _tell(self, channel, message):
        if isinstance(channel, str):
            self.server.relay.send(channel, message, lambda error: None)

    def _tell_of_leaving(self):
        """Tell those who may still send or read that nobody waits any more."""
        self._tell(self._credit, {"closed": True})
        self._tell(self._body_channel, {"error": "The client is gone."})
        if registry.get(DISCONNECT_CHANNEL) is not None:
            about = {"response_channel": self.channel, "path": self.path}
            self._tell(DISCONNECT_CHANNEL, about)
