"""
How messages get to the servers.

Whoever sends waits until the server has taken the message, for it may have no
room. A worker that is about to receive does without: what its consumers send to
inboxes goes along with its next command, or after 2 ms if that comes later.
"""

import logging
import time

from django.channels.backends.redis.receiving import PAUSE
from django.channels.backends.redis.sessions import NotSent
from django.channels.exceptions import BackendUnavailable, ChannelFull
from django.channels.messages import check_channel_name, clean_message, queue_name

logger = logging.getLogger("django.channels.backends")

# Characters above which a message has a command of its own.
LONG = 4096

# Keys of messages that others build on: if one is lost, its sender has to know
# before it goes on.
BUILT_ON = frozenset(["more", "join", "leave"])

# Messages that one command appends at most.
MOST = 50


class Post:
    """
    Messages for one queue on `shard`, for whose outcome nobody waits.

    A worker has just heard what time it is there, so that the server need not look
    at deadlines: what it refused for that would come again after later messages.
    """

    def __init__(self, sender, shard, queue):
        self.queue = queue
        self.messages = []
        self._sender = sender
        self._shard = shard
        self._session = shard.session
        self._insists = self._session.is_holding

    def command(self):
        """Return the command that appends them."""
        return self._sender.push_command(
            self._shard, self.queue, self.messages, self._insists
        )

    def confirm(self, reply):
        """Take the reply to the command, or an exception in its place."""
        outcomes = self._sender.outcomes(self._shard, self.queue, self.messages, reply)
        for (channel, _), error in zip(self.messages, outcomes):
            if error is not None:
                if self._insists and isinstance(error, ChannelFull):
                    self._session.failures[self.queue] = error
                logger.warning("A message on %r was lost: %s", channel, error)


class RedisSending:
    """The part of RedisBackend that sends."""

    supports_delay = True

    def send_clean(self, channel, message, delay):
        if "!" in channel and not BUILT_ON.isdisjoint(message):
            self._ranked(queue_name(channel))[0].session.let_go()
        super().send_clean(channel, message, delay)

    def push(self, channel, packed):
        queue = queue_name(channel)
        if queue.endswith("!"):
            shard = self._ranked(queue)[0]
            if (error := shard.session.failures.pop(queue, None)) is not None:
                raise error
            if shard.session.is_holding:
                return self._post(queue, channel, packed)
            shard.flush_queue(queue)
        self._push_anywhere(
            queue, lambda shard: self._push_all(shard, queue, [(channel, packed)])[0]
        )

    def push_delayed(self, channel, packed, delay):
        queue = queue_name(channel)
        self._push_anywhere(
            queue, lambda shard: self._delay(shard, queue, channel, packed, delay)
        )

    def _push_anywhere(self, queue, push):
        """
        Call `push` with one shard after another, until one has been given the
        message. Raise the ChannelError that it returns.
        """
        for shard in self._shards_for(queue):
            error = push(shard)
            if not isinstance(error, NotSent):
                break
            shard.retry_at = time.monotonic() + PAUSE
        if error is not None:
            raise error

    def reply(self, channel, message):
        check_channel_name(channel)
        packed = self.pack(clean_message(message))
        self._post(queue_name(channel), channel, packed)

    def hold_replies(self):
        # With several shards the next commands may be for another one.
        if len(self.shards) == 1:
            self.shards[0].session.hold()

    def _post(self, queue, channel, packed):
        shard = self._shards_for(queue)[0]
        session, is_short = shard.session, len(packed) <= LONG
        if session.is_holding:
            shard.note_holder(queue, session)
        with session.lock:
            post = session.last_held
            if not (
                post is not None
                and is_short
                and post.queue == queue
                and len(post.messages) < MOST
                and len(post.messages[0][1]) <= LONG
            ):
                post = Post(self, shard, queue)
                post.messages.append((channel, packed))
                session.post(post)
            else:
                post.messages.append((channel, packed))

    def push_many(self, messages):
        outcomes, places = [None] * len(messages), {}
        for index, (channel, packed) in enumerate(messages):
            queue = queue_name(channel)
            place = self._shards_for(queue)[0], queue
            places.setdefault(place, []).append(index)
        by_shard = {}
        for (shard, queue), indexes in places.items():
            for group in split(indexes, lambda index: len(messages[index][1])):
                by_shard.setdefault(shard, []).append((queue, group))
        for shard, groups in by_shard.items():
            batches = [
                (queue, [messages[index] for index in group]) for queue, group in groups
            ]
            for (_, group), errors in zip(groups, self._push_batches(shard, batches)):
                for index, error in zip(group, errors):
                    outcomes[index] = error
        return outcomes

    def _push_batches(self, shard, batches):
        """
        Push (queue, messages) in `batches` to a shard in one round trip. Return a
        list of what became of the messages of each.
        """
        # What was refused for its deadline would come again after later messages.
        insist = len({queue for queue, _ in batches}) < len(batches)
        try:
            commands = [self.push_command(shard, *batch, insist) for batch in batches]
            replies = shard.session.call_each(*commands)
        except BackendUnavailable as exc:
            replies = [exc] * len(batches)
        return [
            self.outcomes(shard, queue, messages, reply)
            for (queue, messages), reply in zip(batches, replies)
        ]

    def _push_all(self, shard, queue, messages, attempt=0):
        """Push messages to one queue. Return what became of each."""
        begun = time.monotonic()
        try:
            command = self.push_command(shard, queue, messages, insist=attempt >= 2)
            (reply,) = shard.session.call(command)
        except (BackendUnavailable, ChannelFull) as exc:
            reply = exc
        taken = time.monotonic() - begun
        return self.outcomes(shard, queue, messages, reply, attempt, taken)

    def _delay(self, shard, queue, channel, packed, delay, attempt=0):
        """Delay a message on one shard. Return what became of it."""
        begun = time.monotonic()
        try:
            deadline = shard.now() + delay + self.expiry
            sealed = self.envelopes.seal_parts(channel, packed, deadline)
            limits = self.expiry, self.capacity, attempt >= 2
            command = shard.delay_command(queue, sealed, delay, *limits)
            (reply,) = shard.session.call(command)
        except (BackendUnavailable, ChannelFull) as exc:
            return exc
        if reply > 0:
            # The server has told the time, as this process did not know it.
            shard.set_clock(reply / 1e6, time.monotonic() - begun)
            message = channel, packed, delay
            return self._delay(shard, queue, *message, attempt + 1)
        shard.looks.note(delay)
        return self._full(queue, "unread and delayed") if reply else None

    def push_command(self, shard, queue, messages, insist=False):
        """Return the command that appends messages, (channel, packed), to a queue."""
        deadline = shard.now() + self.expiry
        sealed = [
            self.envelopes.seal_parts(channel, packed, deadline)
            for channel, packed in messages
        ]
        return shard.push_command(queue, sealed, self.expiry, self.capacity, insist)

    def outcomes(self, shard, queue, messages, reply, attempt=0, taken=0):
        """
        Return what became of each message, None or the ChannelError, by the reply to
        push_command() that came after `taken` seconds, or an exception in its place.
        """
        if isinstance(reply, Exception):
            return [reply] * len(messages)
        if reply > 0:
            # The server has told the time, as this process did not know it.
            shard.set_clock(reply / 1e6, taken)
            return self._push_all(shard, queue, messages, attempt + 1)
        return [None] * (len(messages) + reply) + [self._full(queue)] * -reply


def split(items, size):
    """
    Return lists of `items` in their order, for a command each: up to MOST, or one
    whose message is long by `size`, a function.
    """
    groups = []
    for item in items:
        is_long = size(item) > LONG
        if (
            is_long
            or not groups
            or len(groups[-1]) >= MOST
            or size(groups[-1][0]) > LONG
        ):
            groups.append([])
        groups[-1].append(item)
    return groups
