"""
The interface server behind nginx, with the configuration that the documentation
gives: it is taken out of the page.
"""

import hashlib
import http.client
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import textwrap
from contextlib import closing, suppress
from pathlib import Path

import django
from django.channels.backends.contract import PATIENCE

from .redis_servers import free_port, make_certificates, skip_without
from .utils import end, wait_until
from .worker_site import WorkerSiteTestCase

try:
    import gevent  # NOQA: F401
    from websockets.sync.client import connect
except ImportError:
    connect = None

PAGE = Path(django.__file__).parent.parent / "docs/howto/deployment/channels-nginx.txt"

# That of the client, which is not the one of nginx.
ADDRESS = "127.0.0.2"

# What the configuration of a system has around the site.
AROUND = """
daemon off;
pid {folder}/nginx.pid;
error_log stderr;
worker_processes 1;
{user}
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/site.conf;
}}
"""

URLS = """
import hashlib
from django.channels import Channel
from django.http import HttpResponse, JsonResponse
from django.urls import path

def about(request):
    return JsonResponse({
        "address": request.META["REMOTE_ADDR"],
        "host": request.get_host(),
        "secure": request.is_secure(),
    })

def upload(request):
    return HttpResponse(hashlib.sha256(request.read()).hexdigest())

urlpatterns = [
    path("about/", about),
    path("upload/", upload),
    path("poll/", Channel("app.poll").as_view(timeout=PATIENCE)),
    path("events/", Channel("app.events").as_view(timeout=PATIENCE)),
]
"""

CONSUMERS = """
import os
from django.channels import Channel, Group, consumer

def note(*words):
    with open("done.txt", "a") as file:
        file.write(" ".join(map(str, words)) + chr(10))

note("process", os.getpid())

@consumer("django.websocket.connect")
def connect(send_channel, client, **message):
    Channel(send_channel).send({"state": {"address": client[0]}})

@consumer("django.websocket.receive")
def receive(send_channel, data, state, **message):
    Channel(send_channel).send({"content": state["address"] + " " + data["content"]})

@consumer("app.poll")
def poll(response_channel, **message):
    Group("polls").add(response_channel)
    note("polled", response_channel)

@consumer("app.events")
def events(response_channel, **message):
    Channel(response_channel).send({
        "content_type": "text/event-stream",
        "headers": [["Cache-Control", "no-cache"], ["X-Accel-Buffering", "no"]],
        "content": ": welcome" + chr(10) * 2,
        "more": True,
    })
    Group("events").add(response_channel)
    note("follows", response_channel)

@consumer("app.tell")
def tell(text, **message):
    Group("polls").send({"content": text})
    Group("events").send({"content": f"data: {text}" + chr(10) * 2, "more": True})

@consumer("django.wsgi.disconnect")
def gone(response_channel, **message):
    note("gone", response_channel)
"""


def blocks(page):
    """Return the code blocks for nginx on a page, without their indentation."""
    found = re.findall(
        r"^\.\. code-block:: nginx\n(?:    :.*\n)*\n((?:(?:    .*)?\n)+)",
        page.read_text(),
        re.MULTILINE,
    )
    return [textwrap.dedent(block).strip() for block in found]


def find_nginx():
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
    return shutil.which("nginx", path=path) or skip_without("nginx")


class NginxTestCase(WorkerSiteTestCase):
    """A site on Redis, its interface server and nginx in front of it."""

    def setUp(self):
        if connect is None:
            skip_without("The packages gevent, gevent-websocket and websockets")
        self.binary = find_nginx()
        super().setUp()
        self.write("site_urls.py", URLS.replace("PATIENCE", str(PATIENCE)))
        self.write("app/consumers.py", CONSUMERS)
        settings = (self.directory / "site_settings.py").read_text()
        self.write("site_settings.py", settings + 'ALLOWED_HOSTS = ["example.com"]\n')
        self.start_interface()
        self.start_nginx()

    def start_interface(self):
        """Start the interface server, and tell nginx in `upstream` where it is."""
        raise NotImplementedError

    def run_interface(self, address):
        with open(self.directory / "output.txt", "a") as output:
            process = self.command(
                "runinterface",
                address,
                "--trust-proxy",
                "--workers=2",
                stdout=output,
                stderr=output,
            )
        self.addCleanup(process.wait, PATIENCE)
        self.addCleanup(end, process)

        def is_ready():
            self.assertIsNone(process.poll(), self.printed)
            return "Listening at" in self.printed and len(self.workers()) == 2

        wait_until(is_ready)

    def start_nginx(self):
        self.folder = self.directory / "nginx"
        (self.folder / "static").mkdir(parents=True)
        authority = make_certificates(self.folder)
        self.tls = ssl.create_default_context(cafile=authority)
        self.port, self.tls_port = free_port(), free_port()
        # Otherwise its worker may not read what is in a folder of root.
        user = "user root;" if os.geteuid() == 0 else ""
        self.write("nginx/nginx.conf", AROUND.format(folder=self.folder, user=user))
        self.write("nginx/site.conf", self.site_conf())
        with open(self.folder / "log", "w") as log:
            process = subprocess.Popen(
                [self.binary, "-p", self.folder, "-c", self.folder / "nginx.conf"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self.addCleanup(process.wait, PATIENCE)
        self.addCleanup(process.terminate)

        def is_ready():
            self.assertIsNone(process.poll(), (self.folder / "log").read_text())
            with suppress(OSError):
                socket.create_connection(("127.0.0.1", self.tls_port)).close()
                return True

        wait_until(is_ready)

    def site_conf(self):
        """Return the configuration on the page, for the places of this test."""
        text = self.upstream(blocks(PAGE))
        for old, new in [
            ("listen 80;", f"listen 127.0.0.1:{self.port};"),
            ("listen 443 ssl;", f"listen 127.0.0.1:{self.tls_port} ssl;"),
            ("/etc/ssl/mysite/fullchain.pem", f"{self.folder}/server.pem"),
            ("/etc/ssl/mysite/privkey.pem", f"{self.folder}/server.key"),
            ("/srv/mysite/static/", f"{self.folder}/static/"),
        ]:
            self.assertEqual(text.count(old), 1, old)
            text = text.replace(old, new)
        return text

    def request(self, method, path, body=None, headers={}):
        """Return the connection on which a request has been sent."""
        client = http.client.HTTPSConnection(
            "127.0.0.1",
            self.tls_port,
            timeout=PATIENCE,
            source_address=(ADDRESS, 0),
            context=self.tls,
        )
        self.addCleanup(client.close)
        client.request(method, path, body, {"Host": self.host, **headers})
        return client

    def get(self, *args, **kwargs):
        response = self.request("GET", *args, **kwargs).getresponse()
        return response.status, response.read()

    @property
    def host(self):
        return f"example.com:{self.tls_port}"

    def socket(self, origin):
        sock = socket.create_connection(
            ("127.0.0.1", self.tls_port), PATIENCE, (ADDRESS, 0)
        )
        client = connect(
            f"wss://{self.host}/",
            sock=sock,
            ssl=self.tls,
            server_hostname="127.0.0.1",
            origin=origin,
            open_timeout=PATIENCE,
        )
        self.enterContext(closing(client))
        return client


class Tests:
    def test_client_and_scheme(self):
        forged = {"X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "http"}
        for headers in [{}, forged]:
            with self.subTest(headers=headers):
                status, content = self.get("/about/", headers=headers)
                self.assertEqual(status, 200)
                self.assertEqual(
                    json.loads(content),
                    {"address": ADDRESS, "host": self.host, "secure": True},
                )

    def test_websocket(self):
        client = self.socket(f"https://{self.host}")
        for text in ["one", "x" * 100_000]:
            client.send(text)
            self.assertEqual(client.recv(PATIENCE), f"{ADDRESS} {text}")


class UnixSocketTests(Tests, NginxTestCase):
    def start_interface(self):
        self.path = self.directory / "interface.sock"
        self.run_interface(f"unix:{self.path}")

    def upstream(self, found):
        old = "unix:/run/mysite/interface.sock"
        self.assertEqual(found[0].count(old), 1)
        return found[0].replace(old, f"unix:{self.path}")

    def test_websocket_of_another_site(self):
        for origin in ["https://example.org", f"http://{self.host}"]:
            with self.subTest(origin=origin):
                with self.assertRaisesMessage(Exception, "403"):
                    self.socket(origin)

    def test_event_arrives_at_once(self):
        response = self.request("GET", "/events/").getresponse()
        self.assertEqual(response.headers["Content-Type"], "text/event-stream")
        self.assertEqual(response.readline(), b": welcome\n")
        self.assertEqual(response.readline(), b"\n")
        wait_until(lambda: self.done("follows"))
        for text in ["one", "two"]:
            self.send("app.tell", text=text)
            # The stream goes on, so nothing but the event itself brings it here.
            self.assertEqual(response.readline(), f"data: {text}\n".encode())
            self.assertEqual(response.readline(), b"\n")

    def test_long_poll(self):
        client = self.request("GET", "/poll/")
        wait_until(lambda: self.done("polled"))
        self.send("app.tell", text="at last")
        self.assertEqual(client.getresponse().read(), b"at last")

    def test_leaving_is_passed_on(self):
        for path in ["/poll/", "/events/"]:
            with self.subTest(path=path):
                self.reset_done()
                client = self.request("GET", path)
                wait_until(lambda: self.done("polled") or self.done("follows"))
                client.close()
                wait_until(lambda: self.done("gone"))

    def reset_done(self):
        path = self.directory / "done.txt"
        lines = path.read_text().splitlines(keepends=True)
        path.write_text("".join(line for line in lines if line.startswith("process")))

    def test_uploads(self):
        for size, status in [(5_000_000, 200), (22_000_000, 413)]:
            with self.subTest(size=size):
                body = bytes(range(250)) * (size // 250)
                response = self.request("POST", "/upload/", body).getresponse()
                content = response.read().decode()
                self.assertEqual(response.status, status)
                if status == 200:
                    self.assertEqual(content, hashlib.sha256(body).hexdigest())

    def test_static_files(self):
        (self.folder / "static" / "site.css").write_text("body {}")
        self.assertEqual(self.get("/static/site.css"), (200, b"body {}"))

    def test_requests_without_tls(self):
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        self.addCleanup(client.close)
        client.request("GET", "/about/?a=b", headers={"Host": "example.com"})
        response = client.getresponse()
        self.assertEqual(response.status, 301)
        self.assertEqual(response.headers["Location"], "https://example.com/about/?a=b")


class PortTests(Tests, NginxTestCase):
    def start_interface(self):
        self.interface_port = free_port()
        self.run_interface(str(self.interface_port))

    def upstream(self, found):
        block = re.compile(r"upstream mysite \{.*?\}", re.DOTALL)
        old = "127.0.0.1:8000"
        self.assertEqual(found[1].count(old), 1)
        new = found[1].replace(old, f"127.0.0.1:{self.interface_port}")
        text, count = block.subn(new, found[0])
        self.assertEqual(count, 1)
        return text
