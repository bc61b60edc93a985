"""One server, or one part of a cluster, and what it keeps of the queues."""

import logging
import math
import threading
import time
import weakref

from django.channels.backends.redis.flushing import Flusher
from django.channels.backends.redis.scripts import script_command
from django.channels.backends.redis.sessions import Session
from django.channels.backends.shared import Clock
from django.channels.delays import Looks
from django.channels.exceptions import BackendUnavailable

logger = logging.getLogger("django.channels.backends")

# Milliseconds to wait for a replica to know what has been popped.
REPLICATION = 100

# Seconds after which to ask again whether the server has replicas.
PREPARED = 5

# Bytes above which the text of an envelope has a key of its own (proposal,
# "Potential Issues").
LARGE = 20 * 1024


class Shard:
    """
    The queues on `server`, a location, with keys that begin with `prefix`.

    Each thread has a connection of its own.
    """

    local_class = threading.local

    def __init__(self, server, prefix):
        self.server = server
        self.prefix = prefix
        self.name = f"{server.name}/{prefix}"
        self.clock = Clock()
        self.looks = Looks()
        self.has_lmpop = None
        self._isolation = ""
        # When to send again what another shard takes, too, after a failure.
        self.retry_at = 0
        self._has_replicas = False
        self._prepare_at = 0
        self.reset()

    def reset(self):
        """Forget all connections without closing them: a fork must not use them."""
        self._local = self.local_class()
        self._flusher = Flusher()
        # Inbox -> the session that has held something for it.
        self._holders = weakref.WeakValueDictionary()
        self._sessions = weakref.WeakSet()
        self._sessions_lock = threading.Lock()

    def isolate(self, name):
        """Let the keys begin with `name` after the prefix, or no longer with ""."""
        isolation = f"{name}:" if name else ""
        prefix = self.prefix.removesuffix(self._isolation) + isolation
        self._isolation = isolation
        if prefix != self.prefix:
            # Sessions have the old one.
            self.close()
            self._local = self.local_class()
            self.prefix = prefix

    @property
    def session(self):
        """The session of the current thread."""
        try:
            return self._local.session
        except AttributeError:
            session = self._local.session = self.open_session()
            return session

    def open_session(self):
        """Return a session of its own."""
        session = Session(self.server, self.prefix, self._flusher)
        with self._sessions_lock:
            self._sessions.add(session)
        return session

    def note_holder(self, queue, session):
        """Note that `session` is to hold something for `queue`."""
        if self._holders.get(queue) is not session:
            self._holders[queue] = session

    def flush_queue(self, queue):
        """Send what another thread holds for `queue`, ahead of what comes now."""
        holder = self._holders.get(queue)
        if holder is not None and holder.last_held is not None:
            holder.flush_since(float("inf"))

    def release(self):
        """Close the connection of the current thread."""
        session = self._local.__dict__.pop("session", None)
        if session is not None:
            session.release()

    def close(self):
        """Close the connections of all threads."""
        with self._sessions_lock:
            sessions = list(self._sessions)
        for session in sessions:
            session.end()

    def key(self, kind, *names):
        """Return the name of a key."""
        return f"{self.prefix}{kind}:{':'.join(names)}"

    def now(self):
        """Return the time (s) by the server's clock."""
        if not self.clock.is_set():
            self.read_clock()
        return self.clock.now()

    def read_clock(self):
        begun = time.monotonic()
        ((seconds, micros),) = self.session.call(("TIME",))
        self.set_clock(int(seconds) + int(micros) / 1e6, time.monotonic() - begun)

    def set_clock(self, now, round_trip):
        # As a command will find it that is sent now.
        self.clock.set(now + round_trip)

    def push_command(self, queue, sealed, expiry, capacity, insist=False):
        """
        Return the command that appends `sealed`, a list of envelopes, to `queue`. A
        large one has to be alone.
        """
        keys, entries = [self.key("queue", queue)], list(map(str, sealed))
        if len(sealed) == 1 and len(entries[0]) > LARGE:
            keys.append(self.key("body", sealed[0].id))
            entries = [f"{sealed[0].head} ", sealed[0].text]
        limits = sealed[0].deadline, capacity, round(expiry * 1000), int(insist)
        return script_command("push", keys, *limits, *entries)

    def delay_keys(self, queue):
        """Return the keys that scripts on the delayed messages of `queue` have."""
        return [
            self.key("queue", queue),
            self.key("delayed", queue),
            self.key("delays"),
        ]

    def delay_command(self, queue, sealed, delay, *limits):
        """
        Return the command that keeps `sealed`, an envelope, for `delay` seconds
        beside `queue`. For `limits` see push_command().
        """
        expiry, capacity, insist = limits
        keys, entry = self.delay_keys(queue), [str(sealed)]
        if len(entry[0]) > LARGE:
            keys.append(self.key("body", sealed.id))
            entry = [f"{sealed.head} ", sealed.text]
        limits = sealed.deadline, capacity, round(expiry * 1000), int(insist)
        delay = math.ceil(delay * 1000)
        return script_command("delay", keys, *limits, delay, queue, *entry)

    def pop_commands(self, queues, block, most=1):
        """
        Return the commands that remove up to `most` envelopes of the first of
        `queues` that has one, and wait `block` seconds for it.
        """
        keys = [self.key("queue", queue) for queue in queues]
        if not self.has_lmpop:
            pop = ("BLPOP", *keys, block) if block else script_command("pop", keys)
        elif block:
            pop = ("BLMPOP", block, len(keys), *keys, "LEFT", "COUNT", most)
        else:
            pop = ("LMPOP", len(keys), *keys, "LEFT", "COUNT", most)
        if self._has_replicas:
            # A replica that takes over must not have it any more. WAIT looks at
            # what has been written before the command ahead of it.
            return (pop, ("TIME",), ("WAIT", 1, REPLICATION))
        return (pop, ("TIME",))

    def popped(self, replies):
        """
        Return a list of (queue, envelope, now) from the replies to pop_commands().
        An envelope is None if its text cannot be had.
        """
        popped, (seconds, micros), *_ = replies
        if popped is None:
            return []
        key, entries = popped
        queue = key[len(self.key("queue", "")) :].decode()
        now = int(seconds) + int(micros) / 1e6
        self.clock.note(now)
        # BLPOP and the script return one envelope, and not in a list.
        entries = entries if isinstance(entries, list) else [entries]
        return [(queue, self._complete(entry), now) for entry in entries]

    def _complete(self, entry):
        """
        Return an envelope with its text, which may have a key of its own, or None
        if the text cannot be had: what was popped beside it must not be lost, too.
        """
        envelope = entry.decode("ascii", "replace")
        fields = envelope.split(" ", 3)
        if not envelope.endswith(" ") or len(fields) < 4:
            return envelope
        number = fields[2]
        try:
            (body,) = self.session.call(("GETDEL", self.key("body", number)))
        except BackendUnavailable as exc:
            logger.warning("A large message was lost: %s", exc)
            return None
        return envelope + (body or b"").decode("ascii", "replace")

    def prepare(self):
        """Find out, now and then, what the server is."""
        now = time.monotonic()
        if now < self._prepare_at:
            return
        if self.has_lmpop is None:
            (reply,) = self.session.call_each(("COMMAND", "INFO", "LMPOP"))
            # Without an answer, what every server has will do.
            if not isinstance(reply, Exception):
                self.has_lmpop = bool(reply and reply[0])
        if self.server.replicated:
            ((role, _, replicas, *_),) = self.session.call(("ROLE",))
            self._has_replicas = role == b"master" and bool(replicas)
        self._prepare_at = now + PREPARED

    def names(self, kind):
        """Return the ends of the names of all keys of a kind."""
        return [key[len(self.key(kind, "")) :] for key in self.scan(f"{kind}:*")]

    def scan(self, pattern="*"):
        """Return the names of the keys that begin with the prefix."""
        cursor, keys = b"0", set()
        while True:
            command = ("SCAN", cursor, "MATCH", escape(self.prefix) + pattern)
            ((cursor, found),) = self.session.call((*command, "COUNT", 1000))
            keys.update(key.decode("utf-8", "replace") for key in found)
            if cursor == b"0":
                return sorted(keys)


def escape(text):
    """Return a pattern that matches just this text."""
    return "".join(f"\\{char}" if char in "*?[]\\" else char for char in text)
