"""Delayed messages in a database, beside what the tests of all backends show."""

import threading
import time
from functools import partial
from unittest import mock

from django.channels.backends.contract import PATIENCE, run_threads
from django.channels.backends.database import DatabaseBackend
from django.channels.backends.database.links import Link
from django.channels.exceptions import BackendUnavailable
from django.channels.models import DelayedMessage, Message
from django.db import connections, transaction

from .test_database import MariaDB, PostgreSQL, SQLite, SQLiteInMemory
from .utils import wait_until


class DelayTests:
    def create_other(self, **params):
        """Return a backend that knows nothing of what the first one does."""
        backend = DatabaseBackend("default", {"LOCATION": self.alias, **params})
        self.addCleanup(backend.close)
        return backend

    def test_nothing_is_left_behind(self):
        backend = self.create_backend(EXPIRY=0.2)
        backend.send("unread", {}, 0.1)
        self.assertEqual(self.count_rows(), 1)
        # Whoever waits for other messages tidies up.
        wait_until(
            lambda: backend.receive(["other"], timeout=0.1) or not self.count_rows()
        )

    def test_who_receives_from_an_inbox_does_not_look(self):
        backend = self.create_backend()
        with mock.patch.object(backend, "_move_some", side_effect=AssertionError):
            self.assertIsNone(backend.receive(["inbox!"]))
            self.assertIsNone(backend.receive(["inbox!"], 0.01))
            with self.assertRaises(AssertionError):
                backend.receive(["queue"])

    def test_a_receiver_of_other_queues_looks_for_all(self):
        backend = self.create_backend()
        backend.send("later", {}, 0.05)
        messages = Message.objects.using(self.alias).filter(queue="later")
        wait_until(lambda: backend.receive(["other"]) or messages.exists())


class SeveralConnectionsTests(DelayTests):
    """What holds where threads have connections of their own."""

    def test_a_receiver_of_another_process_is_woken(self):
        backend, other = self.create_backend(), self.create_other()
        received = []
        run_threads(
            lambda: received.append(other.receive(["first", "later"], PATIENCE)),
            lambda: (time.sleep(0.1), backend.send("later", {"number": 1}, 0.1)),
        )
        self.assertEqual(received, [("later", {"number": 1})])

    def test_a_message_that_several_processes_move_is_received_once(self):
        backends = [self.create_backend(), self.create_other(), self.create_other()]
        for number in range(60):
            backends[0].send("later", {"number": number}, 0.2)
        received = []

        def receive(backend):
            while len(received) < 60:
                if (item := backend.receive(["later"], 0.1)) is not None:
                    received.append(item[1]["number"])

        with mock.patch("django.channels.backends.database.delays.MOST", 10):
            run_threads(*(partial(receive, backend) for backend in backends))
        self.assertCountEqual(received, range(60))
        self.assertEqual(self.count_rows(), 0)

    def test_a_delayed_message_is_not_part_of_the_callers_transaction(self):
        backend = self.create_backend()
        with transaction.atomic(using=self.alias):
            backend.send("later", {"number": 1}, 0.1)
            transaction.set_rollback(True, using=self.alias)
        received = backend.receive(["later"], PATIENCE)
        self.assertEqual(received, ("later", {"number": 1}))

    def test_those_who_wait_hear_of_what_another_process_moves(self):
        backend, other = self.create_backend(), self.create_other()
        received = []

        def move():
            backend.send("later", {"number": 1}, 0.1)
            wait_until(lambda: received or backend.receive(["else"]))

        never = mock.Mock(take=lambda timeout: False, limit=lambda timeout: timeout)
        with mock.patch.object(other, "_looks", never):
            run_threads(
                lambda: received.append(other.receive(["later"], PATIENCE)), move
            )
        self.assertEqual(received, [("later", {"number": 1})])


class SQLiteTests(SQLite, SeveralConnectionsTests):
    def test_nothing_is_due_too_early_by_a_clock_of_milliseconds(self):
        backend = self.create_backend()

        def fetch_time(link):
            return time.time() - 0.000999

        with mock.patch.object(Link, "_fetch_time", fetch_time):
            backend.send("now", {})
            begun = time.time()
            backend.send("later", {}, 60)
        (due,) = DelayedMessage.objects.using(self.alias).values_list("due", flat=True)
        self.assertGreaterEqual(due, (begun + 60) * 1000)


class SQLiteInMemoryTests(SQLiteInMemory, DelayTests):
    def test_a_delayed_message_is_part_of_the_callers_transaction(self):
        backend = self.create_backend()
        with transaction.atomic(using=self.alias):
            backend.send("later", {"number": 1}, 60)
            transaction.set_rollback(True, using=self.alias)
        self.assertEqual(backend.queues(), {})


class PostgreSQLTests(PostgreSQL, SeveralConnectionsTests):
    def count_waiting(self):
        """Return how many connections wait for a lock."""
        with connections[self.alias].cursor() as cursor:
            cursor.execute("SELECT pg_stat_clear_snapshot()")
            cursor.execute(
                "SELECT COUNT(*) FROM pg_stat_activity "
                "WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )
            return cursor.fetchone()[0]

    def test_nobody_overtakes_who_moves_messages(self):
        backend, received = self.create_backend(), []
        for number in range(3):
            backend.send("later", {"number": number}, 0.05)
        delayed = DelayedMessage.objects.using(self.alias)
        (last,) = delayed.order_by("-due").values_list("due", flat=True)[:1]
        link = backend._links.current()
        wait_until(lambda: link.clock.now() * 1000 > last)

        def receive():
            for _ in range(3):
                received.append(backend.receive(["later"], PATIENCE)[1]["number"])

        def move():
            rows = DelayedMessage.objects.using(self.alias).order_by("due", "id")
            with transaction.atomic(using=self.alias):
                rows.select_for_update().first()
                locked.set()
                wait_until(self.count_waiting)
                received_then.extend(received)
            connections[self.alias].close()

        locked, received_then = threading.Event(), []
        run_threads(move, lambda: (locked.wait(PATIENCE), receive()))
        self.assertEqual((received_then, received), ([], [0, 1, 2]))

    def test_nobody_waits_for_ever_for_who_moves_messages(self):
        backend = self.create_backend(OPTIONS={"LOCK_TIMEOUT": 0.1})
        backend.send("later", {"number": 1}, 0.05)
        delayed = DelayedMessage.objects.using(self.alias)
        refused = []

        def be_refused():
            try:
                backend.receive(["later"])
            except BackendUnavailable as exc:
                refused.append(str(exc))
            return refused

        with transaction.atomic(using=self.alias):
            delayed.select_for_update().get()
            run_threads(partial(wait_until, be_refused))
        self.assertIn("lock timeout", refused[0])
        received = backend.receive(["later"], PATIENCE)
        self.assertEqual(received, ("later", {"number": 1}))


class MariaDBTests(MariaDB, SeveralConnectionsTests):
    pass
