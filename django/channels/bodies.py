"""
Bodies of requests that take more than one message.

The receiver asks for the body as it reads it, so that neither side holds more
than a few chunks. It sends to the response channel of the request how many
chunks it has room for:

    {"read": 4}

and the interface sends as many to the "body_channel" of the request (base64
text, of the backend's chunk_size at most; the last has no "more"):

    {"bytes": "...", "more": true}
    {"bytes": "..."}

If the client stops half-way there comes {"error": "..."} in place of a chunk.
"""

import io

from django.channels.exceptions import InvalidMessage
from django.channels.messages import decode_bytes, encode_bytes, queue_name

WINDOW = 4  # Chunks that may be on their way.


class BodySource:
    """
    The body of a request where it comes in, as messages.

    `request` is a WSGIRequest that nothing has read from, `chunk_size` the
    bytes of a chunk.
    """

    def __init__(self, request, chunk_size):
        self.request = request
        self.chunk_size = chunk_size
        self.ended = False

    def __iter__(self):
        return self

    def __next__(self):
        """Return the message of the next chunk, waiting for the client."""
        if self.ended:
            raise StopIteration
        try:
            chunk = self.request.read(self.chunk_size)
        except OSError as exc:
            self.ended = True
            return {"error": str(exc) or type(exc).__name__}
        self.ended = not chunk
        return {"bytes": encode_bytes(chunk), "more": True} if chunk else {"bytes": ""}


class BodyReader(io.RawIOBase):
    """
    The body of a request where it is read, as a file.

    `messages` is an iterator over the messages of its chunks. Reading raises
    OSError if the client has stopped half-way. `started` tells whether anything
    has been read.
    """

    def __init__(self, messages):
        self.messages = messages
        self.started = False
        self._rest = memoryview(b"")

    def readable(self):
        return True

    def readinto(self, buffer):
        if not self._rest:
            self._rest = memoryview(self._next_chunk())
        size = min(len(buffer), len(self._rest))
        buffer[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size

    def buffered(self):
        """Return the same file with read() and readline() that are fast."""
        return BufferedBody(self, io.DEFAULT_BUFFER_SIZE)

    def _next_chunk(self):
        self.started = True
        message = next(self.messages, {"bytes": ""})
        if "error" in message:
            raise OSError(message["error"])
        if not isinstance(message.get("bytes"), str):
            raise InvalidMessage("The message of a part of a body has no 'bytes'.")
        return decode_bytes(message["bytes"])


class BufferedBody(io.BufferedReader):
    """A BodyReader with a buffer."""

    @property
    def started(self):
        return self.raw.started


def receive_body(backend, body_channel, response_channel):
    """
    Yield the messages of the body on `body_channel`, asking for them on
    `response_channel`. One that does not come within EXPIRY is an error.
    """
    more, room = True, WINDOW
    while more:
        backend.send(response_channel, {"read": room})
        received = backend.receive([queue_name(body_channel)], backend.expiry)
        if received is None:
            yield {"error": f"No data came within {backend.expiry} seconds."}
            return
        _, message = received
        more, room = message.get("more", False), 1
        yield message


def open_body(backend, message):
    """
    Return the body of a request as a file to read from.

    `message` is the message of the request, which has come by `backend`.
    """
    if "body_channel" in message:
        parts = receive_body(
            backend, message["body_channel"], message["response_channel"]
        )
        return BodyReader(parts).buffered()
    return io.BytesIO(decode_bytes(message.get("body", ""), "body"))
