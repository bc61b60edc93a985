"""A small site in a folder of its own, whose workers are processes."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
from contextlib import suppress
from pathlib import Path
from unittest import skipUnless

import django
from django.channels.backends.contract import PATIENCE
from django.test import SimpleTestCase

from .redis_servers import shared_redis
from .utils import end, is_measured, wait_until

SETTINGS = """
SECRET_KEY = "tests"
ROOT_URLCONF = "site_urls"
INSTALLED_APPS = ["app"]
CHANNELS = {"default": %r}
"""

# What the site has done is in the file done.txt, a line each.
CONSUMERS = """
import os, time
from pathlib import Path
from django.channels import consumer

VERSION = "first"

def note(*words):
    with open("done.txt", "a") as file:
        file.write(" ".join(map(str, words)) + chr(10))

# Each process that serves, and their supervisor.
note("process", os.getpid())

@consumer("app.note")
def take(text, **message):
    note("note", text)

@consumer("app.version")
def tell(**message):
    note("version", VERSION, os.getpid())

@consumer("app.hold")
def hold(text, **message):
    note("begun", text, os.getpid())
    while not Path("release").exists():
        time.sleep(0.01)
    note("held", text)

@consumer("app.exit")
def leave(**message):
    raise SystemExit("from a consumer")
"""


def has_ended(pid):
    """Return whether there is no process, or one that only waits for its parent."""
    try:
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except ProcessLookupError:
        return True
    except OSError:
        return False  # There is no /proc.
    return state == "Z"


class PickledAsNew:
    """
    A test that is pickled as it is before setUp(), so that a parallel run can tell
    of a subtest that fails although what the test has cannot be pickled.
    """

    def __getstate__(self):
        return vars(type(self)(self._testMethodName))


@skipUnless(os.name == "posix", "Needs POSIX signals.")
class WorkerSiteTestCase(PickledAsNew, SimpleTestCase):
    """Its site keeps messages on a Redis server of the tests' own."""

    def setUp(self):
        self.directory = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.addCleanup(self.end_all)
        self.write("site_settings.py", SETTINGS % self.make_backend())
        self.write("site_urls.py", "urlpatterns = []")
        self.write("app/__init__.py", "")
        self.write("app/consumers.py", CONSUMERS)

    def make_backend(self):
        """Return the dict in the CHANNELS setting of the site."""
        from django.channels.backends.redis import RedisBackend

        server = shared_redis()
        server.client().flushall()
        params = {
            "BACKEND": "django.channels.backends.redis.RedisBackend",
            "LOCATION": server.unix_url,
        }
        with self.settings(SECRET_KEY="tests"):
            self.backend = RedisBackend("default", params)
        self.enterContext(self.settings(SECRET_KEY="tests"))
        self.addCleanup(self.backend.close)
        return params

    def send(self, channel, **message):
        """Send as a process of the site would."""
        self.backend.send(channel, message)

    def write(self, name, content):
        """Write a file in one step, for those who read it."""
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"{path.name}.part")
        part.write_text(textwrap.dedent(content))
        part.rename(path)

    def command(self, *arguments, **options):
        """Return a Popen of a management command of the site."""
        root = Path(django.__file__).parent.parent
        return subprocess.Popen(
            [sys.executable, "-u", "-m", "django", *arguments],
            cwd=self.directory,
            env={
                **os.environ,
                "PYTHONPATH": f"{root}{os.pathsep}{self.directory}",
                "DJANGO_SETTINGS_MODULE": "site_settings",
                "PYTHONDONTWRITEBYTECODE": "1",
            },
            **options,
        )

    def run_command(self, *arguments):
        """Return the exit code and the output of a management command."""
        process = self.command(
            *arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        try:
            output, _ = process.communicate(timeout=PATIENCE)
        finally:
            process.kill()
            process.wait()
        return process.returncode, output

    def start(self, *options, ready=1, **popen):
        """Start runworker, and wait for `ready` processes to be announced."""
        with open(self.directory / "output.txt", "a") as output:
            process = self.command(
                "runworker", *options, stdout=output, stderr=output, **popen
            )
        self.addCleanup(process.wait, PATIENCE)
        self.addCleanup(end, process)

        def is_ready():
            self.assertIsNone(process.poll(), self.printed)
            return len(self.workers()) == ready

        wait_until(is_ready)
        return process

    def workers(self):
        """Return the pids of the processes that are announced."""
        return self.announced("worker")

    def announced(self, kind):
        """Return the pids of the processes of a kind that are announced."""
        announced = self.backend.announced().values()
        return {info["pid"] for info in announced if info["kind"] == kind}

    def reset(self):
        """Forget what the site has done, and what is left to do."""
        for name in ["done.txt", "output.txt", "release"]:
            (self.directory / name).unlink(missing_ok=True)
        self.backend.flush()

    @property
    def printed(self):
        return (self.directory / "output.txt").read_text()

    def done(self, what):
        """Return the words of what the site has done, as lists."""
        try:
            lines = (self.directory / "done.txt").read_text().splitlines()
        except FileNotFoundError:
            return []
        return [line.split()[1:] for line in lines if line.split()[0] == what]

    def pids(self):
        """Return the processes of the site that have begun to serve."""
        return [int(pid) for (pid,) in self.done("process")]

    def assertAllEnd(self):
        wait_until(lambda: all(map(has_ended, self.pids())))

    def end_all(self):
        if is_measured():
            self.write("release", "")
            with suppress(AssertionError):
                self.assertAllEnd()
        for pid in self.pids():
            if not has_ended(pid):
                os.kill(pid, signal.SIGKILL)


class DatabaseSiteTestCase(WorkerSiteTestCase):
    """Its site keeps messages in a file of SQLite."""

    def make_backend(self):
        return {"BACKEND": "django.channels.backends.database.DatabaseBackend"}

    def setUp(self):
        super().setUp()
        path = self.directory / "site_settings.py"
        self.write(
            "site_settings.py",
            path.read_text() + textwrap.dedent("""
                INSTALLED_APPS += ["django.channels"]
                DATABASES = {
                    "default": {
                        "ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3"
                    }
                }
                """),
        )
        self.write(
            "app/management/commands/send.py",
            """
            import json
            from django.channels import Channel
            from django.core.management.base import BaseCommand

            class Command(BaseCommand):
                def add_arguments(self, parser):
                    parser.add_argument("channel")
                    parser.add_argument("message", type=json.loads)

                def handle(self, channel, message, **options):
                    Channel(channel).send(message)
            """,
        )
        code, output = self.run_command("migrate")
        self.assertEqual(code, 0, output)

    def send(self, channel, **message):
        code, output = self.run_command("send", channel, json.dumps(message))
        self.assertEqual(code, 0, output)

    def workers(self):
        code, output = self.run_command("channels", "--json")
        self.assertEqual(code, 0, output)
        # The log comes first.
        (about,) = json.loads(output[output.index("{\n") :])["backends"]
        return {info["pid"] for info in about["workers"]}
