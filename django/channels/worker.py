"""
Running consumers: the loop of a worker, and the call of one consumer.

A worker takes the first message that comes on any of its channels, calls the
channel's one consumer, and repeats (proposal, "The Worker Servers").
"""

import logging
import threading
import time
import traceback
from collections import Counter
from contextlib import suppress

from django.channels.backoff import Backoff
from django.channels.calls import Call
from django.channels.exceptions import ChannelError, ChannelFull
from django.channels.ids import message_id
from django.channels.inbox import Inbox, use_thread_inbox
from django.channels.outages import Outage
from django.channels.pacing import Allowance, Pace
from django.channels.registry import registry
from django.channels.replies import WORKER_PREFIX
from django.channels.signals import (
    consumer_failed,
    consumer_finished,
    consumer_started,
    notify,
    worker_started,
    worker_stopped,
)
from django.conf import settings
from django.db import close_old_connections, connections

logger = logging.getLogger("django.channels.worker")


def run_consumer(backend, channel, message):
    """
    Call the consumer of `channel` with `message`. Return what became of the
    message: "handled", "failed" or "no consumer".

    Whatever the consumer raises is logged, and whoever waits on the response
    channel of the message is sent a response with the status 500.
    """
    consumer = registry.get(channel, backend.alias)
    if consumer is None:
        logger.error(
            "A message on %r was dropped: it has no consumer.",
            channel,
            extra={"channel": channel, "message_id": message_id(message)},
        )
        return "no consumer"
    call = Call(consumer, channel, message)
    try:
        call.notify(consumer_started)
        consumer(channel, message)
        call.end()
    except BaseException as exc:
        call.end()
        # SystemExit and its like end a consumer, not the worker.
        if is_interrupt(exc):
            raise
        try:
            report_failure(backend, call, message, exc)
        finally:
            call.notify(consumer_failed, exception=exc)
        return "failed"
    else:
        call.log_success()
        return "handled"
    finally:
        call.notify(consumer_finished)


def is_interrupt(exc):
    """Return whether a person at the keyboard wants to end this process."""
    return (
        isinstance(exc, KeyboardInterrupt)
        and threading.current_thread() is threading.main_thread()
    )


def report_failure(backend, call, message, exc):
    """Log what a consumer raised, and answer for it."""
    try:
        call.log_failure(exc)
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

    `serves` is a function that tells by the name of a channel whether to run
    its consumer, `drain` whether to run those of all messages that have been
    sent before stop(). `allowance` and `outage` may be shared by the workers of
    a process.

    `counts` has how many messages became what, see run_consumer(). `current` is
    the channel whose consumer runs now, and since when by time.monotonic(), or
    None.
    """

    # Seconds after which a worker that waits looks whether it has to stop. It
    # is woken earlier in its inbox, unless that message is lost.
    timeout = 5

    def __init__(
        self, backend, serves=None, *, drain=True, allowance=None, outage=None
    ):
        self.backend = backend
        self.serves = serves
        self.drain = drain
        self.allowance = allowance or Allowance()
        self.outage = outage or Outage(backend)
        self.backoff = Backoff()
        self.inbox = Inbox(backend, WORKER_PREFIX)
        self.pace = Pace()
        self.counts = Counter()
        self.current = None
        # Set by itself, as a signal handler does, it works after the next message.
        self.stopping = False
        self._control = self.inbox.open()
        self._woken = threading.Event()
        self._ended = False
        self._ending = threading.Lock()
        self._queues = None, []

    def run(self):
        """
        Run consumers until stop() has been called or the allowance is used up.
        Nothing that a consumer raises ends it.
        """
        use_thread_inbox(self.inbox, WORKER_PREFIX)
        notify(worker_started, self, worker=self)
        try:
            while not self.stopping and self.allowance.take():
                if not self.try_one(self.timeout):
                    self.allowance.give_back()
            while self.stopping and self.drain and self.try_one(0) is not None:
                pass
        finally:
            self._end()

    def _end(self):
        notify(worker_stopped, self, worker=self)
        with self._ending:
            self._ended = True
        self.outage.forget(self)
        # What woke the worker would stay in the store for EXPIRY.
        with suppress(Exception):
            while self.backend.receive([self.inbox.name]) is not None:
                pass
        with suppress(Exception):
            self.backend.release()
        with suppress(Exception):
            connections.close_all()

    def try_one(self, timeout):
        """
        Do what run_one() does, whatever fails. Return None, after a while, also if
        the backend fails.
        """
        try:
            return self.run_one(0 if self in self.outage else timeout)
        except BaseException as exc:
            if is_interrupt(exc):
                raise
            with suppress(Exception):
                self.outage.note_failure(self, exc)
                close_old_connections()
            if not self.stopping:
                self._woken.wait(self.backoff.delay())
                self._woken.clear()

    def run_one(self, timeout):
        """
        Wait up to `timeout` seconds for a message and run its consumer. Return
        True then, False for a message to the worker, and None if there was none.

        If consumers are quick, take several messages at once.
        """
        most = 1 if self.allowance.is_limited else self.pace.batch()
        received = self.backend.receive_many(self._listen_on(), timeout, most)
        self.outage.note_success(self)
        self.backoff.reset()
        if not received:
            return None
        # What comes in the inbox has woken the worker, or is late.
        own = self.inbox.name
        messages = [item for item in received if not item[0].startswith(own)]
        if messages:
            try:
                close_old_connections()
            except Exception:
                # The messages have been taken, and their consumers may not need it.
                logger.exception("A database connection could not be closed.")
        for channel, message in messages:
            self.backend.hold_replies()
            self._run_safely(channel, message)
        return bool(messages)

    def _run_safely(self, channel, message):
        try:
            self.run_message(channel, message)
        except BaseException as exc:
            if is_interrupt(exc):
                raise
            # The log or a database connection, as what consumers raise is dealt
            # with. So it may be the log that cannot be written.
            with suppress(Exception):
                traceback.print_exc()

    def run_message(self, channel, message):
        """
        Run the consumer of a message, look after database connections, and tell who
        waits for it to be done.
        """
        number = message.pop("acknowledge", None)
        outcome = "failed"
        begun = time.monotonic()
        self.current = channel, begun
        try:
            outcome = run_consumer(self.backend, channel, message)
        finally:
            self.current = None
            self.counts[outcome] += 1
            close_old_connections()
            self.pace.note(time.monotonic() - begun)
            if number is not None:
                failed = {} if outcome == "handled" else {"failed": True}
                self._acknowledge(message, {"acknowledged": number} | failed)

    def _acknowledge(self, message, answer):
        try:
            self.backend.reply(message.get("send_channel", ""), answer)
        except ChannelError as exc:
            logger.warning("A message could not be acknowledged: %s", exc)

    def _listen_on(self):
        """Return the queues to receive from, which change with the registry."""
        version, queues = self._queues
        if version != registry.version or not registry.discovered:
            version, alias = registry.version, self.backend.alias
            names = [
                name
                for name in registry.channels(alias, internal=True)
                if self.serves is None
                or self.serves(name)
                or registry.get(name, alias).internal
            ]
            queues = [*names, self.inbox.name]
            self._queues = version, queues
        return queues

    def wake(self):
        """
        Let the worker look at the registered consumers again. Any thread may call
        it. Return False if the store did not take the message that wakes it.
        """
        self._woken.set()
        with self._ending:
            if self._ended or self in self.outage:
                return True
            try:
                self.backend.send(self._control, {})
            except ChannelFull:
                pass  # Then the worker has other messages to wake it.
            except Exception:
                return False
        return True

    def stop(self):
        """
        Let run() return: when the messages that have been sent are done, or with
        the one in hand. Any thread may call it.
        """
        self.stopping = True
        self.wake()
