import json
import socketserver
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

from django.channels import channels
from django.channels.backends.contract import PATIENCE
from django.channels.registry import registry
from django.channels.worker import Worker
from django.test import SimpleTestCase, override_settings

from .test_wire import LARGE
from .utils import with_workers


class StoreHandler(socketserver.StreamRequestHandler):
    """Gives other processes the backend, by lines of JSON."""

    def handle(self):
        backend = channels["default"]
        for line in self.rfile:
            command, *arguments = json.loads(line)
            answer = getattr(backend, command)(*arguments)
            self.wfile.write(json.dumps(answer).encode() + b"\n")


@override_settings(
    ROOT_URLCONF="channels.test_wire",
    MIDDLEWARE=[],
    ALLOWED_HOSTS=["127.0.0.1"],
    CHANNELS={
        "default": {"BACKEND": "channels.remote.RemoteBackend", "EXPIRY": PATIENCE}
    },
)
@with_workers
class ForeignServerTests(SimpleTestCase):
    """An interface server that is made from the description of messages alone."""

    def setUp(self):
        self.enterContext(registry.isolate())
        self.backend = channels["default"]
        self.backend.flush()
        worker = Worker(self.backend)
        thread = threading.Thread(target=worker.run, daemon=True)
        thread.start()
        self.addCleanup(thread.join, PATIENCE)
        self.addCleanup(worker.stop)
        store = socketserver.ThreadingTCPServer(("127.0.0.1", 0), StoreHandler)
        store.daemon_threads = True
        threading.Thread(target=store.serve_forever, daemon=True).start()
        self.addCleanup(store.server_close)
        self.addCleanup(store.shutdown)
        source = Path(__file__).with_name("foreign_server.py")
        server = subprocess.Popen(
            [sys.executable, source, str(store.server_address[1])],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.addCleanup(server.stdout.close)
        self.addCleanup(server.wait, PATIENCE)
        self.addCleanup(server.terminate)
        self.url = f"http://127.0.0.1:{server.stdout.readline().strip()}"

    def request(self, path, body=None):
        request = urllib.request.Request(self.url + path, data=body)
        with urllib.request.urlopen(request, timeout=PATIENCE) as response:
            return response.status, response.headers, response.read()

    def test_response(self):
        status, headers, body = self.request("/ignore-body/")
        self.assertEqual((status, body), (200, b"not read"))
        self.assertEqual(headers["Content-Type"], "text/html; charset=utf-8")

    def test_bodies(self):
        for body in [b"x", LARGE]:
            with self.subTest(size=len(body)):
                self.assertEqual(self.request("/echo/", body)[2], body)

    def test_streams(self):
        self.assertEqual(self.request("/file/?start=10")[2], LARGE[10:])
        self.assertEqual(self.request("/echo-stream/", LARGE)[2], LARGE)
