"""
The connections of the database backend, and what the errors on them mean.

Each thread has a connection of its own for messages, beside the one that its
application uses. So a message is sent at once, and stays sent if the
transaction of the sender is rolled back. SQLite limits this:

* A database in memory belongs to its connection, so that messages travel on
  the application's.
* A database in a file has one writer at a time. If that is a transaction of
  the sender itself, messages become part of it until it ends.
"""

import itertools
import os
import threading
import time
import weakref
from contextlib import nullcontext, suppress

from django.channels.backends.shared import Clock
from django.channels.backoff import Backoff
from django.channels.exceptions import BackendUnavailable
from django.core.exceptions import SynchronousOnlyOperation
from django.db import (
    Error,
    OperationalError,
    ProgrammingError,
    connections,
    transaction,
)
from django.db.transaction import TransactionManagementError

# Seconds after which a connection is tried, and asked for the time, before use.
CHECK_INTERVAL = 5

# Seconds for which SQLite itself waits for a lock, at each try.
SQLITE_TIMEOUT = 0.1

# Seconds for which close() waits for a query of another thread.
CLOSE_TIMEOUT = 5

# Seconds since 1970 by the clock of the database.
TIME_SQL = {
    "mysql": "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) / 1000000",
    "oracle": "(CAST(SYS_EXTRACT_UTC(SYSTIMESTAMP) AS DATE) - DATE '1970-01-01') "
    "* 86400",
    "postgresql": "EXTRACT(EPOCH FROM CLOCK_TIMESTAMP())",
    "sqlite": "(JULIANDAY('now') - 2440587.5) * 86400",
}

# Seconds of which these tell no part, so that their clocks may be slow by as much.
RESOLUTIONS = {"oracle": 1, "sqlite": 0.001}

# Errors with which a database undoes a statement because of others: deadlocks,
# locks that were waited for in vain, serialization failures.
MYSQL_CONFLICTS = {1205, 1213}
POSTGRESQL_CONFLICTS = {"40001", "40P01", "55P03"}
SQLITE_CONFLICTS = (
    "database is locked",
    "database schema is locked",
    "database table is locked",
)

# Connections that a fork has from its parent, which alone may use and end them.
_inherited = []
_numbers = itertools.count(1)


class Link:
    """
    The connection of a thread, under the alias `using`. `owned` says whether it
    is for messages alone.
    """

    def __init__(self, using, connection, owned):
        self.using = using
        self.connection = connection
        self.owned = owned
        # Held by whoever uses the connection, as another thread may close it.
        self.lock = threading.Lock()
        self.clock = Clock()
        # Seconds by which the clock may be slow: what it took to ask for the time,
        # and what the database leaves out.
        self.clock_lag = 0
        # Whether a check has failed, so that no query has been tried.
        self.was_lost_unused = False
        # What is kept of PostgreSQL's notifications, see waiting.Notifications.
        self.notifications = None
        self.close = weakref.finalize(
            self, _close, connection if owned else None, self.lock, os.getpid()
        )
        self.close.atexit = False

    def check_if_due(self):
        """Ask the database for the time unless it has just told it."""
        if self.clock.is_set(within=CHECK_INTERVAL):
            return
        self.was_lost_unused = self.clock.is_set()
        self.connection.ensure_connection()
        begun = time.monotonic()
        self.clock.set(self._fetch_time())
        resolution = RESOLUTIONS.get(self.connection.vendor, 0)
        self.clock_lag = time.monotonic() - begun + resolution
        self.was_lost_unused = False

    def _fetch_time(self):
        sql = TIME_SQL.get(self.connection.vendor)
        if sql is None:
            return time.time()
        suffix = self.connection.features.bare_select_suffix
        with self.connection.cursor() as cursor:
            cursor.execute(f"SELECT {sql}{suffix}")
            return float(cursor.fetchone()[0])

    def limit_waiting(self, seconds):
        """Let the transaction fail that waits longer for what others lock."""
        # Others have such a limit of their own.
        if self.connection.vendor == "postgresql":
            with self.connection.cursor() as cursor:
                limit = max(round(seconds * 1000), 1)
                cursor.execute(f"SET LOCAL lock_timeout = {limit}")

    def shield(self):
        """Return a context that keeps errors from a transaction of the caller."""
        if self.connection.in_atomic_block:
            return transaction.atomic(using=self.using)
        return nullcontext()


def _close(connection, lock, pid):
    if connection is None:
        return
    if pid != os.getpid():
        _inherited.append(connection)
    elif lock.acquire(timeout=CLOSE_TIMEOUT):
        try:
            with suppress(Exception):
                connection.close()
        finally:
            lock.release()


class Links:
    """
    The links of all threads of this process to the database `location`, an
    alias of the DATABASES setting, for the channel backend `alias`.

    `patience` is the number of seconds for which a locked database is waited for.
    """

    def __init__(self, alias, location, patience):
        self.alias = alias
        self.location = location
        self.patience = patience
        self.reset()

    def reset(self):
        """Forget all links, which are those of the parent in a fork."""
        self._using = f"{self.location}:channels.{next(_numbers)}"
        self._local = threading.local()
        self._lock = threading.Lock()
        self._links = weakref.WeakSet()

    def run(self, query, *args, patience=None):
        """
        Return query(link, *args), which is one statement or one transaction.

        If others are in its way, which undoes it, it runs again: for `patience`
        seconds, or for those of this object, and then in the caller's transaction
        where that may itself be in the way. Raise BackendUnavailable if others stay
        in its way, and at all other errors of the database.
        """
        may_join = patience is None
        seconds = self.patience if patience is None else patience
        deadline, backoff = time.monotonic() + seconds, Backoff(0.005, 0.1)
        while True:
            link = self.current()
            try:
                with link.lock, link.shield():
                    # Another thread may just have closed it.
                    if link.close.alive:
                        link.check_if_due()
                        return query(link, *args)
            except (SynchronousOnlyOperation, TransactionManagementError):
                # The caller is at fault, and nothing has been done.
                raise
            except Error as exc:
                conflict = is_conflict(exc)
                if conflict and may_join and self._join_caller():
                    continue
                if conflict and backoff.wait(deadline):
                    continue
                if not conflict:
                    self.release()
                    if link.was_lost_unused:
                        continue
                raise BackendUnavailable(self._explain(exc)) from exc
            except BaseException:
                # What the connection was doing is not known.
                self.release()
                raise

    def current(self):
        """Return the link of the current thread, which may be new."""
        caller = connections[self.location]
        state = self._local.__dict__
        if (joined := state.get("joined")) is not None:
            if caller.in_atomic_block:
                return joined
            state["joined"] = None
        link = state.get("link")
        if link is not None and state["settings"] != caller.settings_dict:
            # As when the database for tests takes the place of the real one.
            self.release()
            link = None
        if link is None or not link.close.alive:
            state["settings"] = caller.settings_dict.copy()
            link = state["link"] = self._make(caller)
        return link

    def release(self):
        """Close the connection of the current thread."""
        link = self._local.__dict__.pop("link", None)
        if link is not None:
            link.close()
            if link.owned:
                with suppress(AttributeError):
                    del connections[link.using]

    def close(self):
        """Close the connections of all threads, which may make new ones."""
        with self._lock:
            links = list(self._links)
        for link in links:
            link.close()
        self.release()

    def _make(self, caller):
        if caller.vendor == "sqlite" and caller.is_in_memory_db():
            return Link(self.location, caller, owned=False)
        connection = _quiet(type(caller))(_own_settings(caller), self._using)
        # close() closes the connections of other threads.
        connection.inc_thread_sharing()
        connections[self._using] = connection
        link = Link(self._using, connection, owned=True)
        with self._lock:
            self._links.add(link)
        return link

    def _join_caller(self):
        """
        Return whether this thread may itself be the writer that a connection to
        SQLite of its own waits for, and use the caller's from now on.
        """
        caller, state = connections[self.location], self._local.__dict__
        if caller.vendor != "sqlite" or not caller.in_atomic_block:
            return False
        link = state.get("link")
        if link is None or not link.owned or state.get("joined") is not None:
            return False
        state["joined"] = Link(self.location, caller, owned=False)
        return True

    def _explain(self, exc):
        if isinstance(exc, ProgrammingError) or "no such table" in str(exc):
            return (
                f"The database {self.location!r} does not have the tables of "
                f"django.channels as they should be ({exc}). Run: manage.py migrate "
                f"django_channels --database={self.location}"
            )
        return (
            f"The database {self.location!r} of CHANNELS[{self.alias!r}] does not "
            f"answer: {exc}"
        )


def is_conflict(exc):
    """Return whether the database has undone what failed, because of others."""
    if not isinstance(exc, OperationalError):
        return False
    cause = exc.__cause__
    state = getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)
    if state is not None:
        return state in POSTGRESQL_CONFLICTS
    code = exc.args[0] if exc.args else None
    if isinstance(code, int):
        return code in MYSQL_CONFLICTS
    return str(code).startswith(SQLITE_CONFLICTS)


def _own_settings(connection):
    """Return the settings of a connection for messages beside `connection`."""
    options = connection.settings_dict["OPTIONS"].copy()
    options.pop("isolation_level", None)
    # The connection stays with its thread.
    options.pop("pool", None)
    if connection.vendor == "sqlite":
        options |= {"timeout": SQLITE_TIMEOUT, "transaction_mode": "IMMEDIATE"}
    return connection.settings_dict | {
        "AUTOCOMMIT": True,
        "CONN_HEALTH_CHECKS": False,
        "CONN_MAX_AGE": None,
        "OPTIONS": options,
    }


def _quiet(wrapper_class):
    """Return a DatabaseWrapper that does not keep queries when DEBUG is set."""
    return type("DatabaseWrapper", (wrapper_class,), {"queries_logged": False})
