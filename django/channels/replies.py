"""
Sending a response from where the view runs to where the client waits.

A response that takes more than one message is sent as the other side takes it
in, see django.channels.responses.
"""

import asyncio

from django.channels.bodies import WINDOW
from django.channels.exceptions import ResponseBroken, ResponseClosed
from django.channels.inbox import thread_inbox
from django.channels.messages import encode_bytes
from django.channels.responses import split_message

WORKER_PREFIX = "django.worker"


def response_messages(response, size):
    """
    Yield the messages that carry `response`, an HttpResponse of any kind, each
    with `size` bytes of content at most.
    """
    head = response.channel_encode()
    if not response.streaming:
        yield from split_message(head, size)
        return
    # Taken now, as the response may be given what crosses in place of it.
    chunks = iterate_content(response, size)
    yield head
    for chunk in chunks:
        yield from split_message({"bytes": encode_bytes(chunk), "more": True}, size)
    yield {"bytes": ""}


def iterate_content(response, size):
    """Return an iterator over the parts of a streaming response, as bytes."""
    if (file := getattr(response, "file_to_stream", None)) is not None:
        # In parts that fit a message, and not in blocks for a socket.
        return iter(lambda: file.read(size), b"")
    if response.is_async:
        return iterate_async(response.streaming_content)
    return iter(response.streaming_content)


def iterate_async(iterator):
    """
    Yield what an asynchronous iterator yields, as it comes. It runs in one task,
    which goes on whenever another part is asked for.
    """
    loop, parts, wanted = asyncio.new_event_loop(), [], asyncio.Event()

    async def drive():
        try:
            async for part in iterator:
                parts.append(part)
                wanted.clear()
                loop.stop()
                await wanted.wait()
        finally:
            await iterator.aclose()

    def stop(task):
        loop.stop()

    task = loop.create_task(drive())
    task.add_done_callback(stop)
    try:
        while True:
            loop.run_forever()
            if task.done():
                task.result()
                return
            yield parts.pop()
            wanted.set()
    finally:
        task.remove_done_callback(stop)
        task.cancel()
        loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


def send_response(backend, response_channel, response):
    """
    Send `response` to `response_channel` of `backend`, and close it.

    Raise ResponseClosed if the client leaves, or takes nothing for EXPIRY,
    before it has gone out, and ResponseBroken if the view fails meanwhile.
    """
    try:
        messages = response_messages(response, backend.chunk_size)
        head = next(messages)
        if head.get("more"):
            with Credit(backend) as credit:
                backend.send(
                    response_channel, head | {"credit_channel": credit.channel}
                )
                send_parts(backend, response_channel, messages, credit)
        else:
            backend.reply(response_channel, head)
    finally:
        response.close()


def send_parts(backend, response_channel, messages, credit):
    """Send what continues a response, as `credit` allows."""
    try:
        for message in messages:
            credit.spend()
            backend.send(response_channel, message)
    except ResponseClosed:
        raise
    except Exception as exc:
        backend.send(response_channel, {"error": type(exc).__name__})
        raise ResponseBroken(f"The view raised {type(exc).__name__}.") from exc


class Credit:
    """How many messages may still be sent to one who takes them in more slowly."""

    def __init__(self, backend):
        self.backend = backend
        self.left = WINDOW
        self.inbox = thread_inbox(backend, WORKER_PREFIX)
        self.channel = self.inbox.open()

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.inbox.close(self.channel)

    def spend(self):
        """
        Return when another message may be sent. Raise ResponseClosed if none may
        be: the client is gone, or nothing has been taken for EXPIRY.
        """
        while message := self.inbox.receive(self.channel, 0):
            self._note(message)
        while self.left <= 0:
            message = self.inbox.receive(self.channel, self.backend.expiry)
            if message is None:
                raise ResponseClosed(
                    f"Nothing was taken for {self.backend.expiry} seconds."
                )
            self._note(message)
        self.left -= 1

    def _note(self, message):
        if message.get("closed"):
            raise ResponseClosed("The client is gone.")
        self.left += message.get("read", 0)
