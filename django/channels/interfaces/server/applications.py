"""
The requests of an interface server that has the site in its process.

runserver serves this way: a WSGI application answers each request, so that static
files and WSGI middleware are what they are under any WSGI server. It runs in a
thread, which is free again once the application has returned: the answer to a
request that a view has left to a channel is sent straight to the server.

    InterfaceServer -- message --> thread: environ -> application
           ^                                               |
           +------------- messages of the response --------+
"""

import logging
import threading
from collections import deque
from contextlib import suppress
from itertools import chain
from queue import Empty, SimpleQueue

from django.channels.bodies import open_body
from django.channels.exceptions import (
    ChannelError,
    ChannelFull,
    ResponseBroken,
    ResponseClosed,
)
from django.channels.interfaces.exchange import Reply
from django.channels.replies import send_response
from django.channels.responses import decode_headers
from django.core.handlers.channel import decode_environ
from django.db import connections
from django.http import HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase

logger = logging.getLogger("django.channels.request")

# Seconds for which a thread waits for its next request.
IDLE = 10


class RequestThreads:
    """
    Answers requests by `application`, a WSGI application (PEP 3333), with messages
    on `backend`. There are as many threads as there are requests at a time.
    """

    def __init__(self, application, backend):
        self.application = application
        self.backend = backend
        self._idle = deque()

    def send(self, message, failed):
        """
        Have a message of django.wsgi.request answered. Call `failed` with a
        ChannelError if there can be no thread for it.
        """
        try:
            queue = self._idle.pop()
        except IndexError:
            queue = SimpleQueue()
            thread = threading.Thread(target=self._run, args=(queue,), daemon=True)
            try:
                thread.start()
            except RuntimeError as exc:
                failed(ChannelFull(str(exc)))
                return
        queue.put(message)

    def _run(self, queue):
        try:
            while True:
                self._answer(self._next_message(queue))
                self._idle.append(queue)
        except Empty:
            connections.close_all()

    def _next_message(self, queue):
        try:
            return queue.get(timeout=IDLE)
        except Empty:
            try:
                self._idle.remove(queue)
            except ValueError:
                pass  # Somebody is about to put a message there.
            else:
                raise
        return queue.get()

    def _answer(self, message):
        try:
            self._send_answer(message)
        except ResponseClosed as exc:
            logger.info("%r was not sent to its end: %s", message["path"], exc)
        except ResponseBroken as exc:
            # The server has been told.
            logger.error(
                "%r ended early: %s", message["path"], exc, exc_info=exc.__cause__
            )
        except BaseException as exc:
            logger.exception("%r: %s", message["path"], type(exc).__name__)
            with suppress(ChannelError):
                answer = {"error": type(exc).__name__}
                self.backend.send(message["response_channel"], answer)

    def _send_answer(self, message):
        channel = message["response_channel"]
        with open_body(self.backend, message) as body:
            reply = Reply(channel)
            response = call(self.application, message, body, reply)
            if reply.is_left:
                response.close()
            else:
                send_response(self.backend, channel, response)


def call(application, message, body, reply):
    """
    Return the response of a WSGI application to a message of django.wsgi.request,
    whose body is read from the file `body`.
    """
    environ = decode_environ(message)
    environ |= {"wsgi.input": body, "wsgi.multiprocess": False, Reply.KEY: reply}
    head, written = [], []

    def start_response(status, headers, exc_info=None):
        head[:] = status, headers
        return written.append

    try:
        result = application(environ, start_response)
        if isinstance(result, HttpResponseBase):
            return keep(result, head)
        return wrap(result, head, written)
    except Exception:
        logger.exception("The WSGI application failed for %r.", message["path"])
        return HttpResponse("Server Error (500)", status=500, content_type="text/plain")


def keep(response, head):
    """Return a response of Django, with what WSGI middleware has made of its head."""
    status = f"{response.status_code} {response.reason_phrase}"
    cookies = [("Set-Cookie", c.output(header="")) for c in response.cookies.values()]
    if head != [status, [*response.items(), *cookies]]:
        set_head(response, *head)
    return response


def wrap(result, head, written):
    """
    Return the response that a WSGI application has made of `result`, an iterable
    of bytes, and `head`, its status and headers, which may come with the first.
    `written` are the bytes that it has written already.
    """
    close = getattr(result, "close", None)
    try:
        parts = iter(result)
        first = next(parts, b"")
        response = StreamingHttpResponse()
        set_head(response, *head)
    except BaseException:
        if close is not None:
            close()
        raise
    response.streaming_content = chain(written, [first], parts)
    if close is not None:
        response._resource_closers.append(close)
    return response


def set_head(response, status, headers):
    """Give a response the status and the headers that WSGI has."""
    code, _, response.reason_phrase = status.partition(" ")
    response.status_code = int(code)
    response.cookies.clear()
    for name in list(response.headers):
        del response.headers[name]
    decode_headers(
        {"headers": [(name, text.strip()) for name, text in headers]}, response
    )
