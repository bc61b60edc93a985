"""
What a channel backend promises, and the part of it that all backends share.

A backend stores messages in queues, first in, first out, and which channels
are in which group. A subclass needs push(), pop(), queues(), join(), leave(),
members() and flush(); django.channels.backends.contract holds the tests that
it has to pass.
"""

import logging
import os
import time
import weakref
from collections import Counter
from typing import NamedTuple

from django.channels.delays import clean_delay
from django.channels.exceptions import (
    ChannelError,
    ChannelFull,
    InvalidChannelBackend,
    InvalidDelay,
    InvalidMessage,
)
from django.channels.messages import (
    check_channel_name,
    check_queue_name,
    clean_message,
    decode_message,
    encode_message,
    group_address,
)

logger = logging.getLogger("django.channels.backends")

# Inboxes to which a message of a group is pushed in one round trip.
GROUP_BATCH = 100

PARAMS = ("BACKEND", "CAPACITY", "EXPIRY", "LOCATION", "OPTIONS")


class Queue(NamedTuple):
    """What waits in a queue."""

    depth: int  # Messages.
    oldest: float  # Seconds for which the first of them has waited, 0 without any.
    delayed: int = 0  # Messages that are not due yet.


class BaseChannelBackend:
    """
    Stores the messages of channels until they are received.

    Arguments: the `alias` under which the CHANNELS setting holds the backend,
    and `params`, its dict there:

    * EXPIRY: seconds that an unread message lives, 60 unless given.
    * CAPACITY: unread messages that a queue holds at most, 10,000 unless given.
    * LOCATION: where the store is. Its meaning is the backend's own.
    * OPTIONS: a dict of further options. Those that a backend knows are the
      keys of its attribute `default_options`.

    One instance serves all threads of a process.

    Promises:

    1. Messages of one channel are received in the order in which they were sent.
    2. A message is received at most once, whatever fails.
    3. send() does not wait: at capacity it raises ChannelFull.
    4. receive() returns as soon as there is a message.
    5. Of several channels with messages none waits for ever for the others.
    6. A message lives at least EXPIRY seconds, and is not delivered once it is
       clearly past that.
    7. Each backend accepts and refuses the same names and messages, and does so
       in send().
    8. What is received is a copy of what was sent.
    9. What nobody receives does not stay in the store.
    10. A member of a group stays in it for EXPIRY seconds after the last join().
       A message to a group is encoded once and pushed once for each inbox that
       has members.
    11. A delayed message is received no earlier than its delay, and soon after
       it. It goes to the end of its queue then, and the other promises hold as if
       it were sent then, but ChannelFull is raised by send() alone.
    """

    # False if push_delayed() is missing. Then no message can be delayed.
    supports_delay = False

    # True if messages never leave the process, so that its own threads have to
    # run the consumers. Then the options THREADS and STOP_TIMEOUT are those of
    # django.channels.backends.memory.MemoryBackend.
    process_local = False

    # True if it is too slow, or loses too much, for production.
    for_development = False

    # True if requests and responses cross as text.
    serializes = False

    # Bytes of a body that one message carries at most.
    chunk_size = 2**18

    default_options = {}

    def __init__(self, alias, params):
        self.alias = alias
        self.expiry = params.get("EXPIRY", 60)
        self.capacity = params.get("CAPACITY", 10_000)
        self.location = params.get("LOCATION", "")
        options = params.get("OPTIONS", {})
        if not isinstance(options, dict):
            raise InvalidChannelBackend(
                f"'OPTIONS' in CHANNELS[{alias!r}] must be a dict, not {options!r}."
            )
        self.options = self.default_options | options
        self._check_keys(params, PARAMS, f"CHANNELS[{alias!r}]")
        self._check_keys(
            self.options, self.default_options, f"CHANNELS[{alias!r}]['OPTIONS']"
        )
        # How many messages this process has taken and dropped, by reason.
        self.drops = Counter()
        self._check_number("EXPIRY", self.expiry)
        self._check_number("CAPACITY", self.capacity, types=(int,))

    def send(self, channel, message, delay=0):
        """
        Put `message` (a dict of JSON values) on `channel`, where it can be received
        after `delay`, seconds or a timedelta.

        Raise InvalidChannelName, InvalidMessage, InvalidDelay or, when as many
        messages as CAPACITY wait unread, ChannelFull. Nothing has been sent then.
        """
        check_channel_name(channel)
        self.send_clean(channel, clean_message(message), delay)

    def send_clean(self, channel, message, delay):
        """Do what send() does with a name and a message that have been checked."""
        seconds = self.clean_delay(delay, channel)
        if seconds:
            self.push_delayed(channel, self.pack(message), seconds)
        else:
            self.push(channel, self.pack(message))

    def clean_delay(self, delay, channel):
        """
        Return `delay` in seconds. Raise InvalidDelay if what is sent to `channel`
        cannot be delayed by that.
        """
        seconds = clean_delay(delay, channel)
        if seconds and not self.supports_delay:
            raise InvalidDelay(
                f"The backend {self.alias!r} is a {type(self).__name__}, which cannot "
                "delay messages."
            )
        return seconds

    def reply(self, channel, message):
        """
        Send `message` as send() does, without waiting to hear whether the store
        has taken it: if it has not, that is logged. For what a consumer does last.
        """
        self.send(channel, message)

    def hold_replies(self):
        """
        Let what the current thread sends to inboxes, from now until it receives, go
        a few milliseconds later, so that much can go at once. If there was no room
        for a message, the next send() to the same inbox may raise ChannelFull in
        its place.
        """

    def receive(self, channels, timeout=0):
        """
        Take the next message of one of `channels`, a list of names of channels
        and of inboxes ("prefix!"). Wait up to `timeout` seconds for it.

        Return (channel, message), or None if no message came in time.
        """
        if isinstance(channels, str):
            raise TypeError("receive() needs a list of names, not one name.")
        for channel in channels:
            check_queue_name(channel)
        deadline = time.monotonic() + timeout
        while received := self.pop(channels, max(deadline - time.monotonic(), 0)):
            channel, packed = received
            if (message := self._unpack(channel, packed)) is not None:
                return channel, message

    def receive_many(self, channels, timeout, most):
        """
        Take up to `most` messages that one of `channels` has now, or the first that
        comes within `timeout` seconds. Return a list of (channel, message).
        """
        received = self.receive(channels, timeout)
        return [] if received is None else [received]

    def _unpack(self, channel, packed):
        try:
            return self.unpack(packed)
        except InvalidMessage as exc:
            logger.error(
                "What came on %r is no message and was dropped: %s", channel, exc
            )

    def pack(self, message):
        """Return the form in which the store keeps a message."""
        return encode_message(message)

    def unpack(self, packed):
        """Return the message that pack() has turned into `packed`."""
        return decode_message(packed)

    def push(self, channel, packed):
        """Append a packed message to the queue of `channel`, or raise ChannelFull."""
        raise NotImplementedError(
            "Subclasses of BaseChannelBackend must implement push()."
        )

    def push_delayed(self, channel, packed, delay):
        """
        Do what push() does, but `delay` seconds from now, a number above 0. Raise
        ChannelFull if as many messages as CAPACITY wait unread or delayed. For a
        subclass that sets `supports_delay`.
        """
        raise NotImplementedError(
            "Subclasses of BaseChannelBackend that support delays must implement "
            "push_delayed()."
        )

    def push_many(self, messages):
        """
        Push the (channel, packed) in `messages`. Return a list of what became of
        each: None, or the ChannelError.
        """
        outcomes = []
        for channel, packed in messages:
            try:
                self.push(channel, packed)
                outcomes.append(None)
            except ChannelError as exc:
                outcomes.append(exc)
        return outcomes

    def pop(self, queues, timeout):
        """
        Remove the next message of one of `queues` and return (channel, packed),
        or None if none comes within `timeout` seconds.
        """
        raise NotImplementedError(
            "Subclasses of BaseChannelBackend must implement pop()."
        )

    def queues(self):
        """
        Return a dict of the Queue of each name that has messages, unread or delayed.
        """
        raise NotImplementedError(
            "Subclasses of BaseChannelBackend must implement queues()."
        )

    def depths(self):
        """Return a dict of the number of unread messages of each queue that has any."""
        queues = self.queues().items()
        return {name: queue.depth for name, queue in queues if queue.depth}

    def join(self, group, inbox, channels):
        """
        Make `channels`, a list of channels of `inbox`, members of `group`. The
        members of an inbox stay for EXPIRY seconds after the last join() for it.
        """
        raise NotImplementedError(
            "Subclasses of BaseChannelBackend must implement join()."
        )

    def renew(self, group, inbox, channels):
        """Do what join() does for channels that are members, unless they got lost."""
        self.join(group, inbox, channels)

    def leave(self, group, inbox, channels):
        """Make `channels` of `inbox` members of `group` no longer."""
        raise NotImplementedError(
            "Subclasses of BaseChannelBackend must implement leave()."
        )

    def members(self, group):
        """Return a dict of the lists of member channels by their inbox."""
        raise NotImplementedError(
            "Subclasses of BaseChannelBackend must implement members()."
        )

    def inboxes(self, group):
        """Return the names of the inboxes that have members in `group`."""
        return list(self.members(group))

    def send_group(self, group, message):
        """
        Send `message` to all members of `group`: encoded once, and pushed once to
        each inbox. One that is full does without.
        """
        packed = self.pack(clean_message(message))
        self.push_group(group, self.inboxes(group), packed)

    def push_group(self, group, inboxes, packed):
        """
        Append a packed message for `group` to each of `inboxes`. Raise
        BackendUnavailable, after all, if the store of some does not answer.
        """
        unavailable = None
        for start in range(0, len(inboxes), GROUP_BATCH):
            batch = inboxes[start : start + GROUP_BATCH]
            addresses = [group_address(inbox, group) for inbox in batch]
            for error in self.push_many([(name, packed) for name in addresses]):
                if isinstance(error, ChannelFull):
                    message = "A message to the group %r was dropped: %s"
                    logger.warning(message, group, error)
                elif error is not None:
                    unavailable = error
        if unavailable is not None:
            raise unavailable

    def announce(self, name, info, lifetime):
        """
        Let announced() show `info`, a dict of JSON values, about the process
        `name` for `lifetime` seconds. With 0 seconds it is taken back.
        """

    def announced(self):
        """Return a dict of what has been announced, by name."""
        return {}

    def flush(self):
        """Drop all messages, and all members of groups."""
        raise NotImplementedError(
            "Subclasses of BaseChannelBackend must implement flush()."
        )

    def cross(self, message):
        """Return `message` as it is after it has been sent and received."""
        return self.unpack(self.pack(message))

    def isolate(self, name):
        """
        Send and receive under names that begin with `name`, or with "" as ever. So
        tests keep apart where processes share a store, but for test databases.
        """

    def release(self):
        """Give back what the current thread holds, as it will not use it again."""

    def close(self):
        """Give back connections and other resources. The messages stay."""

    def reset(self):
        """Use nothing of the process that this one is a fork of."""

    def reset_in_forks(self):
        """Let forks call reset(). For a subclass, when it has all that this needs."""
        _backends.add(self)

    def describe(self):
        """Return a few words for people, such as "memory"."""
        return type(self).__name__.removesuffix("Backend").lower()

    def _full(self, queue, kind="unread"):
        """Return the ChannelFull for a queue with too many messages of a kind."""
        return ChannelFull(
            f"{queue!r} holds {self.capacity} {kind} messages, as many as CAPACITY in "
            f"CHANNELS[{self.alias!r}] allows. Its consumer is missing or slow."
        )

    def _check_keys(self, given, known, place):
        for key in given:
            if key not in known:
                raise InvalidChannelBackend(
                    f"{place} has the key {key!r}, which {type(self).__name__} does "
                    f"not know. It knows {', '.join(sorted(known)) or 'none'}."
                )

    def _check_number(self, key, value, least=0, types=(int, float)):
        """Raise InvalidChannelBackend unless `value` is a number above `least`."""
        if type(value) not in types or not least < value < float("inf"):
            kind = "an integer" if types == (int,) else "a number"
            raise InvalidChannelBackend(
                f"{key!r} in CHANNELS[{self.alias!r}] must be {kind} above {least}, "
                f"not {value!r}."
            )


_backends = weakref.WeakSet()


def _reset_after_fork():
    for backend in _backends:
        backend.reset()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_after_fork)
