"""The backend itself: which shard has what, and what goes there."""

import hashlib
import json
import logging
import secrets
import threading
import time

from django.channels.backends.base import Queue
from django.channels.backends.shared import SharedBackend
from django.channels.exceptions import InvalidChannelBackend
from django.core.exceptions import ImproperlyConfigured

try:
    from django.channels.backends.redis.delays import move_due
    from django.channels.backends.redis.groups import RedisGroups
    from django.channels.backends.redis.locations import ClusterServer, parse_location
    from django.channels.backends.redis.receiving import Receiver
    from django.channels.backends.redis.scripts import script_command
    from django.channels.backends.redis.sending import RedisSending
    from django.channels.backends.redis.shards import Shard
except ModuleNotFoundError as exc:
    if exc.name.partition(".")[0] != "redis":
        raise
    raise ImproperlyConfigured(
        "The channel backend on Redis needs the package redis: "
        'python -m pip install "Django[redis]"'
    ) from exc

logger = logging.getLogger("django.channels.backends")

DEFAULT_LOCATION = "redis://127.0.0.1:6379/0"

# Seconds beyond its time for which a receiver passes over what it cannot take.
REFUSING = 1


class RedisBackend(RedisSending, RedisGroups, SharedBackend):
    """
    Keeps messages on Redis 6.2 or later, or on Valkey.

    LOCATION is a URL, or a list of URLs to spread the queues over, see
    django.channels.backends.redis.locations.

    Options, beside those of all backends that processes share:

    * PREFIX: what the names of all keys begin with, "django-channels" unless
      given. Sites that share a server need one each.
    * CONNECTION: a dict of further arguments of redis-py's connections, such as
      those on TLS. Under "sentinel" it may have a dict of those to sentinels.
    * SHARDS: parts that a cluster is used as, 3 unless given. All processes need
      the same number.
    """

    default_options = SharedBackend.default_options | {
        "PREFIX": "django-channels",
        "CONNECTION": {},
        "SHARDS": 3,
    }

    def __init__(self, alias, params):
        super().__init__(alias, params)
        self._check_number("SHARDS", self.options["SHARDS"], types=(int,))
        self.shards = list(self._make_shards())
        # Which shard gets the messages of this process that any shard may get.
        self._process = secrets.token_hex(8)
        self._receiver = Receiver(self.shards)
        self.reset_in_forks()

    def _make_shards(self):
        prefix, place = self.options["PREFIX"], f"CHANNELS[{self.alias!r}]['LOCATION']"
        urls = self.location or DEFAULT_LOCATION
        urls = urls if isinstance(urls, (list, tuple)) else [urls]
        if len(set(urls)) < len(urls):
            raise InvalidChannelBackend(f"{place} names a server twice.")
        for url in urls:
            server = parse_location(url, self.options["CONNECTION"], place)
            if isinstance(server, ClusterServer):
                for number in range(self.options["SHARDS"]):
                    yield Shard(server, f"{{{prefix}:{number}}}:")
            else:
                yield Shard(server, f"{prefix}:")

    def describe(self):
        return f"redis ({', '.join(dict.fromkeys(s.server.name for s in self.shards))})"

    # Which shard.

    def _ranked(self, name):
        """
        Return the shards, beginning with the one that has `name`. A shard more or
        less changes little of that (rendezvous hashing).
        """
        if len(self.shards) == 1:
            return self.shards

        def rank(shard):
            return hashlib.blake2b(f"{shard.name} {name}".encode()).digest()

        return sorted(self.shards, key=rank)

    def _shards_for(self, queue):
        """
        Return the shards to send the messages of `queue` to, best first. An inbox
        has one. Other queues are in all, and a thread sends to one of them as long
        as that answers, so that its messages stay in order.
        """
        if queue.endswith("!"):
            return self._ranked(queue)[:1]
        ranked = self._ranked(f"{self._process} {threading.get_ident()} {queue}")
        now = time.monotonic()
        return sorted(ranked, key=lambda shard: shard.retry_at > now)

    # Receiving. For sending see django.channels.backends.redis.sending.

    def pop(self, queues, timeout):
        return next(iter(self.pop_many(queues, timeout, 1)), None)

    def pop_many(self, queues, timeout, most):
        """Return a list of what pop() returns, up to `most`."""
        deadline = time.monotonic() + timeout
        while True:
            left = max(deadline - time.monotonic(), 0)
            entries = self._fetch(queues, left, most)
            opened = [
                self.open(envelope, queue, now)
                for queue, envelope, now in entries
                if envelope is not None
            ]
            received = [item for item in opened if item is not None]
            past = time.monotonic() - deadline
            # What has expired, or is refused, holds nobody up for long.
            if received or past >= (REFUSING if entries else 0):
                return received

    def _fetch(self, queues, timeout, most):
        if len(queues) == 1 and queues[0].endswith("!"):
            shard = self._ranked(queues[0])[0]
            return self._receiver.fetch_from(shard, queues, timeout, most)
        return self._receiver.fetch(queues, timeout, most)

    def receive_many(self, channels, timeout, most):
        received = [
            (channel, self._unpack(channel, packed))
            for channel, packed in self.pop_many(channels, timeout, most)
        ]
        return [item for item in received if item[1] is not None]

    # What people look at.

    def queues(self):
        queues = {}
        for shard in self.shards:
            move_due(shard, 0)
            for name in {*shard.names("queue"), *shard.names("delayed")}:
                command = script_command("look", shard.delay_keys(name)[:2])
                ((depth, left, delayed),) = shard.session.call(command)
                if depth or delayed:
                    before = queues.get(name, Queue(0, 0))
                    oldest = self.expiry - left / 1000 if depth else 0
                    queues[name] = Queue(
                        before.depth + depth,
                        max(oldest, before.oldest, 0),
                        before.delayed + delayed,
                    )
        return queues

    def announce(self, name, info, lifetime):
        shard = self.shards[0]
        keys = [shard.key("processes"), shard.key("process", name)]
        milliseconds = round(lifetime * 1000)
        text = json.dumps(info)
        shard.session.call(script_command("announce", keys, name, text, milliseconds))

    def announced(self):
        shard = self.shards[0]
        (names,) = shard.session.call(("ZRANGE", shard.key("processes"), 0, -1))
        names = [name.decode() for name in names]
        if not names:
            return {}
        commands = [("GET", shard.key("process", name)) for name in names]
        texts = shard.session.call(*commands)
        return {name: json.loads(text) for name, text in zip(names, texts) if text}

    # The store as a whole.

    def flush(self):
        for shard in self.shards:
            if keys := shard.scan():
                shard.session.call(*(("UNLINK", key) for key in keys))

    def isolate(self, name):
        for shard in self.shards:
            shard.isolate(name)

    def release(self):
        self._receiver.release()
        for shard in self.shards:
            shard.release()

    def close(self):
        for shard in self.shards:
            shard.close()

    def reset(self):
        """Use no connection and no inbox of the process that this one is a fork of."""
        self._local = threading.local()
        self._process = secrets.token_hex(8)
        self._receiver = Receiver(self.shards)
        for shard in self.shards:
            shard.reset()
