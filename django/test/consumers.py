"""Running the consumers of a test in its thread, and keeping tests apart."""

import itertools
import os
import threading
from collections import deque
from contextlib import ExitStack, suppress
from datetime import timedelta
from functools import wraps
from unittest import mock

from django.channels import worker
from django.channels.background import background
from django.channels.channel import Channel
from django.channels.exceptions import BackendUnavailable
from django.channels.groups import Group
from django.channels.inbox import Inbox
from django.channels.layers import channels
from django.channels.messages import clean_message
from django.channels.registry import registry
from django.channels.signals import consumer_failed
from django.channels.worker import Worker

# Consumers that one call runs at most.
MOST = 1000


class Isolation:
    """
    A context in which messages and groups are those of one test in one process. In
    a store that others use they have names of their own, and are dropped at the end.
    """

    def __enter__(self):
        background.stop()
        self._isolate(f"test-{os.getpid()}")
        for backend in channels.all(initialized_only=True):
            if backend.process_local:
                backend.flush()
        # The aliases of backends on which something was sent.
        self._used = set()
        self._patches = ExitStack()
        for kind, name in [(Channel, "send"), (Group, "send"), (Group, "add")]:
            method = self._noting(getattr(kind, name))
            self._patches.enter_context(mock.patch.object(kind, name, method))
        return self

    def __exit__(self, *exc_info):
        self._patches.close()
        background.stop()
        for alias in self._used & set(channels):
            # The test may have ended the store.
            with suppress(BackendUnavailable):
                channels[alias].flush()
        self._isolate("")

    def _isolate(self, name):
        channels.isolation = name
        for backend in channels.all(initialized_only=True):
            backend.isolate(name)

    def _noting(self, method):
        @wraps(method)
        def note_and_call(target, *args, **kwargs):
            self._used.add(target.backend)
            return method(target, *args, **kwargs)

        return note_and_call


class Runs:
    """
    A context in which the consumers of this process run when run() is called, in the
    thread that calls it, on all backends. Delayed messages are sent when their time
    has come, which passes only as run() is told.
    """

    def __enter__(self):
        # (backend, channel) of each message that was sent, oldest first.
        self._due = deque()
        # (due, number, channel, message) of each message that is delayed.
        self._delayed = []
        self._numbers = itertools.count()
        self._now = 0
        # What takes the messages of WebSockets, by backend.
        self.interfaces = {}
        self._patches = ExitStack()
        self._patches.enter_context(Isolation())
        self._send = Channel.send
        self._patch(Channel, "send", self._delaying(Channel.send))
        self._patch(background, "message_sent", self._message_sent)
        self._patch(Inbox, "receive", self._receiving(Inbox.receive))
        # The connections are those of the test, which is in the middle of something.
        self._patch(worker, "close_old_connections", lambda: None)
        return self

    def __exit__(self, *exc_info):
        self._patches.close()

    def _patch(self, target, name, value):
        self._patches.enter_context(mock.patch.object(target, name, value))

    def _message_sent(self, backend, channel):
        # What goes to an inbox has no consumer.
        if "!" not in channel:
            self._due.append((backend, channel))

    def _delaying(self, send):
        """Return what takes the place of `send`, the method of Channel."""

        @wraps(send)
        def delay_or_send(channel, message, delay=0):
            backend = channels[channel.backend]
            seconds = backend.clean_delay(delay, channel.name)
            if not seconds:
                return send(channel, message)
            due = self._now + seconds
            entry = (due, next(self._numbers), channel, clean_message(message))
            self._delayed.append(entry)

        return delay_or_send

    def _receiving(self, receive):
        """
        Return what takes the place of `receive`, the method of Inbox. Nobody else
        runs the consumers that the thread of the test waits for, so that it runs
        them itself. What has not come then does not come in time, either.
        """
        thread = threading.current_thread()

        def run_and_receive(inbox, channel, timeout):
            if timeout > 0 and threading.current_thread() is thread:
                self.run()
                timeout = 0
            return receive(inbox, channel, timeout)

        return run_and_receive

    def run(self, limit=MOST, raise_exceptions=True, after=0):
        """See ChannelsTestMixin.run_consumers()."""
        if isinstance(after, timedelta):
            after = after.total_seconds()
        until = self._now + after
        count = 0
        while True:
            received = self._take()
            if received is None:
                if not self._deliver() and not self._fall_due(until):
                    self._now = until
                    return count
                continue
            if count == limit:
                raise AssertionError(
                    f"{limit} consumers have run, and a message on {received[1]!r} "
                    "is still due. Does a consumer send to its own channel?"
                )
            count += 1
            self._run_one(*received, raise_exceptions)

    def _take(self):
        """Return (backend, channel, message) of what is due next, or None."""
        waiting = []
        try:
            while self._due:
                backend, channel = self._due.popleft()
                if registry.get(channel, backend.alias) is not None:
                    if received := backend.receive([channel]):
                        return backend, *received
                # It has no consumer yet, or is not due yet.
                waiting.append((backend, channel))
        finally:
            self._due.extendleft(reversed(waiting))

    def _fall_due(self, until):
        """
        Let it be the time at which the next delayed message is due, and send that,
        if it is due by `until`. Return whether there was one.
        """
        entry = min(self._delayed, default=None)
        if entry is None or entry[0] > until:
            return False
        self._delayed.remove(entry)
        self._now, _, channel, message = entry
        self._send(channel, message)
        return True

    def _deliver(self):
        """Let WebSockets take what has come for them. Return whether anything has."""
        return any([interface.deliver() for interface in self.interfaces.values()])

    def _run_one(self, backend, channel, message, raise_exceptions):
        failures = []

        def note_failure(exception, **kwargs):
            failures.append(exception)

        consumer_failed.connect(note_failure)
        try:
            Worker(backend).run_message(channel, message)
        finally:
            consumer_failed.disconnect(note_failure)
        if failures and raise_exceptions:
            raise failures[0]
