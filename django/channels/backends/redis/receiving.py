"""How a thread receives from queues that may lie on several shards."""

import selectors
import threading
import time
from collections import deque
from contextlib import suppress

from django.channels.backends.redis.delays import move_due
from django.channels.backends.redis.locations import BLOCK
from django.channels.backends.redis.scripts import script_command
from django.channels.exceptions import BackendUnavailable, ChannelError

# Seconds for which a shard that did not answer is left out.
PAUSE = 1


class Receiver:
    """Takes envelopes from `shards`, for all threads of a process."""

    def __init__(self, shards):
        self.shards = shards
        self._local = threading.local()

    @property
    def _state(self):
        """The state of the current thread."""
        try:
            return self._local.state
        except AttributeError:
            state = self._local.state = State()
            return state

    def fetch_from(self, shard, queues, timeout, most=1):
        """
        Return a list of (queue, envelope, now) of up to `most` envelopes in one of
        `queues` on one shard. It is empty if none comes in `timeout` seconds, or in
        BLOCK seconds.
        """
        shard.prepare()
        state, block = self._state, blocking(shard, timeout)
        commands = shard.pop_commands(state.in_turn(shard, queues), block, most)
        shard.session.let_go()
        entries = shard.popped(shard.session.call(*commands))
        if entries and len(queues) > 1:
            state.note(shard, entries[0][0])
        return entries

    def fetch(self, queues, timeout, most=1):
        """
        Do what fetch_from() does, on all shards, and for queues that may have
        delayed messages: not beyond the next look at these.
        """
        if len(self.shards) == 1:
            (shard,) = self.shards
            move_due(shard, timeout)
            return self.fetch_from(shard, queues, shard.looks.limit(timeout), most)
        state = self._state
        entries = state.take_early(queues) or self._look(state, queues, timeout, most)
        if not entries and timeout > 0:
            self._wait(state, queues, timeout)
            entries = state.take_early(queues)
        return entries

    def release(self):
        """Put back what has come and was not asked for by the current thread."""
        state = self._state
        while state.early:
            shard, (queue, envelope, _), _ = state.early.pop()
            with suppress(ChannelError):
                command = script_command(
                    "restore", [shard.key("queue", queue)], envelope
                )
                shard.session.call(command)
        state.close()

    def _look(self, state, queues, timeout, most):
        """Take from the first shard that has something."""
        failed = None
        for shard in state.usable(self.shards, queues):
            try:
                move_due(shard, timeout)
                if entries := self.fetch_from(shard, queues, 0, most):
                    state.note(shard, entries[0][0])
                    return entries
            except BackendUnavailable as exc:
                failed = exc
                state.leave_out(shard)
        if failed is not None and state.are_left_out(self.shards):
            raise failed
        return []

    def _wait(self, state, queues, timeout):
        """
        Wait at all shards at once. What several bring at the same time is kept for
        the next calls of this thread.
        """
        waiting, failed = {}, None
        usable = state.usable(self.shards, queues)
        # With 0 the servers would not wait at all, and run a script instead.
        timeout = max(min(shard.looks.limit(timeout) for shard in usable), 0.001)
        try:
            for shard in usable:
                try:
                    waiting[shard] = self._start(shard, state, queues, timeout)
                except BackendUnavailable as exc:
                    failed = exc
                    state.leave_out(shard)
            if not waiting:
                raise failed
            select([shard.session for shard in waiting], min(timeout, BLOCK) + 1)
            for shard, (client_id, _) in waiting.items():
                if not select([shard.session], 0):
                    state.unblock(shard, client_id)
            for shard, (_, commands) in list(waiting.items()):
                self._finish(shard, state, commands)
                del waiting[shard]
        finally:
            # If interrupted: replies that nobody reads must not be taken for others.
            for shard in waiting:
                shard.session.close()

    def _start(self, shard, state, queues, timeout):
        session = shard.session
        client_id = session.client_id
        block = blocking(shard, timeout)
        commands = shard.pop_commands(state.in_turn(shard, queues), block)
        session.start(*commands)
        return client_id, commands

    def _finish(self, shard, state, commands):
        try:
            entries = shard.popped(shard.session.finish(*commands))
        except BackendUnavailable:
            state.leave_out(shard)
        else:
            for entry in entries:
                state.note(shard, entry[0])
                if entry[1] is not None:
                    state.early.append((shard, entry, time.monotonic()))


class State:
    """What one thread knows of its queues and shards."""

    def __init__(self):
        # (shard, queue) -> the turn in which it was served last.
        self._served = {}
        self._turn = 0
        # (shard, entry, when it came) of those beside the one that was asked for.
        self.early = deque()
        # Shard -> when to try it again.
        self._left_out = {}
        self._unblocking = {}

    def take_early(self, queues):
        """Return a list of one entry of `queues` that has come already, if any."""
        for item in self.early:
            _, (queue, envelope, now), came = item
            if queue in queues:
                self.early.remove(item)
                # It may have waited here past its deadline.
                return [(queue, envelope, now + time.monotonic() - came)]
        return []

    def note(self, shard, queue):
        """Note that a queue has been served."""
        if len(self._served) > 1000:
            self._served.clear()
        self._turn += 1
        self._served[shard, queue] = self._turn

    def in_turn(self, shard, queues):
        """Return `queues` in the order in which it is their turn."""
        if len(queues) == 1:
            return queues
        return sorted(queues, key=lambda queue: self._served.get((shard, queue), 0))

    def usable(self, shards, queues):
        """Return the shards that answered lately, in their turn for `queues`."""
        now = time.monotonic()
        usable = [s for s in shards if self._left_out.get(s, 0) <= now] or shards

        def turn(shard):
            return max(self._served.get((shard, queue), 0) for queue in queues)

        return sorted(usable, key=turn)

    def leave_out(self, shard):
        """Do not use a shard for some time, as it does not answer."""
        self._left_out[shard] = time.monotonic() + PAUSE

    def are_left_out(self, shards):
        """Return whether none of `shards` answered lately."""
        return all(self._left_out.get(s, 0) > time.monotonic() for s in shards)

    def close(self):
        """Close the connections of the current thread that unblock others."""
        for session in self._unblocking.values():
            session.close()

    def unblock(self, shard, client_id):
        """Let a shard answer a blocking pop of this thread now."""
        session = self._unblocking.get(shard)
        if session is None:
            session = self._unblocking[shard] = shard.open_session()
        try:
            session.call(("CLIENT", "UNBLOCK", client_id))
        except BackendUnavailable:
            # Then it answers when its time is over.
            pass


def blocking(shard, timeout):
    """Return the seconds for which one pop may block, 0 if it must not wait."""
    # Redis 6.2 takes 0.001 for 0, which is for ever.
    return min(max(timeout, 0.002), shard.server.block) if timeout > 0 else 0


def select(sessions, timeout):
    """
    Return whether one of `sessions` can be read from within `timeout` seconds, or
    has been closed by another thread.
    """
    with selectors.DefaultSelector() as selector:
        for session in sessions:
            if not session.is_open:
                return True
            selector.register(session, selectors.EVENT_READ)
        return bool(selector.select(timeout))
