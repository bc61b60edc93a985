import http.client
import os
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import time
import urllib.request
from contextlib import suppress
from io import StringIO
from pathlib import Path
from unittest import mock, skipUnless
from urllib.error import HTTPError

import django
from django.channels.backends.contract import PATIENCE
from django.channels.interfaces import runserver
from django.channels.interfaces.wsgi import Switch
from django.channels.registry import consumer, registry
from django.core.management.commands.runserver import Command
from django.core.servers import basehttp
from django.test import SimpleTestCase, override_settings

from .redis_servers import skip_without
from .utils import wait_until

try:
    import gevent  # NOQA: F401
    from websockets.exceptions import ConnectionClosed
    from websockets.sync.client import connect
except ImportError:
    connect = None

SETTINGS = """
DEBUG = True
ROOT_URLCONF = "site_urls"
INSTALLED_APPS = ["django.contrib.staticfiles", "app"]
STATIC_URL = "/static/"
SECRET_KEY = "tests"
"""

URLS = """
from django.channels import Channel, Group
from django.http import HttpResponse, StreamingHttpResponse
from django.urls import path

def cookies(request):
    response = HttpResponse("cookies")
    response.set_cookie("a", "1")
    response.set_cookie("b", "2")
    return response

def answer(request):
    Group("polls").send({"content": "at last"})
    return HttpResponse("sent")

def stream(request):
    return StreamingHttpResponse(iter([b"one ", b"two"]))

urlpatterns = [
    path("", lambda request: HttpResponse("view")),
    path("cookies/", cookies),
    path("stream/", stream),
    path("length/", lambda request: HttpResponse(str(len(request.read())))),
    path("answer/", answer),
    path("poll/", Channel("app.poll").as_view(timeout=60)),
    path("upload/", Channel("app.length").as_view(timeout=60)),
]
"""

WITHOUT_GEVENT = """
from django.channels.interfaces import runserver
runserver.PACKAGES = ["no_such_package"]
"""

CONSUMERS = """
from django.channels import Channel, consumer

@consumer("%s")
def answer(response_channel, **kwargs):
    Channel(response_channel).send({"content": "%s"})
"""


SOCKETS = """
from django.channels import Channel, Group, consumer

@consumer("django.websocket.receive")
def echo(send_channel, data, **message):
    Channel(send_channel).send(data)

@consumer("app.poll")
def poll(response_channel, **message):
    Group("polls").add(response_channel)
    print("polled", flush=True)

@consumer("app.length")
def length(response_channel, **message):
    keys = sorted({"body", "body_channel"} & message.keys())
    Channel(response_channel).send({"content": " ".join(keys)})

@consumer("django.wsgi.disconnect")
def left(response_channel, **message):
    print("left", flush=True)
"""

APPLICATION = """
from django.core.wsgi import get_wsgi_application

site = get_wsgi_application()

def application(environ, start_response):
    if environ["PATH_INFO"] == "/lazy/":
        cookies = [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")]
        start_response("418 Short and Stout", cookies)
        yield b"lazy "
        yield b"parts"
    elif environ["PATH_INFO"] == "/broken/":
        raise ValueError
    else:
        yield from site(environ, start_response)
"""

MIDDLEWARE = """
from django.core.wsgi import get_wsgi_application

site = get_wsgi_application()

def application(environ, start_response):
    def start(status, headers, exc_info=None):
        return start_response("299 Changed", [*headers, ("X-Middleware", "1")])
    return site(environ, start)
"""


class BannerTests(SimpleTestCase):
    def setUp(self):
        self.enterContext(registry.isolate())
        self.addCleanup(setattr, Switch, "on", True)

    def test_layer_and_consumers(self):
        count = registry.count()
        consumer("tests.one")(lambda **kwargs: None)
        self.assertIn(
            f"Channels: memory layer, {count + 1} consumers\n", runserver.describe()
        )

    @override_settings(
        CHANNELS={"default": {"BACKEND": "channels.remote.RemoteBackend"}}
    )
    def test_workers_that_have_to_run_beside_it(self):
        self.assertIn("wait for workers: manage.py runworker", runserver.describe())

    def test_one_consumer(self):
        registry._registry = {}
        self.assertIn("Channels: memory layer, 1 consumer\n", runserver.describe())

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

    def test_what_keeps_websockets_away(self):
        class OtherServer(basehttp.WSGIServer):
            pass

        for threading, server_class, packages, words in [
            (False, basehttp.WSGIServer, (), "--nothreading"),
            (True, OtherServer, (), "OtherServer does not serve them"),
            (True, basehttp.WSGIServer, ("no_such_package",), '"Django[gevent]"'),
        ]:
            with (
                self.subTest(words=words),
                mock.patch.object(runserver, "PACKAGES", packages),
                mock.patch.object(runserver.WebSockets, "off"),
            ):
                obstacle = runserver.find_obstacle(threading, server_class)
                runserver.WebSockets.off = obstacle
                self.assertIn(words, obstacle)
                self.assertIn(f"WebSockets: off. {obstacle}", runserver.describe())

    def test_other_functions_that_serve_are_left_alone(self):
        self.assertIs(runserver.choose(basehttp.run), runserver.serve)
        self.assertIs(runserver.choose(print), print)
        Switch.on = False
        self.assertIs(runserver.choose(basehttp.run), basehttp.run)

    def test_switched_off(self):
        Switch.on = False
        self.assertEqual(
            runserver.describe(), "Channels: off for requests (--no-channels)"
        )


@skipUnless(hasattr(signal, "SIGTERM") and os.name == "posix", "Needs POSIX signals.")
class ServerTestCase(SimpleTestCase):
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

    def change(self, name, content):
        """Write a file until the reloader, which may not have seen it yet, notices."""

        def is_noticed():
            self.write(name, content)
            # It compares times, which some file systems keep in seconds.
            time.sleep(1.1)
            return "changed, reloading" in self.printed

        wait_until(is_noticed)

    def start(self, *options, until=None):
        """Start the command and wait until it serves, or for `until()`."""
        self.output = open(self.directory / "output.txt", "w+")
        self.addCleanup(self.output.close)
        root = Path(django.__file__).parent.parent
        command = ["-u", "-m", "django", "runserver", f"127.0.0.1:{self.port}"]
        process = self.process = subprocess.Popen(
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
        self.addCleanup(self.kill_all)
        wait_until(until or (lambda: self.get("/") is not None))

    def kill_all(self):
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGTERM)

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


class ServerTests(ServerTestCase):
    def test_views_and_static_files(self):
        self.write("app/consumers.py", CONSUMERS % ("tests.other", "consumer"))
        self.start("--noreload")
        self.assertEqual(self.get("/"), b"view")
        self.assertEqual(self.get("/static/app.txt"), b"static file")
        self.assertIn("Channels: memory layer, 2 consumers\n", self.printed)

    def test_without_the_packages_for_websockets(self):
        self.write("site_settings.py", SETTINGS + WITHOUT_GEVENT)
        self.start("--noreload")
        self.assertIn(
            'WebSockets: off. python -m pip install "Django[gevent]"', self.printed
        )
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/", headers={"Upgrade": "websocket"}
        )
        with self.assertRaises(HTTPError) as caught:
            urllib.request.urlopen(request, timeout=PATIENCE)
        self.assertEqual(caught.exception.code, 501)
        self.assertIn(b'pip install "Django[gevent]"', caught.exception.read())

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
        self.change("app/consumers.py", CONSUMERS % ("django.wsgi.request", "after"))
        wait_until(lambda: self.get("/") == b"after")

    def test_error_in_consumers_shows_at_the_start_and_can_be_mended(self):
        self.write("app/consumers.py", "no_such_name")
        self.start(until=lambda: "NameError" in self.printed)
        self.change("app/consumers.py", CONSUMERS % ("django.wsgi.request", "mended"))
        wait_until(lambda: self.get("/") == b"mended")

    def test_fault_that_a_check_finds_can_be_mended(self):
        consumer = "@consumer('tests.one')\ndef consume(**message):\n    pass\n"
        text = f"from django.channels import consumer\n{consumer * 2}"
        self.write("app/consumers.py", text)
        self.start(until=lambda: "channels.E006" in self.printed)
        self.change("app/consumers.py", CONSUMERS % ("django.wsgi.request", "mended"))
        wait_until(lambda: self.get("/") == b"mended")


class WebSocketTests(ServerTestCase):
    """The command serves by gevent, with consumers in threads of the same process."""

    def setUp(self):
        if connect is None:
            skip_without("The packages gevent, gevent-websocket and websockets")
        super().setUp()
        self.write("app/consumers.py", SOCKETS)

    def request(self, path, method="GET", body=None, host="127.0.0.1"):
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        self.addCleanup(client.close)
        client.request(method, path, body, {"Host": host})
        return client

    def test_echo(self):
        self.start("--noreload")
        # The server may answer before the banner is there.
        wait_until(lambda: "WebSockets: on\n" in self.printed)
        with connect(f"ws://127.0.0.1:{self.port}/") as client:
            for data in ["text", b"\x00bytes"]:
                client.send(data)
                self.assertEqual(client.recv(PATIENCE), data)

    def test_responses(self):
        self.start("--noreload")
        response = self.request("/cookies/").getresponse()
        cookies = response.headers.get_all("Set-Cookie")
        self.assertEqual(cookies, ["a=1; Path=/", "b=2; Path=/"])
        self.assertEqual(self.get("/stream/"), b"one two")
        body = b"x" * 1_000_000
        response = self.request("/length/", "POST", body).getresponse()
        self.assertEqual(response.read(), b"1000000")
        response = self.request("/", "HEAD").getresponse()
        self.assertEqual((response.status, response.read()), (200, b""))
        self.assertIn('"POST /length/ HTTP/1.1" 200 7\n', self.printed)

    def test_hosts_are_refused_by_the_page_that_says_why(self):
        middleware = "MIDDLEWARE = ['django.middleware.common.CommonMiddleware']\n"
        self.write("site_settings.py", SETTINGS + middleware)
        self.start("--noreload")
        response = self.request("/", host="other.example").getresponse()
        self.assertEqual(response.status, 400)
        self.assertIn(b"DisallowedHost", response.read())

    def test_long_polls_are_answered_and_clients_that_leave_are_noticed(self):
        self.start("--noreload")
        first, second = self.request("/poll/"), self.request("/poll/")
        wait_until(lambda: self.printed.count("polled") == 2)
        second.close()
        wait_until(lambda: "left" in self.printed)
        self.get("/answer/")
        response = first.getresponse()
        self.assertEqual((response.status, response.read()), (200, b"at last"))

    def test_bodies_of_requests_that_are_handed_over(self):
        self.start("--noreload")
        for size, key in [(10, b"body"), (1_000_000, b"body_channel")]:
            with self.subTest(size=size):
                client = self.request("/upload/", "POST", b"x" * size)
                self.assertEqual(client.getresponse().read(), key)

    def test_wsgi_applications_of_any_kind(self):
        self.write("site_wsgi.py", APPLICATION)
        self.write(
            "site_settings.py",
            SETTINGS + "WSGI_APPLICATION = 'site_wsgi.application'\n",
        )
        self.start("--noreload")
        response = self.request("/lazy/").getresponse()
        self.assertEqual((response.status, response.reason), (418, "Short and Stout"))
        self.assertEqual(response.headers.get_all("Set-Cookie"), ["a=1", "b=2"])
        self.assertEqual(response.read(), b"lazy parts")
        response = self.request("/broken/").getresponse()
        self.assertEqual(response.status, 500)
        self.assertIn("ValueError", self.printed)
        self.assertEqual(self.get("/"), b"view")
        self.assertEqual(self.get("/static/app.txt"), b"static file")

    def test_wsgi_middleware_changes_heads(self):
        self.write("site_wsgi.py", MIDDLEWARE)
        application = "WSGI_APPLICATION = 'site_wsgi.application'\n"
        self.write("site_settings.py", SETTINGS + application)
        self.start("--noreload")
        response = self.request("/cookies/").getresponse()
        self.assertEqual((response.status, response.reason), (299, "Changed"))
        self.assertEqual(response.headers["X-Middleware"], "1")
        cookies = response.headers.get_all("Set-Cookie")
        self.assertEqual(cookies, ["a=1; Path=/", "b=2; Path=/"])
        self.assertEqual(response.read(), b"cookies")

    def test_ends_at_once_when_it_is_told_to(self):
        self.start("--noreload")
        with connect(f"ws://127.0.0.1:{self.port}/") as client:
            client.send("text")
            client.recv(PATIENCE)
            self.process.send_signal(signal.SIGINT)
            with self.assertRaises(ConnectionClosed) as caught:
                client.recv(PATIENCE)
            self.assertEqual(caught.exception.rcvd.code, 1001)
            self.assertEqual(self.process.wait(PATIENCE), 0)
