"""
Running consumers: the loop of a worker, and the call of one consumer.

A worker takes the first message that comes on any of its channels, calls the
channel's one consumer, and repeats (proposal, "The Worker Servers").
"""

import logging
import threading
import time
import traceback
from contextlib import suppress

from django.channels.exceptions import ChannelError, ChannelFull
from django.channels.inbox import Inbox, use_thread_inbox
from django.channels.registry import registry
from django.channels.replies import WORKER_PREFIX
from django.conf import settings
from django.db import close_old_connections, connections

logger = logging.getLogger("django.channels.worker")


def run_consumer(backend, channel, message):
    """
    Call the consumer of `channel` with `message`.

    An exception in it is logged, and whoever waits on the response channel of
    the message is sent a response with the status 500.
    """
    consumer = registry.get(channel, backend.alias)
    if consumer is None:
        logger.error("A message on %r was dropped: it has no consumer.", channel)
        return
    try:
        consumer(channel, message)
    except Exception as exc:
        report_failure(backend, channel, message, consumer, exc)


def report_failure(backend, channel, message, consumer, exc):
    """Log what a consumer raised, and answer for it."""
    try:
        logger.error(
            "The consumer %s of %r raised %s.",
            consumer,
            channel,
            type(exc).__name__,
            exc_info=exc,
        )
    finally:
        # Whoever waits is answered even if the log cannot be written.
        answer_failure(backend, message.get("response_channel"), exc)


def answer_failure(backend, response_channel, exc):
    """Send the status 500 to `response_channel`, if it is one."""
    if not isinstance(response_channel, str):
        return
    content = "Server Error (500)"
    if settings.DEBUG:
        content = "".join(traceback.format_exception(exc))
    response = {"status": 500, "content_type": "text/plain", "content": content}
    try:
        backend.send(response_channel, response)
    except ChannelError:
        logger.exception("The answer for the failed consumer could not be sent.")


class Worker:
    """
    Runs the consumers of `backend`, a channel backend, one at a time in the
    thread that calls run().
    """

    # Seconds after which a worker that waits looks whether it has to stop. It
    # is woken earlier in its inbox.
    timeout = 30

    # Seconds to wait before another try after a failure that is no consumer's.
    pause = 1

    def __init__(self, backend):
        self.backend = backend
        self.inbox = Inbox(backend, WORKER_PREFIX)
        self._control = self.inbox.open()
        self._stopping = False

    def run(self):
        """
        Run consumers until stop() has been called, and then until no message
        is left. Nothing that a consumer raises ends it.
        """
        use_thread_inbox(self.inbox, WORKER_PREFIX)
        try:
            while not self._stopping:
                self.try_one(self.timeout)
            while self.try_one(0):
                pass
        finally:
            connections.close_all()

    def try_one(self, timeout):
        """Do what run_one() does, and return None if the backend fails."""
        try:
            return self.run_one(timeout)
        except Exception:
            logger.exception("The worker could not receive, and tries again.")
            if not self._stopping:
                time.sleep(self.pause)

    def run_one(self, timeout):
        """
        Wait up to `timeout` seconds for a message and run its consumer. Return
        True if there was a message.
        """
        channels = [*registry.channels(self.backend.alias), self.inbox.name]
        received = self.backend.receive(channels, timeout)
        if received is None:
            return False
        channel, message = received
        # What comes in the inbox has woken the worker, or is late.
        if not channel.startswith(self.inbox.name):
            try:
                self.run_message(channel, message)
            except Exception:
                # The log or a database connection, as what consumers raise is
                # dealt with. So it may be the log that cannot be written.
                traceback.print_exc()
        return True

    def run_message(self, channel, message):
        """Run the consumer of a message, with database connections looked after."""
        close_old_connections()
        try:
            run_consumer(self.backend, channel, message)
        except Exception:
            # It has been reported, or the report has failed.
            raise
        except BaseException as exc:
            if (
                isinstance(exc, KeyboardInterrupt)
                and threading.current_thread() is threading.main_thread()
            ):
                raise
            # SystemExit and its like end a consumer, not the worker.
            consumer = registry.get(channel, self.backend.alias)
            report_failure(self.backend, channel, message, consumer, exc)
        finally:
            close_old_connections()

    def wake(self):
        """
        Let the worker look at the registered consumers again. Any thread may call
        it.
        """
        # If the inbox is full, the worker has other messages to wake it.
        with suppress(ChannelFull):
            self.backend.send(self._control, {})

    def stop(self):
        """
        Let run() return when the messages that have been sent are done. Any
        thread may call it.
        """
        self._stopping = True
        self.wake()
