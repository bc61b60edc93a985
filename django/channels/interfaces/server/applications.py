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
from itertools import chain
from queue import Empty, SimpleQueue

from django.channels.bodies import open_body
from django.channels.exceptions import ChannelError, ChannelFull
from django.channels.interfaces.exchange import Reply
from django.channels.replies import send_response
from django.channels.responses import fill_response
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
        channel = message["response_channel"]
        try:
            with open_body(self.backend, message) as body:
                reply = Reply(channel)
                response = call(self.application, message, body, reply)
                if not reply.is_left:
                    send_response(self.backend, channel, response)
        except ChannelError as exc:
            logger.info("%s was not sent to its end: %s", message["path"], exc)
        except BaseException as exc:
            logger.exception("%s: %s", message["path"], type(exc).__name__)


def call(application, message, body, reply):
    """
    Return the response of a WSGI application to a message of django.wsgi.request,
    whose body is read from the file `body`.
    """
    environ = decode_environ(message)
    environ |= {"wsgi.input": body, "wsgi.multiprocess": False, Reply.KEY: reply}
    head = []

    def start_response(status, headers, exc_info=None):
        head[:] = status, headers

    try:
        result = application(environ, start_response)
        # Django's own are not taken apart.
        return result if isinstance(result, HttpResponseBase) else wrap(result, head)
    except Exception:
        logger.exception("The WSGI application failed for %s.", message["path"])
        return HttpResponse("Server Error (500)", status=500, content_type="text/plain")


def wrap(result, head):
    """
    Return the response that a WSGI application has made of `result`, an iterable
    of bytes, and `head`, its status and headers, which may come with the first.
    """
    parts = iter(result)
    first = next(parts, b"")
    status, headers = head
    code, _, reason = status.partition(" ")
    message = {
        "status": int(code),
        "reason": reason,
        "content_type": "",
        "headers": [list(pair) for pair in headers],
    }
    response = fill_response(StreamingHttpResponse(), message)
    response.streaming_content = chain([first], parts)
    if hasattr(result, "close"):
        response._resource_closers.append(result.close)
    return response
