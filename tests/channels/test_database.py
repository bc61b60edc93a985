import contextlib
import json
import os
import tempfile
import threading
import time
from types import SimpleNamespace
from unittest import mock, skipUnless

from django.apps import apps
from django.channels.backends.contract import (
    PATIENCE,
    ChannelBackendTests,
    OrderTests,
    receive_all,
    run_threads,
)
from django.channels.backends.database import DatabaseBackend
from django.channels.backends.database.links import CHECK_INTERVAL
from django.channels.backends.database.waiting import (
    MAX_LISTENS,
    Notifications,
    notification_name,
)
from django.channels.exceptions import BackendUnavailable, InvalidChannelBackend
from django.channels.models import (
    MAX_COLUMNS,
    Announcement,
    DelayedMessage,
    Member,
    Message,
)
from django.core import checks
from django.db import connections, transaction
from django.db.backends.signals import connection_created
from django.db.migrations.autodetector import MigrationAutodetector
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.state import ProjectState
from django.test import SimpleTestCase, modify_settings, override_settings

from .databases import (
    MariaDBServer,
    PostgreSQLServer,
    database,
    migrate_channels,
    shared_server,
    sqlite_settings,
)
from .utils import run_in_fork, run_script, wait_until

# A process that receives until it is told to end, and prints what it has got.
RECEIVER = """
import json, sys
from django.conf import settings

alias, made, libraries = sys.argv[1], json.loads(sys.argv[2]), sys.argv[3]
if libraries:
    __import__(libraries).install_as_MySQLdb()
settings.configure(
    DATABASES={"default": {}, alias: made},
    INSTALLED_APPS=["django.channels"],
    SECRET_KEY=sys.argv[4],
)
import django

django.setup()
from django.channels.backends.database import DatabaseBackend

backend = DatabaseBackend("default", {"LOCATION": alias})
backend.send("ready", {})
numbers = []
while (received := backend.receive(["numbers", "end"], 30))[0] != "end":
    numbers.append(received[1]["number"])
print(json.dumps(numbers))
backend.close()
"""


class DatabaseTestCase(SimpleTestCase):
    """Runs tests on a database, which a subclass names."""

    alias = "channels"

    @classmethod
    def database_settings(cls):
        """Return what the DATABASES setting says of the database."""
        raise NotImplementedError

    @classmethod
    def setUpClass(cls):
        settings = cls.database_settings()
        cls.enterClassContext(database(cls.alias, **settings))
        cls.databases = {cls.alias}
        super().setUpClass()

    def create_backend(self, **params):
        backend = DatabaseBackend("default", {"LOCATION": self.alias, **params})
        self.addCleanup(backend.close)
        backend.flush()
        return backend

    def count_rows(self):
        models = (Message, DelayedMessage, Member, Announcement)
        return sum(model.objects.using(self.alias).count() for model in models)

    def locked_row(self, queue):
        """Return a context in which another transaction holds the first message."""
        stack = transaction.atomic(using=self.alias)
        rows = Message.objects.using(self.alias).filter(queue=queue).order_by("id")

        class Lock:
            def __enter__(self):
                stack.__enter__()
                rows.select_for_update().first()

            def __exit__(self, *exc_info):
                stack.__exit__(*exc_info)

        return Lock()


class SQLite(DatabaseTestCase):
    @classmethod
    def database_settings(cls):
        return sqlite_settings(cls.enterClassContext(tempfile.TemporaryDirectory()))


class SQLiteInMemory(DatabaseTestCase):
    @classmethod
    def database_settings(cls):
        name = "file:channels?mode=memory&cache=shared"
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": name}


class PostgreSQL(DatabaseTestCase):
    server_class = PostgreSQLServer

    @classmethod
    def database_settings(cls):
        return shared_server(cls.server_class).settings()


class MariaDB(DatabaseTestCase):
    server_class = MariaDBServer

    @classmethod
    def database_settings(cls):
        return shared_server(cls.server_class).settings()


class SQLiteContractTests(SQLite, ChannelBackendTests):
    pass


class SQLiteInMemoryContractTests(SQLiteInMemory, ChannelBackendTests):
    pass


class PostgreSQLContractTests(PostgreSQL, ChannelBackendTests):
    pass


class PostgreSQLWithoutNotifyTests(PostgreSQL, OrderTests):
    def create_backend(self, **params):
        return super().create_backend(OPTIONS={"NOTIFY": False}, **params)


class MariaDBContractTests(MariaDB, ChannelBackendTests):
    pass


class StoreTests:
    """What holds on each database in which threads have connections of their own."""

    def test_what_is_sent_is_not_part_of_the_callers_transaction(self):
        backend = self.create_backend()
        with transaction.atomic(using=self.alias):
            backend.send("sent", {"number": 1})
            transaction.set_rollback(True, using=self.alias)
        self.assertEqual(backend.receive(["sent"]), ("sent", {"number": 1}))

    def test_nothing_is_left_behind(self):
        backend = self.create_backend(EXPIRY=0.2)
        backend.send("unread", {})
        backend.send("inbox!1", {})
        backend.join("chat", "inbox!", ["inbox!1"])
        backend.announce("process", {}, 0.2)
        self.assertEqual(self.count_rows(), 4)
        time.sleep(0.4)
        # Whoever waits for other messages tidies up.
        self.assertIsNone(backend.receive(["other"], timeout=0.1))
        self.assertEqual(self.count_rows(), 0)

    def test_many_expired_messages_are_removed(self):
        backend = self.create_backend()
        Message.objects.using(self.alias).bulk_create(
            Message(queue="many", envelope="expired", deadline=0) for _ in range(1200)
        )
        self.assertEqual(backend.depths(), {})
        self.assertEqual(self.count_rows(), 0)

    def test_announcements(self):
        backend = self.create_backend()
        backend.announce("one", {"pid": 1}, 60)
        backend.announce("one", {"pid": 2}, 60)
        backend.announce("two", {"text": "é\x00"}, 60)
        backend.announce("short", {}, 0.1)
        time.sleep(0.3)
        self.assertEqual(
            backend.announced(), {"one": {"pid": 2}, "two": {"text": "é\x00"}}
        )
        backend.announce("one", {}, 0)
        backend.announce("two", {}, 0)
        self.assertEqual(backend.announced(), {})
        self.assertEqual(self.count_rows(), 0)

    def test_names_that_differ_in_case_are_different(self):
        backend = self.create_backend()
        backend.send("chat", {"number": 1})
        backend.send("Chat", {"number": 2})
        backend.join("group", "inbox!", ["inbox!a", "inbox!A"])
        self.assertEqual(backend.receive(["Chat"]), ("Chat", {"number": 2}))
        self.assertEqual(backend.depths(), {"chat": 1})
        self.assertEqual(backend.members("GROUP"), {})
        self.assertEqual(len(backend.members("group")["inbox!"]), 2)

    def test_the_longest_names(self):
        backend = self.create_backend()
        group, inbox = "g" * 200, "i" * 197 + "!"
        backend.join(group, inbox, [inbox + "1"])
        backend.send_group(group, {})
        self.assertEqual(backend.receive([inbox]), (f"{inbox}*{group}", {}))
        backend.leave(group, inbox, [inbox + "1"])

    def test_receives_from_many_queues(self):
        backend = self.create_backend()
        queues = [f"queue.{number}" for number in range(MAX_COLUMNS + 10)]
        backend.send(queues[-1], {})
        self.assertEqual(backend.receive(queues, timeout=5), (queues[-1], {}))

    def test_messages_are_counted_only_when_they_may_be_too_many(self):
        backend = self.create_backend(CAPACITY=100)
        with mock.patch.object(
            backend, "_count_room", side_effect=backend._count_room
        ) as count:
            for _ in range(50):
                backend.send("counted", {})
            self.assertEqual(count.call_count, 1)

    def test_a_message_above_capacity_that_has_been_taken_has_been_sent(self):
        backend = self.create_backend(CAPACITY=1)
        backend.send("small", {})
        count_room = backend._count_room

        def be_late(*args):
            Message.objects.using(self.alias).filter(id=args[-1]).drop()
            return count_room(*args)

        for _ in range(2):
            with mock.patch.object(backend, "_count_room", side_effect=be_late):
                backend.send("small", {})
        self.assertEqual(backend.depths(), {"small": 1})

    def test_processes_receive_each_message_once(self):
        backend = self.create_backend()
        settings = {
            key: value
            for key, value in self.database_settings().items()
            if isinstance(value, str)
        }
        settings["NAME"] = connections[self.alias].settings_dict["NAME"]
        mysql = "pymysql" if "MariaDB" in type(self).__name__ else ""
        key, printed, each = "django_tests_secret_key", [], 100

        def receive():
            arguments = [self.alias, json.dumps(settings), mysql, key]
            done = run_script(RECEIVER, *arguments, timeout=3 * PATIENCE)
            printed.append(done.stdout or done.stderr)

        def send():
            for _ in range(3):
                self.assertIsNotNone(backend.receive(["ready"], PATIENCE))
            for number in range(each):
                backend.send("numbers", {"number": number})
            wait_until(lambda: "numbers" not in backend.depths())
            for _ in range(3):
                backend.send("end", {})

        with override_settings(SECRET_KEY=key):
            run_threads(receive, receive, receive, send)
        received = [json.loads(text) for text in printed]
        self.assertEqual(sorted(sum(received, [])), list(range(each)))
        for numbers in received:
            self.assertEqual(numbers, sorted(numbers))

    @skipUnless(hasattr(os, "fork"), "Needs os.fork().")
    def test_a_fork_has_a_connection_of_its_own(self):
        backend = self.create_backend()
        backend.send("before", {"number": 1})

        def child():
            received = backend.receive(["before"], PATIENCE)
            backend.send("after", {"number": 2})
            backend.close()
            return received

        self.assertEqual(run_in_fork(child), ["before", {"number": 1}])
        self.assertEqual(backend.receive(["after"], 5), ("after", {"number": 2}))
        self.assertIsNone(backend.receive(["before", "after"]))

    def test_threads_that_end_leave_no_connections(self):
        backend = self.create_backend()
        opened = self.note_connections()
        run_threads(*[lambda: backend.send("sent", {})] * 3)
        self.assertEqual(len(opened), 3)
        self.assertEqual([c for c in opened if c.connection is not None], [])

    def test_release_closes_the_connection_of_the_thread(self):
        backend = self.create_backend()
        backend.close()
        opened, before = self.note_connections(), list(self.connection_aliases())
        backend.send("sent", {})
        backend.release()
        backend.release()
        self.assertEqual([c.connection for c in opened], [None])
        self.assertEqual(list(self.connection_aliases()), before)
        self.assertEqual(backend.receive(["sent"]), ("sent", {}))

    def connection_aliases(self):
        return [name for name in vars(connections._connections._storage)]

    def test_close_closes_the_connections_of_all_threads(self):
        backend = self.create_backend()
        opened, end = self.note_connections(), threading.Event()

        def use():
            backend.send("sent", {})
            end.wait(PATIENCE)
            backend.send("sent", {})

        def close():
            wait_until(lambda: backend.depths() == {"sent": 2})
            self.assertEqual(len(opened), 3)
            backend.close()
            self.assertEqual([c for c in opened if c.connection is not None], [])
            end.set()

        run_threads(use, use, close)
        self.assertEqual(backend.depths(), {"sent": 4})

    def note_connections(self):
        """Return a list to which connections are added as they are opened."""
        opened = []

        def note(connection, **kwargs):
            opened.append(connection)

        connection_created.connect(note)
        self.addCleanup(connection_created.disconnect, note)
        return opened

    def test_missing_tables(self):
        backend = self.create_backend()
        backend.release()
        migrate_channels(self.alias, None)
        self.addCleanup(migrate_channels, self.alias)
        for use in [
            lambda: backend.send("sent", {}),
            lambda: backend.receive(["sent"]),
            lambda: backend.receive(["sent"], 1),
            backend.depths,
            lambda: backend.join("chat", "inbox!", ["inbox!1"]),
            backend.announced,
        ]:
            with self.assertRaisesMessage(
                BackendUnavailable, "manage.py migrate django_channels --database=chan"
            ):
                use()

    def test_time_zones_change_nothing(self):
        for use_tz in [True, False]:
            with self.subTest(USE_TZ=use_tz), override_settings(USE_TZ=use_tz):
                backend = self.create_backend(EXPIRY=5)
                backend.send("zoned", {})
                self.assertLess(backend.queues()["zoned"].oldest, 2)
                now = backend._links.current().clock.now()
                self.assertAlmostEqual(now, time.time(), delta=2)
                self.assertEqual(backend.receive(["zoned"]), ("zoned", {}))

    def test_the_clock_of_the_process_changes_nothing(self):
        backend = self.create_backend(EXPIRY=10)
        with mock.patch("time.time", return_value=0):
            backend.send("sent", {})
            backend.close()
        self.assertEqual(backend.receive(["sent"]), ("sent", {}))

    @override_settings(DEBUG=True)
    def test_queries_are_not_kept_with_debug(self):
        backend = self.create_backend()
        with self.assertNoLogs("django.db.backends", "DEBUG"):
            backend.send("sent", {})
            backend.receive(["sent"])
        self.assertEqual(backend._links.current().connection.queries, [])


class SQLiteTests(SQLite, StoreTests):
    def write(self):
        """Become the one writer, until the transaction ends."""
        Announcement.objects.using(self.alias).create(name="me", info="", deadline=0)

    def test_what_its_one_writer_sends_is_part_of_its_transaction(self):
        backend = self.create_backend()
        for rolled_back, arrived in [(True, {}), (False, {"sent": 2})]:
            with self.subTest(rolled_back=rolled_back):
                with transaction.atomic(using=self.alias):
                    self.write()
                    backend.send("sent", {"number": 1})
                    backend.send("taken", {"number": 2})
                    backend.send("sent", {"number": 3})
                    received = backend.receive(["taken"], PATIENCE)
                    self.assertEqual(received, ("taken", {"number": 2}))
                    transaction.set_rollback(rolled_back, using=self.alias)
                self.assertEqual(backend.depths(), arrived)
        with transaction.atomic(using=self.alias):
            backend.send("sent", {"number": 4})
            transaction.set_rollback(True, using=self.alias)
        self.assertEqual(backend.depths(), {"sent": 3})

    def test_a_locked_database_is_waited_for(self):
        backend = self.create_backend()
        locked = threading.Event()

        def lock():
            with transaction.atomic(using=self.alias):
                self.write()
                locked.set()
                time.sleep(0.5)

        run_threads(
            lambda: (lock(), connections[self.alias].close()),
            lambda: (locked.wait(PATIENCE), backend.send("sent", {})),
        )
        self.assertEqual(backend.depths(), {"sent": 1})

    def test_a_database_that_stays_locked_is_unavailable(self):
        backend = self.create_backend(OPTIONS={"LOCK_TIMEOUT": 0.2})
        errors = []

        def send():
            try:
                backend.send("sent", {})
            except BackendUnavailable as exc:
                errors.append(str(exc))

        with transaction.atomic(using=self.alias):
            self.write()
            run_threads(send)
        self.assertIn("database is locked", errors[0])
        self.assertEqual(backend.depths(), {})
        backend.send("sent", {})
        self.assertEqual(backend.depths(), {"sent": 1})

    def test_a_waiting_receiver_does_not_mind_a_lock(self):
        backend = self.create_backend(EXPIRY=0.2, OPTIONS={"LOCK_TIMEOUT": 0})
        backend.send("expired", {})
        time.sleep(0.4)
        received = []
        with transaction.atomic(using=self.alias):
            self.write()
            run_threads(lambda: received.append(backend.receive(["other"], 0.5)))
        self.assertEqual(received, [None])

    def test_another_database_under_the_alias_is_used_at_once(self):
        backend = self.create_backend()
        backend.send("sent", {})
        settings = connections[self.alias].settings_dict
        connections[self.alias].close()
        with tempfile.TemporaryDirectory() as folder:
            with mock.patch.dict(settings, NAME=f"{folder}/other.sqlite3"):
                migrate_channels(self.alias)
                self.assertEqual(backend.depths(), {})
                connections[self.alias].close()
            self.assertEqual(backend.depths(), {"sent": 1})


class SQLiteInMemoryTests(SQLiteInMemory):
    def test_what_is_sent_is_part_of_the_callers_transaction(self):
        backend = self.create_backend()
        with transaction.atomic(using=self.alias):
            backend.send("sent", {"number": 1})
            self.assertEqual(backend.receive(["sent"]), ("sent", {"number": 1}))
            backend.send("sent", {"number": 2})
            transaction.set_rollback(True, using=self.alias)
        self.assertIsNone(backend.receive(["sent"]))

    def test_closing_keeps_the_database(self):
        backend = self.create_backend()
        backend.send("sent", {})
        backend.close()
        self.assertEqual(backend.depths(), {"sent": 1})


class ServerTests(StoreTests):
    """What holds on servers, whose transactions lock rows."""

    def test_passes_over_messages_that_others_are_taking(self):
        backend = self.create_backend()
        backend.send("queue", {"number": 1})
        backend.send("queue", {"number": 2})
        with self.locked_row("queue"):
            self.assertEqual(backend.receive(["queue"]), ("queue", {"number": 2}))
            self.assertIsNone(backend.receive(["queue"]))
        self.assertEqual(backend.receive(["queue"]), ("queue", {"number": 1}))

    def test_what_others_lock_does_not_hold_up_the_removal_of_the_rest(self):
        backend = self.create_backend(EXPIRY=0.2)
        backend.send("locked", {})
        backend.send("other", {})
        with self.locked_row("locked"):
            time.sleep(0.4)
            self.assertEqual(backend.depths(), {})
            self.assertIsNone(backend.receive(["locked"]))
        self.assertEqual(backend.depths(), {})
        self.assertEqual(self.count_rows(), 0)

    def test_a_connection_that_was_lost_while_it_was_not_used_is_replaced(self):
        backend = self.create_backend()
        backend.send("sent", {})
        link = backend._links.current()
        link.connection.connection.close()
        link.clock._set -= 2 * CHECK_INTERVAL
        self.assertEqual(backend.receive(["sent"]), ("sent", {}))

    def test_a_lost_connection_is_told_and_replaced(self):
        backend = self.create_backend()
        backend.send("other", {})
        backend._links.current().connection.connection.close()
        with self.assertRaisesMessage(BackendUnavailable, "'channels' of CHANNELS["):
            backend.send("sent", {})
        backend.send("sent", {})
        self.assertEqual(backend.depths(), {"other": 1, "sent": 1})

    def test_a_server_that_restarts(self):
        backend = self.create_backend()
        server = shared_server(self.server_class)
        errors = []

        def wait():
            try:
                backend.receive(["sent"], 3 * PATIENCE)
            except BackendUnavailable as exc:
                errors.append(exc)

        def restart():
            time.sleep(0.3)
            server.stop()
            with self.assertRaises(BackendUnavailable):
                backend.send("sent", {})
            server.start()
            backend.send("sent", {"number": 1})

        backend.send("other", {})
        connections[self.alias].close()
        run_threads(wait, restart)
        self.assertEqual(len(errors), 1)
        with self.assertRaises(BackendUnavailable):
            backend.receive(["sent"])
        self.assertEqual(
            receive_all(backend, ["sent", "other"]),
            [("sent", {"number": 1}), ("other", {})],
        )


class PostgreSQLTests(PostgreSQL, ServerTests):
    def test_receivers_are_notified(self):
        backend, received = self.create_backend(), []
        with (
            mock.patch(
                "django.channels.backends.database.waiting.LOOK_INTERVAL", PATIENCE
            ),
            mock.patch("django.channels.delays.LOOK_INTERVAL", PATIENCE),
        ):
            run_threads(
                lambda: received.append(backend.receive(["one", "two"], PATIENCE)),
                lambda: (time.sleep(0.3), backend.send("two", {})),
            )
        self.assertEqual(received, [("two", {})])

    def test_a_notification_that_comes_with_the_result_of_a_query_counts(self):
        with connections[self.alias].temporary_connection() as cursor:
            notifications = Notifications(connections[self.alias])
            notifications.listen({notification_name("queue")})
            self.assertIs(notifications.take(), False)
            cursor.execute("SELECT pg_notify(%s, '')", [notification_name("queue")])
            self.assertIs(notifications.take(), True)
            self.assertIs(notifications.take(), False)

    def test_a_connection_listens_to_a_bounded_number_of_queues(self):
        backend = self.create_backend()
        for number in range(3):
            queues = [f"q.{number}.{index}" for index in range(MAX_LISTENS // 2)]
            self.assertIsNone(backend.receive(queues, 0.01))
        with connections[backend._links.current().using].cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_listening_channels()")
            self.assertLessEqual(cursor.fetchone()[0], MAX_LISTENS)
        backend.send(queues[0], {})
        self.assertEqual(backend.receive(queues, 5), (queues[0], {}))


class MariaDBTests(MariaDB, ServerTests):
    pass


class ConfigurationTests(SimpleTestCase):
    def test_a_database_that_is_not_in_the_settings(self):
        msg = "CHANNELS['main'] needs a database, but DATABASES has no 'missing'."
        with self.assertRaisesMessage(InvalidChannelBackend, msg):
            DatabaseBackend("main", {"LOCATION": "missing"})

    def test_the_app_is_not_installed(self):
        msg = "add 'django.channels' to INSTALLED_APPS, and run manage.py migrate."
        with self.assertRaisesMessage(InvalidChannelBackend, msg):
            DatabaseBackend("default", {})

    def test_wrong_options(self):
        for options in [{"LOCK_TIMEOUT": "5"}, {"LOCK_TIMEOUT": -1}, {"LISTEN": True}]:
            with self.assertRaisesMessage(
                InvalidChannelBackend, repr(list(options)[0])
            ):
                DatabaseBackend("default", {"OPTIONS": options})

    @modify_settings(INSTALLED_APPS={"append": "django.channels"})
    def test_tells_what_it_is_for(self):
        with self.assertLogs("django.channels.backends", "WARNING") as logs:
            backend = DatabaseBackend("default", {})
        self.assertIn("development and tests", logs.output[0])
        self.assertEqual(backend.describe(), "database (for development and tests)")
        with self.settings(DEBUG=True):
            with self.assertNoLogs("django.channels.backends", "WARNING"):
                DatabaseBackend("default", {})

    @modify_settings(INSTALLED_APPS={"append": "django.channels"})
    def test_the_app_and_its_migrations_are_in_order(self):
        config = apps.get_app_config("django_channels")
        self.assertEqual(checks.run_checks(app_configs=[config]), [])
        loader = MigrationLoader(None)
        state = ProjectState.from_apps(apps)
        changes = MigrationAutodetector(loader.project_state(), state)
        self.assertNotIn("django_channels", changes.changes(graph=loader.graph))


class Psycopg2Tests(SimpleTestCase):
    """Its connections have a list of notifications, which poll() fills."""

    def test_notifications(self):
        raw = SimpleNamespace(notifies=[], poll=lambda: None)
        connection = SimpleNamespace(
            connection=raw, wrap_database_errors=contextlib.nullcontext()
        )
        notifications = Notifications(connection)
        self.assertIs(notifications.take(), False)
        raw.poll = lambda: raw.notifies.append("channels_1")
        self.assertIs(notifications.take(), True)
        raw.poll = lambda: None
        self.assertIs(notifications.take(), False)
