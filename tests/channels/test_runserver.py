import os
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import time
import urllib.request
from io import StringIO
from pathlib import Path
from unittest import skipUnless

import django
from django.channels.backends.contract import PATIENCE
from django.channels.interfaces import runserver
from django.channels.interfaces.wsgi import Switch
from django.channels.registry import consumer, registry
from django.core.management.commands.runserver import Command
from django.test import SimpleTestCase, override_settings

from .utils import wait_until

SETTINGS = """
DEBUG = True
ROOT_URLCONF = "site_urls"
INSTALLED_APPS = ["django.contrib.staticfiles", "app"]
STATIC_URL = "/static/"
SECRET_KEY = "tests"
"""

URLS = """
from django.http import HttpResponse
from django.urls import path

urlpatterns = [path("", lambda request: HttpResponse("view"))]
"""

CONSUMERS = """
from django.channels import Channel, consumer

@consumer("%s")
def answer(response_channel, **kwargs):
    Channel(response_channel).send({"content": "%s"})
"""


class BannerTests(SimpleTestCase):
    def setUp(self):
        self.enterContext(registry.isolate())
        self.addCleanup(setattr, Switch, "on", True)

    def test_layer_and_consumers(self):
        count = registry.count()
        consumer("tests.one")(lambda **kwargs: None)
        self.assertEqual(
            runserver.describe(), f"Channels: memory layer, {count + 1} consumers"
        )

    @override_settings(
        CHANNELS={"default": {"BACKEND": "channels.remote.RemoteBackend"}}
    )
    def test_workers_that_have_to_run_beside_it(self):
        self.assertIn("wait for workers: manage.py runworker", runserver.describe())

    def test_one_consumer(self):
        registry._registry = {}
        self.assertEqual(runserver.describe(), "Channels: memory layer, 1 consumer")

    def test_banner(self):
        output = StringIO()
        command = Command(stdout=output)
        command.addr, command._raw_ipv6 = "127.0.0.1", False
        command.on_bind("8000")
        self.assertIn(f"\n{runserver.describe()}\nStarting", output.getvalue())

    def test_option(self):
        parser = Command().create_parser("manage.py", "runserver")
        for args, on in [([], True), (["--no-channels"], False), ([], True)]:
            with self.subTest(args=args):
                runserver.configure(vars(parser.parse_args(args)))
                self.assertIs(Switch.on, on)

    def test_option_is_on_for_commands_that_do_not_know_it(self):
        runserver.configure({})
        self.assertIs(Switch.on, True)

    def test_switched_off(self):
        Switch.on = False
        self.assertEqual(
            runserver.describe(), "Channels: off for requests (--no-channels)"
        )


@skipUnless(hasattr(signal, "SIGTERM") and os.name == "posix", "Needs POSIX signals.")
class ServerTests(SimpleTestCase):
    """The command as a process, on a small site."""

    def setUp(self):
        self.directory = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.write("site_settings.py", SETTINGS)
        self.write("site_urls.py", URLS)
        self.write("app/__init__.py", "")
        self.write("app/static/app.txt", "static file")
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            self.port = sock.getsockname()[1]

    def write(self, name, content):
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(content))

    def start(self, *options, until=None):
        """Start the command and wait until it serves, or for `until()`."""
        self.output = open(self.directory / "output.txt", "w+")
        self.addCleanup(self.output.close)
        root = Path(django.__file__).parent.parent
        command = ["-u", "-m", "django", "runserver", f"127.0.0.1:{self.port}"]
        process = subprocess.Popen(
            [sys.executable, *command, *options],
            cwd=self.directory,
            stdout=self.output,
            stderr=subprocess.STDOUT,
            env={
                **os.environ,
                "PYTHONPATH": f"{root}{os.pathsep}{self.directory}",
                "DJANGO_SETTINGS_MODULE": "site_settings",
                "PYTHONDONTWRITEBYTECODE": "1",
            },
            start_new_session=True,
        )
        self.addCleanup(process.wait, PATIENCE)
        # The autoreloader's child as well.
        self.addCleanup(os.killpg, process.pid, signal.SIGTERM)
        wait_until(until or (lambda: self.get("/") is not None))

    def get(self, path):
        """Return the body of a response, or None if there is no server."""
        try:
            url = f"http://127.0.0.1:{self.port}{path}"
            with urllib.request.urlopen(url, timeout=PATIENCE) as response:
                return response.read()
        except OSError:
            return None

    @property
    def printed(self):
        return (self.directory / "output.txt").read_text()

    def test_views_and_static_files(self):
        self.write("app/consumers.py", CONSUMERS % ("tests.other", "consumer"))
        self.start("--noreload")
        self.assertEqual(self.get("/"), b"view")
        self.assertEqual(self.get("/static/app.txt"), b"static file")
        self.assertIn("Channels: memory layer, 2 consumers\n", self.printed)

    def test_no_channels(self):
        self.write("app/consumers.py", CONSUMERS % ("django.wsgi.request", "consumer"))
        self.start("--noreload", "--no-channels")
        self.assertEqual(self.get("/"), b"view")
        self.assertEqual(self.get("/static/app.txt"), b"static file")
        self.assertIn("Channels: off for requests (--no-channels)\n", self.printed)

    def test_changed_consumers_are_reloaded(self):
        self.write("app/consumers.py", CONSUMERS % ("django.wsgi.request", "before"))
        self.start()
        self.assertEqual(self.get("/"), b"before")
        # The reloader compares times, which some file systems keep in seconds.
        time.sleep(1.1)
        self.write("app/consumers.py", CONSUMERS % ("django.wsgi.request", "after"))
        wait_until(lambda: self.get("/") == b"after")

    def test_error_in_consumers_shows_at_the_start_and_can_be_mended(self):
        self.write("app/consumers.py", "no_such_name")
        self.start(until=lambda: "NameError" in self.printed)
        time.sleep(1.1)
        self.write("app/consumers.py", CONSUMERS % ("django.wsgi.request", "mended"))
        wait_until(lambda: self.get("/") == b"mended")
