"""
What carries the messages of an interface process: its inbox, and what it sends.

A relay lets a gevent hub send and receive without waiting. On Redis greenlets
talk to the store: one sends all that is waiting in one round trip, another
receives up to a hundred messages at a time. With other backends two threads
do so, and wake the hub; on a process-local one the hub itself sends.

Messages come in order to each channel. What cannot be sent is told to who sent
it, and to nobody else.
"""

import logging
import threading
from collections import deque
from contextlib import suppress

import gevent
import gevent.event
from gevent import get_hub

from django.channels.background import background
from django.channels.backoff import Backoff
from django.channels.exceptions import BackendUnavailable, ChannelError
from django.channels.interfaces.server.groups import Groups
from django.channels.layers import channels
from django.channels.outages import Outage
from django.channels.sends import log_sending

logger = logging.getLogger("django.channels.interface")

# Messages that are sent or received in one round trip at most.
BATCH = 100

# Seconds for which a receiver waits before it looks whether it has to stop.
WAIT = 2


class Relay:
    """
    Sends and receives for the hub of the current thread.

    `backend` is the channel backend, `inbox` the name to receive from, and
    `deliver` is called in the hub's thread, outside of any greenlet, with each
    (channel, message). It must not wait.
    """

    def __init__(self, backend, inbox, deliver):
        self.backend = backend
        self.inbox = inbox
        self.deliver = deliver
        self.outage = Outage(backend)
        self.groups = Groups(self)
        # (channel, message, failed) of what waits to be sent.
        self._waiting = deque()
        # Functions that wait to be called.
        self._tasks = deque()
        self._stopping = False

    def send(self, channel, message, failed=None):
        """
        Send `message`, a dict of JSON values, soon. If the store does not take it,
        call `failed` with the ChannelError.
        """
        self._waiting.append((channel, message, failed))
        self._wake_sender()

    def do(self, function):
        """Call `function` with the backend soon, in the order of such calls."""
        self._tasks.append(function)
        self._asked.set()

    def _pack(self, channel, message):
        return self.backend.pack(log_sending(channel, message))

    def _take_batch(self):
        count = min(len(self._waiting), BATCH)
        return [self._waiting.popleft() for _ in range(count)]

    def _work(self):
        while self._tasks or not self._stopping:
            self._asked.wait()
            self._asked.clear()
            while self._tasks:
                self._do(self._tasks.popleft())

    def _do(self, function):
        try:
            function(self.backend)
        except ChannelError as exc:
            logger.warning("The store was not told of a group: %s", exc)
        except Exception:
            logger.exception("The store was not told of a group.")

    def _deliver(self, channel, message):
        try:
            self.deliver(channel, message)
        except Exception:
            # One bad message must not keep others from their receivers.
            logger.exception("A message on %r was dropped.", channel)

    def _tell(self, item, error):
        channel, _, failed = item
        if failed is None:
            logger.warning("A message on %r was not sent: %s", channel, error)
            return
        try:
            failed(error)
        except Exception:
            logger.exception("A message on %r was not sent.", channel)


class HubRelay(Relay):
    """A relay whose backend lets other greenlets run while it waits."""

    def start(self):
        self._wanted, self._asked = gevent.event.Event(), gevent.event.Event()
        tasks = self._send, self._work, self._receive
        self._greenlets = [gevent.spawn(task) for task in tasks]

    def stop(self):
        """Send what waits, and receive no more."""
        self._stopping = True
        self._wanted.set()
        self._asked.set()
        gevent.joinall(self._greenlets[:2], WAIT)
        gevent.killall(self._greenlets)
        self.backend.close()

    def _wake_sender(self):
        self._wanted.set()

    def _send(self):
        while self._waiting or not self._stopping:
            self._wanted.wait()
            self._wanted.clear()
            # What others are about to send goes in the same batch.
            gevent.sleep(0)
            while batch := self._take_batch():
                for item, error in zip(batch, self._push(batch)):
                    if error is not None:
                        self._tell(item, error)

    def _push(self, batch):
        try:
            return self.backend.push_many(
                [(name, self._pack(name, message)) for name, message, _ in batch]
            )
        except Exception as exc:
            # The process must not be deaf and dumb from now on.
            logger.exception("Messages were not sent.")
            return [BackendUnavailable(f"Not sent: {type(exc).__name__}")] * len(batch)

    def _receive(self):
        backoff = Backoff()
        while not self._stopping:
            try:
                received = self.backend.receive_many([self.inbox], WAIT, BATCH)
            except Exception as exc:
                self.outage.note_failure(self, exc)
                gevent.sleep(backoff.delay())
                continue
            self.outage.note_success(self)
            backoff.reset()
            for channel, message in received:
                self._deliver(channel, message)


class ThreadRelay(Relay):
    """A relay whose backend is used in threads beside the hub."""

    # The methods that have a thread each.
    tasks = ("_send", "_work", "_receive")

    def start(self):
        self._hub = get_hub()
        self._received = deque()
        self._arrival = self._hub.loop.async_()
        self._arrival.start(self._deliver_all)
        self._wanted, self._asked = threading.Event(), threading.Event()
        self._threads = [
            threading.Thread(
                target=getattr(self, task), name=f"interface{task}", daemon=True
            )
            for task in self.tasks
        ]
        for thread in self._threads:
            thread.start()

    def stop(self):
        """Send what waits, and receive no more."""
        self._stopping = True
        self._wanted.set()
        self._asked.set()
        with suppress(ChannelError):
            # For the receiver, which would wait on.
            self.backend.push(f"{self.inbox}0", self.backend.pack({}))
        for thread in self._threads:
            self._hub.threadpool.apply(thread.join, (WAIT + 1,))
        self._arrival.close()

    def _wake_sender(self):
        self._wanted.set()

    def _send(self):
        while self._waiting or not self._stopping:
            self._wanted.wait()
            self._wanted.clear()
            while batch := self._take_batch():
                for item in batch:
                    self._send_one(item)
        self.backend.release()

    def _send_one(self, item):
        channel, message, _ = item
        try:
            self.backend.push(channel, self._pack(channel, message))
        except Exception as exc:
            if not isinstance(exc, ChannelError):
                logger.exception("A message on %r was not sent.", channel)
                exc = BackendUnavailable(f"Not sent: {type(exc).__name__}")
            self._received.append((None, (item, exc)))
            self._arrival.send()

    def _work(self):
        super()._work()
        self.backend.release()

    def _receive(self):
        backoff = Backoff()
        while not self._stopping:
            try:
                received = self.backend.receive_many([self.inbox], WAIT, BATCH)
            except Exception as exc:
                self.outage.note_failure(self, exc)
                backoff.wait()
                continue
            self.outage.note_success(self)
            backoff.reset()
            if received:
                self._received.extend(received)
                self._arrival.send()
        self.backend.release()

    def _deliver_all(self):
        while self._received:
            channel, message = self._received.popleft()
            if channel is None:
                self._tell(*message)
            else:
                self._deliver(channel, message)


class LocalRelay(ThreadRelay):
    """
    A relay on a process-local backend, whose consumers run in this process. Sending
    takes no time there, and only the receiver needs a thread.
    """

    tasks = ("_receive",)

    def send(self, channel, message, failed=None):
        try:
            self.backend.push(channel, self._pack(channel, message))
        except ChannelError as exc:
            # Not before this returns.
            item = channel, message, failed
            self._hub.loop.run_callback(self._tell, item, exc)
        else:
            background.message_sent(self.backend, channel)

    def do(self, function):
        self._do(function)


def make_relay(alias, inbox, deliver):
    """Return the Relay for the channel backend `alias`."""
    backend = channels[alias]
    if is_redis(backend):
        from django.channels.interfaces.server.stores import HubRedisBackend

        backend = HubRedisBackend(alias, channels.settings[alias])
        backend.isolate(channels.isolation)
        return HubRelay(backend, inbox, deliver)
    relay_class = LocalRelay if backend.process_local else ThreadRelay
    return relay_class(backend, inbox, deliver)


def is_redis(backend):
    """Return whether the hub itself can talk to the store of `backend`."""
    try:
        from django.channels.backends.redis import RedisBackend
    except Exception:
        return False
    return type(backend) is RedisBackend
