"""
Databases of the tests' own: files of SQLite, and servers of PostgreSQL and
MariaDB.

A server keeps its data in a temporary folder, and ends with the process that
started it, however it ends. It is started when a test first needs it, and then
serves all tests of the process:

    server = shared_server(PostgreSQLServer)
    with database("postgresql", **server.settings()) as alias:
        ...  # The tables of django.channels are there.

A server that is there already is never used. Where one cannot be started, the
test is skipped; in CI it fails.
"""

import atexit
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import contextmanager, suppress
from glob import glob
from importlib.util import find_spec
from multiprocessing.util import Finalize
from pathlib import Path

from django.channels.backends.contract import PATIENCE
from django.db import Error, connections
from django.db.migrations.executor import MigrationExecutor
from django.db.utils import ConnectionHandler, load_backend
from django.test import modify_settings

from .redis_servers import free_port, skip_without

# A shell that outlives the process of the tests: its input ends with them.
GUARD = 'read line; kill -KILL "$0"; rm -rf "$1"'

# The servers by the process that started them and by their class.
servers = {}


def find_binary(name):
    """Return the path of a program of a database, which may not be on PATH."""
    places = sorted(glob("/usr/lib/postgresql/*/bin"), reverse=True)
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", *places])
    return shutil.which(name, path=path) or skip_without(name)


def make_settings(**given):
    """Return all keys of an alias in the DATABASES setting."""
    aliases = {"default": {}, "made": given}
    return ConnectionHandler(aliases).settings["made"]


class Server:
    """
    A database server. Subclasses tell how it is made and run, and how an alias
    in the DATABASES setting names it.
    """

    # The signal that ends the server although there are connections.
    stop_signal = signal.SIGTERM

    # Root runs the server as the first of these accounts that exists.
    accounts = ["nobody"]

    def __init__(self):
        self.load_driver()
        # Others than root have to reach it, and the path of a socket is short.
        self.folder = Path(tempfile.mkdtemp(prefix="channels-", dir="/tmp"))
        self.process = self.guard = None
        # Of all its programs. The folder for temporary files may be another's.
        self.start_options = {
            "cwd": self.folder,
            "env": {**os.environ, "TMPDIR": str(self.folder)},
            "stdin": subprocess.DEVNULL,
        }
        if os.geteuid() == 0:
            account = self._find_account()
            self.start_options |= account
            shutil.chown(self.folder, **account)
        if os.getpid() not in servers:
            servers[os.getpid()] = {}
            # A process of multiprocessing does not come to what atexit has.
            Finalize(None, end_servers, exitpriority=10)
        servers[os.getpid()][type(self)] = self
        self.make()

    def _find_account(self):
        for name in self.accounts:
            with suppress(KeyError):
                user = pwd.getpwnam(name)
                return {"user": user.pw_uid, "group": user.pw_gid}
        skip_without(f"An account to run {type(self).__name__} with")

    def load_driver(self):
        """Make the module that Django needs importable, or skip the test."""

    def make(self):
        """Create the data of the server."""

    def command(self):
        """Return the command that runs the server."""
        raise NotImplementedError

    def settings(self):
        """Return what the DATABASES setting says of the server."""
        raise NotImplementedError

    def run(self, *command):
        """Run a program of the database to its end, as the server's account."""
        done = subprocess.run(
            [str(part) for part in command],
            capture_output=True,
            text=True,
            **self.start_options,
        )
        if done.returncode:
            raise AssertionError(done.stdout + done.stderr)

    def start(self):
        """Start the server and return it, once it answers."""
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(
                [str(part) for part in self.command()],
                stdout=log,
                stderr=log,
                start_new_session=True,
                **self.start_options,
            )
        self.guard = subprocess.Popen(
            ["sh", "-c", GUARD, str(self.process.pid), self.folder],
            stdin=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
        )
        deadline = time.monotonic() + 3 * PATIENCE
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError((self.folder / "log").read_text())
            time.sleep(0.05)
        return self

    def answers(self):
        """Return whether connections can be made."""
        settings = make_settings(**self.settings())
        wrapper = load_backend(settings["ENGINE"]).DatabaseWrapper(settings, "probe")
        try:
            wrapper.ensure_connection()
        except Error:
            return False
        finally:
            wrapper.close()
        return True

    def is_running(self):
        return self.process is not None and self.process.poll() is None

    def stop(self):
        """Stop the server, and keep its data."""
        if self.process is None:
            return
        # First, as it would end whatever gets the number of the process.
        self.guard.kill()
        self.guard.communicate()
        self.process.send_signal(self.stop_signal)
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = self.guard = None


class PostgreSQLServer(Server):
    stop_signal = signal.SIGINT
    accounts = ["postgres", "nobody"]

    def load_driver(self):
        if not find_spec("psycopg") and not find_spec("psycopg2"):
            skip_without("The package psycopg")

    def make(self):
        initdb = find_binary("initdb")
        options = (
            "--auth=trust --no-sync --encoding=UTF8 --locale=C --username=channels"
        )
        self.run(initdb, "-D", self.folder / "data", *options.split())

    def command(self):
        options = {
            "listen_addresses": "",
            "unix_socket_directories": self.folder,
            "fsync": "off",
            "full_page_writes": "off",
            "synchronous_commit": "off",
            "shared_buffers": "32MB",
        }
        pairs = [part for name in options for part in ("-c", f"{name}={options[name]}")]
        return [find_binary("postgres"), "-D", self.folder / "data", *pairs]

    def settings(self):
        return {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": "postgres",
            "USER": "channels",
            "HOST": str(self.folder),
        }


class MariaDBServer(Server):
    accounts = ["mysql", "nobody"]

    def load_driver(self):
        if find_spec("MySQLdb"):
            return
        try:
            import pymysql
        except ImportError:
            skip_without("The package mysqlclient or PyMySQL")
        pymysql.install_as_MySQLdb()

    def make(self):
        self.port = free_port()
        self.run(
            find_binary("mariadb-install-db"),
            "--no-defaults",
            f"--datadir={self.folder / 'data'}",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
        )
        (self.folder / "init.sql").write_text(
            "CREATE DATABASE IF NOT EXISTS channels CHARACTER SET utf8mb4;\n"
        )

    def command(self):
        return [
            find_binary("mariadbd"),
            "--no-defaults",
            f"--datadir={self.folder / 'data'}",
            f"--socket={self.folder / 'socket'}",
            f"--init-file={self.folder / 'init.sql'}",
            "--bind-address=127.0.0.1",
            f"--port={self.port}",
            "--innodb-flush-log-at-trx-commit=0",
            "--innodb-buffer-pool-size=32M",
        ]

    def settings(self):
        return {
            "ENGINE": "django.db.backends.mysql",
            "NAME": "channels",
            "USER": "root",
            # PyMySQL forgets to close a Unix socket that nobody listens on.
            "HOST": "127.0.0.1",
            "PORT": str(self.port),
        }


def shared_server(server_class):
    """Return this process's one server of a class, running."""
    server = servers.get(os.getpid(), {}).get(server_class)
    if server is None:
        server = server_class()
    return server if server.is_running() else server.start()


@atexit.register
def end_servers():
    for server in servers.pop(os.getpid(), {}).values():
        server.stop()
        shutil.rmtree(server.folder, ignore_errors=True)


def leave_servers():
    """In a fork: do not keep the guards of the other process waiting."""
    for server in [server for group in servers.values() for server in group.values()]:
        if server.guard:
            server.guard.stdin.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=leave_servers)


def sqlite_settings(folder):
    """Return what the DATABASES setting says of an SQLite file in a folder."""
    return {"ENGINE": "django.db.backends.sqlite3", "NAME": f"{folder}/db.sqlite3"}


@contextmanager
def database(alias, migrate=True, **settings):
    """
    Have an alias in the DATABASES setting, of a database with the tables of
    django.channels unless `migrate` is false.
    """
    connections.settings[alias] = make_settings(**settings)
    try:
        with modify_settings(INSTALLED_APPS={"append": "django.channels"}):
            if migrate:
                migrate_channels(alias)
            yield alias
    finally:
        connections[alias].close()
        del connections[alias], connections.settings[alias]


def migrate_channels(alias, to="0001_initial"):
    """Run the migrations of django.channels; back to nothing if `to` is None."""
    MigrationExecutor(connections[alias]).migrate([("django_channels", to)])
