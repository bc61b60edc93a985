"""A channel backend on a database that Django supports."""

import logging
import threading
import time
from contextlib import suppress

from django.apps import apps
from django.channels.backends.base import Queue
from django.channels.backends.database.delays import DatabaseDelays
from django.channels.backends.database.links import Links
from django.channels.backends.database.waiting import (
    Bells,
    Listening,
    Polling,
    notification_name,
)
from django.channels.backends.shared import SharedBackend
from django.channels.delays import Looks
from django.channels.exceptions import (
    BackendUnavailable,
    InvalidChannelBackend,
)
from django.channels.messages import decode_message, encode_message, queue_name
from django.channels.models import (
    Announcement,
    DelayedMessage,
    Member,
    Message,
    milliseconds,
)
from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.models import Count, Min

logger = logging.getLogger("django.channels.backends")

# Seconds after which a process removes what has expired, unless EXPIRY is less.
SWEEP_INTERVAL = 30

# Queues of which a process, or a thread, remembers something.
MAX_REMEMBERED = 10_000


class DatabaseBackend(DatabaseDelays, SharedBackend):
    """
    Keeps messages in a database, for development and tests.

    LOCATION is an alias of the DATABASES setting, "default" unless given. The
    tables are those of the app django.channels, which has to be installed.

    What is sent is not part of the caller's transaction, but for SQLite, see
    django.channels.backends.database.links. Several processes that send at the
    same moment may exceed CAPACITY by a message each.

    Options beside ENCRYPTION_KEYS:

    * LOCK_TIMEOUT: seconds for which a message waits while others lock the
      database, as SQLite's one writer does; 5 unless given. After that
      BackendUnavailable is raised, and the message has not been sent.
    * NOTIFY: False keeps PostgreSQL from notifying receivers, which a pooler
      such as PgBouncer may not pass on. They look at intervals then.
    """

    for_development = True
    default_options = SharedBackend.default_options | {
        "LOCK_TIMEOUT": 5,
        "NOTIFY": True,
    }

    def __init__(self, alias, params):
        super().__init__(alias, params)
        self.location = self.location or DEFAULT_DB_ALIAS
        self._check_number("LOCK_TIMEOUT", self.options["LOCK_TIMEOUT"], -1)
        self._check_location()
        self._links = Links(alias, self.location, self.options["LOCK_TIMEOUT"])
        self.reset()
        self.reset_in_forks()
        logger.log(
            logging.INFO if settings.DEBUG else logging.WARNING,
            "CHANNELS[%r] keeps messages in a database, which is meant for "
            "development and tests. Use Redis in production.",
            alias,
        )

    def _check_location(self):
        place = f"CHANNELS[{self.alias!r}]"
        engine = connections.settings.get(self.location, {}).get("ENGINE")
        if engine is None or engine == "django.db.backends.dummy":
            raise InvalidChannelBackend(
                f"{place} needs a database, but DATABASES has no {self.location!r}. "
                "Give the alias of one as 'LOCATION'."
            )
        if not apps.is_installed("django.channels"):
            raise InvalidChannelBackend(
                f"{place} needs tables in the database {self.location!r}: add "
                "'django.channels' to INSTALLED_APPS, and run manage.py migrate."
            )

    def reset(self):
        """Forget what a fork has from its parent, even where a lock is held."""
        self._links.reset()
        self._bells = Bells()
        self._looks = Looks()
        self._local = threading.local()
        # Queue -> first and last number of messages for which there surely is room.
        self._room = {}
        self._next_sweep = 0

    def push(self, channel, packed):
        queue = queue_name(channel)
        self._sweep_if_due()
        number = self._links.run(self._append, channel, queue, packed)
        self._check_capacity(queue, number)
        self._bells.ring(queue)

    def pop(self, queues, timeout):
        deadline = time.monotonic() + timeout
        has_delays = any(not queue.endswith("!") for queue in queues)
        if timeout <= 0:
            if has_delays:
                self._move_due(0)
            return self._take(queues)
        with self._wait(queues) as wait:
            while True:
                wait.prepare()
                if has_delays:
                    self._move_due(timeout)
                received = self._take(queues)
                left = deadline - time.monotonic()
                if received is not None or left <= 0:
                    return received
                wait.sleep(self._looks.limit(left) if has_delays else left)

    def queues(self):
        self._move_due(0)
        return self._links.run(self._count_queues)

    def join(self, group, inbox, channels):
        self._links.run(self._join, group, inbox, channels)

    def leave(self, group, inbox, channels):
        for channel in channels:
            self._links.run(self._leave, group, inbox, channel)

    def members(self, group):
        members = {}
        for inbox, channel in self._links.run(self._members, group):
            members.setdefault(inbox, []).append(channel)
        return members

    def announce(self, name, info, lifetime):
        self._links.run(self._announce, name, encode_message(info), lifetime)

    def announced(self):
        rows = self._links.run(self._announced)
        return {name: decode_message(text) for name, text in rows}

    def flush(self):
        for model in (Message, DelayedMessage, Member):
            self._links.run(lambda link: model.objects.using(link.using).drop())

    def release(self):
        self._links.release()

    def close(self):
        self._links.close()

    def describe(self):
        return "database (for development and tests)"

    def _append(self, link, channel, queue, packed):
        deadline = link.clock.now() + self.expiry
        envelope = self.envelopes.seal(channel, packed, deadline)
        notify = self._notification(link, queue)
        messages = Message.objects.using(link.using)
        return messages.append(queue, envelope, milliseconds(deadline), notify)

    def _check_capacity(self, queue, number):
        """Take back the message with this number if the queue holds too many."""
        # Numbers rise by at least one with each message, so that a look at them
        # spares counting what is in the queue. They may begin anew in tests.
        counted, last = self._room.get(queue, (0, -1))
        if counted <= number <= last:
            return
        room = self._links.run(self._count_room, queue, number)
        if room < 0:
            raise self._full(queue)
        if len(self._room) >= MAX_REMEMBERED:
            self._room = {}
        self._room[queue] = (number, number + room)

    def _count_room(self, link, queue, number):
        """
        Return how many more messages the queue can hold. If it holds too many,
        return -1 after taking back the one with this number.
        """
        messages = Message.objects.using(link.using)
        live = messages.filter(queue=queue).live(milliseconds(link.clock.now()))
        room = self.capacity - live[: self.capacity + 1].count()
        # A receiver may have taken it, and then it has been sent.
        if room < 0 and not messages.filter(id=number).drop():
            return 0
        return room

    def _take(self, queues):
        """
        Remove the next message of one of `queues`: of the one that this thread
        has not received from for longest.
        """
        self._sweep_if_due()
        served = self._local.__dict__.setdefault("served", {})
        while heads := self._links.run(self._heads, queues):
            for queue in sorted(heads, key=lambda name: served.get(name, 0)):
                taken = self._links.run(self._take_from, queue, heads[queue])
                if taken is not None:
                    break
            else:
                # Others are taking what is there.
                if self._links.run(self._skips_locked):
                    return None
                continue
            self._note_served(served, queue)
            received = self.open(taken[0], queue, taken[1])
            if received is not None:
                return received
            self._sweep()

    def _note_served(self, served, queue):
        if len(served) >= MAX_REMEMBERED:
            served.clear()
        served[queue] = self._local.turn = getattr(self._local, "turn", 0) + 1

    def _heads(self, link, queues):
        return Message.objects.using(link.using).heads(queues)

    def _take_from(self, link, queue, head):
        """Return (envelope, time) of the message that has been removed, or None."""
        envelope = Message.objects.using(link.using).take(queue, head)
        return envelope and (envelope, link.clock.now())

    def _skips_locked(self, link):
        return Message.objects.using(link.using).skips_locked

    def _wait(self, queues):
        if self._links.run(self._notifies):
            return Listening(self._links, queues)
        return Polling(self._links, self._bells, queues)

    def _notifies(self, link):
        return self.options["NOTIFY"] and link.connection.vendor == "postgresql"

    def _notification(self, link, queue):
        """Return the name of what is to be notified of a message, or None."""
        return notification_name(queue) if self._notifies(link) else None

    def _count_queues(self, link):
        now = link.clock.now()
        messages = Message.objects.using(link.using)
        messages.sweep(milliseconds(now))
        rows = messages.live(milliseconds(now)).values_list("queue")
        queues = {
            queue: Queue(depth, max(now + self.expiry - deadline / 1000, 0))
            for queue, depth, deadline in rows.annotate(Count("id"), Min("deadline"))
        }
        delayed = DelayedMessage.objects.using(link.using).live(milliseconds(now))
        for queue, count in delayed.values_list("queue").annotate(Count("id")):
            queues[queue] = queues.get(queue, Queue(0, 0))._replace(delayed=count)
        return queues

    def _join(self, link, group, inbox, channels):
        now = link.clock.now()
        times = milliseconds(now), milliseconds(now + self.expiry)
        Member.objects.using(link.using).join(group, inbox, channels, *times)

    def _leave(self, link, group, inbox, channel):
        members = Member.objects.using(link.using)
        members.filter(group=group, inbox=inbox, channel=channel).drop()

    def _members(self, link, group):
        now = milliseconds(link.clock.now())
        members = Member.objects.using(link.using).filter(group=group).live(now)
        return list(members.order_by("id").values_list("inbox", "channel"))

    def _announce(self, link, name, text, lifetime):
        announcements = Announcement.objects.using(link.using)
        if lifetime > 0:
            deadline = milliseconds(link.clock.now() + lifetime)
            announcements.announce(name, text, deadline)
        else:
            announcements.filter(name=name).drop()

    def _announced(self, link):
        now = milliseconds(link.clock.now())
        announcements = Announcement.objects.using(link.using)
        announcements.sweep(now)
        return list(announcements.live(now).values_list("name", "info"))

    def _sweep_if_due(self):
        now = time.monotonic()
        if now >= self._next_sweep:
            self._next_sweep = now + min(self.expiry, SWEEP_INTERVAL)
            self._sweep()

    def _sweep(self):
        """Remove what has expired, unless the database is busy."""
        with suppress(BackendUnavailable):
            for model in (Message, DelayedMessage, Member, Announcement):
                self._links.run(self._sweep_table, model, patience=0)

    def _sweep_table(self, link, model):
        model.objects.using(link.using).sweep(milliseconds(link.clock.now()))
