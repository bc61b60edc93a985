"""
A channel backend in the memory of one process.

It is the default: a site needs nothing else to run under one WSGI server,
and its channels carry messages between the threads of each server process.
"""

import copy
import itertools
import threading
import time
from collections import deque
from heapq import heappop, heappush

from django.channels.backends.base import BaseChannelBackend, Queue
from django.channels.ids import ReceivedMessage, SentMessage, with_id
from django.channels.messages import decode_message, encode_message, queue_name


class Receiver:
    """
    A thread that waits for the next message of some queues.

    The sender hands it the message, so that no other thread can take it and
    only the one thread that gets it wakes up. One that sends a delayed message
    wakes it with nothing, as it may have to wait for less time now.
    """

    __slots__ = ("queues", "received", "_handed")

    def __init__(self, queues):
        self.queues = queues
        self.received = None
        self._handed = threading.Lock()
        self._handed.acquire()

    def hand(self, channel, packed):
        self.received = (channel, packed)
        self.wake()

    def wake(self):
        self._handed.release()

    def wait(self, timeout):
        self._handed.acquire(timeout=min(timeout, threading.TIMEOUT_MAX))


class MemoryBackend(BaseChannelBackend):
    """
    Keeps messages in this process, and ends with it. A fork starts empty.

    Options:

    * SERIALIZE: pass each message through its JSON text, as a store outside of
      the process would. For tests; False unless given.
    * THREADS: number of threads that run consumers, 1 unless given. With 0
      messages wait until something receives them.
    * STOP_TIMEOUT: seconds for which the end of the process waits for the
      consumers of messages that were sent before it, 10 unless given.
    """

    process_local = True
    supports_delay = True
    default_options = {"SERIALIZE": False, "THREADS": 1, "STOP_TIMEOUT": 10}

    def __init__(self, alias, params):
        super().__init__(alias, params)
        self._check_number("THREADS", self.options["THREADS"], -1, types=(int,))
        self._check_number("STOP_TIMEOUT", self.options["STOP_TIMEOUT"], -1)
        self.reset()
        self.reset_in_forks()

    def reset(self):
        """Forget all messages and receivers, even where a lock is held."""
        self._lock = threading.Lock()
        # Queue name -> entries (expires, channel, packed), oldest first.
        self._queues = {}
        # Queue name -> heap of delayed messages (due, number, channel, packed).
        self._delayed = {}
        self._numbers = itertools.count(1)
        # Queue name -> receivers, longest waiting first. Dicts as ordered sets.
        self._receivers = {}
        # Queue name -> the turn in which it was served last.
        self._served = {}
        # (group, inbox) -> (expires, member channels). Dicts as ordered sets.
        self._groups = {}
        # Name of a process -> (expires, what it says of itself).
        self._announced = {}
        self._turn = 0
        self._next_sweep = 0

    @property
    def serializes(self):
        return self.options["SERIALIZE"]

    def pack(self, message):
        return encode_message(message) if self.serializes else message

    def unpack(self, packed):
        if self.serializes:
            return decode_message(packed)
        if type(packed) is SentMessage:
            return with_id(ReceivedMessage, packed, packed.id)
        return packed

    def push(self, channel, packed):
        queue = queue_name(channel)
        with self._lock:
            now = time.monotonic()
            if queue in self._delayed:
                self._fall_due(queue, now)
            if queue not in self._receivers:
                if now >= self._next_sweep:
                    self._sweep(now)
                entries = self._queues.get(queue, ())
                if len(entries) >= self.capacity:
                    self._check_capacity(queue, now)
            self._append(queue, now + self.expiry, channel, packed)

    def push_delayed(self, channel, packed, delay):
        queue = queue_name(channel)
        with self._lock:
            now = time.monotonic()
            if now >= self._next_sweep:
                self._sweep(now)
            self._fall_due(queue, now)
            self._check_capacity(queue, now, len(self._delayed.get(queue, ())))
            entry = (now + delay, next(self._numbers), channel, packed)
            heappush(self._delayed.setdefault(queue, []), entry)
            if self._delayed[queue][0] is entry:
                for receiver in list(self._receivers.get(queue, ())):
                    self._remove_receiver(receiver)
                    receiver.wake()

    def push_group(self, group, inboxes, packed):
        for inbox in inboxes:
            # Who receives it may change it.
            super().push_group(group, [inbox], copy.deepcopy(packed))

    def pop(self, queues, timeout):
        deadline = time.monotonic() + timeout
        while True:
            with self._lock:
                now = time.monotonic()
                received = self._take(queues, now)
                if received is not None or now >= deadline:
                    return received
                receiver = Receiver(queues)
                for queue in queues:
                    self._receivers.setdefault(queue, {})[receiver] = None
                until = min(deadline, self._next_due(queues))
            try:
                receiver.wait(until - now)
            finally:
                with self._lock:
                    if receiver.received is None:
                        self._remove_receiver(receiver)
            if receiver.received is not None:
                return receiver.received

    def queues(self):
        with self._lock:
            now = time.monotonic()
            self._sweep(now)
            return {
                name: self._describe_queue(name, now)
                for name in self._queues.keys() | self._delayed.keys()
            }

    def _describe_queue(self, name, now):
        entries, delayed = self._queues.get(name, ()), self._delayed.get(name, ())
        oldest = max(now + self.expiry - entries[0][0], 0) if entries else 0
        return Queue(len(entries), oldest, len(delayed))

    def join(self, group, inbox, channels):
        with self._lock:
            now = time.monotonic()
            self._sweep(now)
            _, members = self._groups.get((group, inbox), (None, {}))
            members = members | dict.fromkeys(channels)
            self._groups[group, inbox] = (now + self.expiry, members)

    def leave(self, group, inbox, channels):
        with self._lock:
            expires, members = self._groups.pop((group, inbox), (None, {}))
            left = {name: None for name in members if name not in channels}
            if left:
                self._groups[group, inbox] = (expires, left)

    def members(self, group):
        with self._lock:
            self._sweep(time.monotonic())
            return {
                inbox: list(members)
                for (name, inbox), (_, members) in self._groups.items()
                if name == group
            }

    def announce(self, name, info, lifetime):
        with self._lock:
            self._announced.pop(name, None)
            if lifetime > 0:
                self._announced[name] = (time.monotonic() + lifetime, dict(info))

    def announced(self):
        with self._lock:
            self._sweep(time.monotonic())
            return {name: dict(info) for name, (_, info) in self._announced.items()}

    def flush(self):
        with self._lock:
            self._queues.clear()
            self._delayed.clear()
            self._served.clear()
            self._groups.clear()
            self._announced.clear()

    def _take(self, queues, now):
        """
        Remove the next message of one of `queues`: of the one that has waited
        longest to be served.
        """
        if self._delayed:
            for queue in queues:
                self._fall_due(queue, now)
        self._turn += 1
        waiting = [queue for queue in queues if queue in self._queues]
        for queue in sorted(waiting, key=self._served.__getitem__):
            entries = self._queues[queue]
            self._drop_expired(entries, now)
            entry = entries.popleft() if entries else None
            self._served[queue] = self._turn
            if not entries:
                self._remove_queue(queue)
            if entry is not None:
                return entry[1:]

    def _append(self, queue, expires, channel, packed):
        """Hand a message to a receiver that waits, or put it into the queue."""
        if receivers := self._receivers.get(queue):
            receiver = next(iter(receivers))
            self._remove_receiver(receiver)
            receiver.hand(channel, packed)
            return
        entries = self._queues.get(queue)
        if entries is None:
            entries = self._queues[queue] = deque()
            self._served[queue] = self._turn
        entries.append((expires, channel, packed))

    def _fall_due(self, queue, now):
        """Append the delayed messages of a queue that are due."""
        delayed = self._delayed.get(queue, ())
        while delayed and delayed[0][0] <= now:
            due, _, channel, packed = heappop(delayed)
            if due + self.expiry < now:
                self.drops["expired"] += 1
            else:
                self._append(queue, due + self.expiry, channel, packed)
            if not delayed:
                del self._delayed[queue]

    def _next_due(self, queues):
        """Return when the next delayed message of one of `queues` is due."""
        delayed = [self._delayed[name] for name in queues if name in self._delayed]
        return min((heap[0][0] for heap in delayed), default=float("inf"))

    def _remove_queue(self, queue):
        del self._queues[queue]
        del self._served[queue]

    def _remove_receiver(self, receiver):
        for queue in receiver.queues:
            receivers = self._receivers.get(queue, {})
            receivers.pop(receiver, None)
            if not receivers:
                self._receivers.pop(queue, None)

    def _check_capacity(self, queue, now, delayed=0):
        """Raise ChannelFull if a queue is full, of which `delayed` messages count."""
        entries = self._queues.get(queue, ())
        self._drop_expired(entries, now)
        if len(entries) + delayed >= self.capacity:
            raise self._full(queue, "unread and delayed" if delayed else "unread")

    def _drop_expired(self, entries, now):
        while entries and entries[0][0] < now:
            entries.popleft()
            self.drops["expired"] += 1

    def _sweep(self, now):
        """Drop what has expired in queues that nobody receives from, and members."""
        for queue in list(self._delayed):
            self._fall_due(queue, now)
        for queue, entries in list(self._queues.items()):
            self._drop_expired(entries, now)
            if not entries:
                self._remove_queue(queue)
        for kept in (self._groups, self._announced):
            for key, (expires, _) in list(kept.items()):
                if expires < now:
                    del kept[key]
        self._next_sweep = now + self.expiry
