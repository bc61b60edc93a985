"""
How a receiver learns that there may be a message for it.

A wait is a context, in which a receiver looks for messages again and again:

    with Polling(links, bells, queues) as wait:
        wait.prepare()
        ...  # Look. What is sent from prepare() on ends sleep().
        wait.sleep(timeout)
"""

import hashlib
import selectors
import threading
import time
from contextlib import contextmanager

from django.channels.models import Message

# Seconds between two looks of a receiver that has just begun to wait, and of
# one that has waited for long.
FIRST_INTERVAL = 0.002
LAST_INTERVAL = 0.06

# Seconds after which a receiver looks although nothing tells of a message.
LOOK_INTERVAL = 1

# Names of queues that a connection listens to at most.
MAX_LISTENS = 1000


class Bells:
    """Wakes the threads of this process that wait for messages of a queue."""

    def __init__(self):
        self._lock = threading.Lock()
        self._waiting = {}

    @contextmanager
    def hear(self, queues):
        """Give an Event that is set when a thread sends to one of `queues`."""
        event = threading.Event()
        with self._lock:
            for queue in queues:
                self._waiting.setdefault(queue, set()).add(event)
        try:
            yield event
        finally:
            with self._lock:
                for queue in set(queues):
                    self._waiting[queue].discard(event)
                    if not self._waiting[queue]:
                        del self._waiting[queue]

    def ring(self, queue):
        """Say that there is a message in `queue`."""
        if queue in self._waiting:
            with self._lock:
                for event in self._waiting.get(queue, ()):
                    event.set()


class Polling:
    """
    Looks at intervals that grow, and at once when a thread of this process
    sends. Of an SQLite file only the version is looked at, which costs next to
    nothing.
    """

    def __init__(self, links, bells, queues):
        self._links = links
        self._queues = queues
        self._hearing = bells.hear(queues)
        self._interval = FIRST_INTERVAL
        self._version = None

    def __enter__(self):
        self._event = self._hearing.__enter__()
        return self

    def __exit__(self, *exc_info):
        return self._hearing.__exit__(*exc_info)

    def prepare(self):
        self._event.clear()
        self._version = self._links.run(data_version)

    def sleep(self, timeout):
        now = time.monotonic()
        end = now + min(timeout, LOOK_INTERVAL)
        while now < end and not self._event.wait(min(self._interval, end - now)):
            self._interval = min(self._interval * 1.5, LAST_INTERVAL)
            if self._links.run(self._has_changed):
                return
            now = time.monotonic()

    def _has_changed(self, link):
        version = data_version(link)
        if version is not None:
            return version != self._version
        return Message.objects.using(link.using).is_any_in(self._queues)


def data_version(link):
    """
    Return a number that is another one after each change of an SQLite file by
    other connections. Return None for other databases.
    """
    if link.owned and link.connection.vendor == "sqlite":
        # Without Django's cursor, as this is done all the time.
        connection = link.connection.connection
        with link.connection.wrap_database_errors:
            return connection.execute("PRAGMA data_version").fetchone()[0]


class Listening:
    """Sleeps until PostgreSQL notifies of a message."""

    def __init__(self, links, queues):
        self._links = links
        self._names = {notification_name(queue) for queue in queues}

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        pass

    def prepare(self):
        self._links.run(listen, self._names)

    def sleep(self, timeout):
        if not self._links.run(has_notifications):
            # The connection is not locked: close() must not wait for messages.
            wait_for_data(self._links.current(), min(timeout, LOOK_INTERVAL))


def notification_name(queue):
    """Return the name of what PostgreSQL notifies of messages in `queue`."""
    # Names have at most 63 bytes.
    return "channels_" + hashlib.sha256(queue.encode()).hexdigest()[:40]


def listen(link, names):
    """Let PostgreSQL notify this connection, and forget earlier notifications."""
    if link.notifications is None:
        link.notifications = Notifications(link.connection)
    link.notifications.listen(names)
    link.notifications.take()


def has_notifications(link):
    """Return whether there has been a notification since listen()."""
    # A new link has not listened yet, so that something may have been missed.
    return link.notifications is None or link.notifications.take()


def wait_for_data(link, timeout):
    """Wait until the server has sent something to this connection."""
    raw = link.connection.connection
    if raw is None:
        return
    with (
        link.connection.wrap_database_errors,
        selectors.DefaultSelector() as selector,
    ):
        selector.register(raw.fileno(), selectors.EVENT_READ)
        selector.select(timeout)


class Notifications:
    """What PostgreSQL notifies one connection of, by psycopg or psycopg2."""

    def __init__(self, connection):
        self._connection = connection
        self._listening = set()
        self._arrived = False
        raw = connection.connection
        if hasattr(raw, "add_notify_handler"):
            # They may come with the result of any query.
            raw.add_notify_handler(self._note)

    def listen(self, names):
        """Have notifications of all `names`."""
        missing = names - self._listening
        if not missing:
            return
        statements = [f"LISTEN {name}" for name in sorted(missing)]
        if len(self._listening) + len(missing) > MAX_LISTENS:
            statements = ["UNLISTEN *", *(f"LISTEN {name}" for name in sorted(names))]
            self._listening = set()
        with self._connection.cursor() as cursor:
            cursor.execute("; ".join(statements))
        self._listening |= names

    def take(self):
        """Return whether there have been notifications since the last call."""
        raw = self._connection.connection
        with self._connection.wrap_database_errors:
            if hasattr(raw, "pgconn"):
                raw.pgconn.consume_input()
                while raw.pgconn.notifies() is not None:
                    self._arrived = True
            else:
                raw.poll()
                self._arrived = bool(raw.notifies)
                raw.notifies.clear()
        arrived, self._arrived = self._arrived, False
        return arrived

    def _note(self, notification):
        self._arrived = True
