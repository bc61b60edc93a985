"""The interface server as a process of a site, with clients that others wrote."""

import http.client
import re
import signal
import socket
import time
from contextlib import closing, suppress

from django.channels.backends.contract import PATIENCE

from .redis_servers import skip_without
from .utils import end, wait_until
from .worker_site import WorkerSiteTestCase

try:
    import gevent  # NOQA: F401
    from websockets.exceptions import ConnectionClosed
    from websockets.sync.client import connect
except ImportError:
    connect = None

URLS = """
import os
import time
from django.channels import Channel
from django.http import HttpResponse, StreamingHttpResponse
from django.urls import path

class OddResponse(HttpResponse):
    def channel_encode(self):
        return {"content_type": "text/plain; charset=ascii", "content": "\\xe9"}

def held(request):
    with open("held.txt", "w"):
        pass
    while not os.path.exists("go.txt"):
        time.sleep(0.01)
    return HttpResponse("at last")

def stream(request):
    def parts():
        for number in range(200):
            yield b"%d," % number * 100
    return StreamingHttpResponse(parts())

urlpatterns = [
    path("hello/", lambda request: HttpResponse("Hello World")),
    path("length/", lambda request: HttpResponse(str(len(request.read())))),
    path("host/", lambda request: HttpResponse(request.get_host())),
    path("held/", held),
    path("odd/", lambda request: OddResponse()),
    path("quick/", Channel("app.quick").as_view(timeout=0.1)),
    path("stream/", stream),
    path("latin/", lambda request: HttpResponse("é", "text/plain; charset=latin-1")),
    path("path/<str:name>/", lambda request, name: HttpResponse(name + request.path)),
    path("poll/", Channel("app.poll").as_view(timeout=PATIENCE)),
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
def connect(send_channel, path, **message):
    if path == "/closed/":
        Channel(send_channel).send({"close": True})
    Group("everyone").add(send_channel)

@consumer("django.websocket.receive")
def receive(send_channel, data, **message):
    if data.get("content") == "all":
        Group("everyone").send({"content": "to all"})
    else:
        Channel(send_channel).send(data)

@consumer("django.websocket.disconnect")
def disconnect(code, **message):
    note("left", code)

@consumer("app.poll")
def poll(response_channel, **message):
    Group("polls").add(response_channel)
    note("polled", response_channel)

@consumer("app.answer")
def answer(text, **message):
    Group("polls").send({"content": text})

@consumer("app.quick")
def quick(**message):
    pass

@consumer("app.part")
def part(to, **message):
    Channel(to).send({"content": "part", "more": True})

@consumer("app.flood")
def flood(to, **message):
    for _ in range(2000):
        Channel(to).send({"content": "x" * 10_000, "more": True})

@consumer("django.wsgi.disconnect")
def gone(response_channel, **message):
    note("gone", response_channel)
"""


HOSTS = 'ALLOWED_HOSTS = ["127.0.0.1"]\n'


class InterfaceTestCase(WorkerSiteTestCase):
    workers = 2
    settings_text = ""

    def setUp(self):
        if connect is None:
            skip_without("The packages gevent, gevent-websocket and websockets")
        super().setUp()
        self.write("site_urls.py", URLS.replace("PATIENCE", str(PATIENCE)))
        self.write("app/consumers.py", CONSUMERS)
        settings = (self.directory / "site_settings.py").read_text()
        self.write("site_settings.py", settings + HOSTS + self.settings_text)
        self.start_interface()

    def start_interface(self):
        options = [f"--workers={self.workers}"] if self.workers else []
        with open(self.directory / "output.txt", "a") as output:
            self.process = self.command(
                "runinterface", "0", *options, stdout=output, stderr=output
            )
        self.addCleanup(self.process.wait, PATIENCE)
        self.addCleanup(end, self.process)
        pattern = re.compile(r"Listening at 127\.0\.0\.1:(\d+)\.")
        wait_until(lambda: pattern.search(self.printed))
        self.port = int(pattern.search(self.printed)[1])
        if self.workers:
            wait_until(lambda: len(self.workers_seen()) == self.workers)

    def workers_seen(self):
        return self.announced("worker")

    def http_client(self):
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        self.addCleanup(client.close)
        return client

    def get(self, path, method="GET", body=None, headers={}, client=None):
        client = client or self.http_client()
        client.request(method, path, body, headers)
        response = client.getresponse()
        return response, response.read()

    def exchange(self, data):
        """Return all that the server sends for raw bytes, until it closes."""
        with socket.create_connection(("127.0.0.1", self.port), PATIENCE) as sock:
            sock.sendall(data)
            received = b""
            while part := sock.recv(65536):
                received += part
            return received

    def socket(self, path="/"):
        client = connect(f"ws://127.0.0.1:{self.port}{path}", open_timeout=PATIENCE)
        self.enterContext(closing(client))
        return client


class HttpTests(InterfaceTestCase):
    def test_requests_on_one_connection(self):
        client = self.http_client()
        for _ in range(3):
            response, content = self.get("/hello/", client=client)
            self.assertEqual((response.status, content), (200, b"Hello World"))
        response, content = self.get("/nothing/", client=client)
        self.assertEqual(response.status, 404)

    def test_head(self):
        response, content = self.get("/hello/", method="HEAD")
        self.assertEqual((response.status, content), (200, b""))

    def test_bodies(self):
        for body, length in [
            (b"", 0),
            (b"x" * 1000, 1000),
            (b"x" * 3_000_000, 3_000_000),
        ]:
            with self.subTest(length=length):
                _, content = self.get("/length/", "POST", body)
                self.assertEqual(content, str(length).encode())

    def test_expect_continue(self):
        received = self.exchange(
            b"POST /length/ HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 4\r\n"
            b"Expect: 100-continue\r\nConnection: close\r\n\r\nbody"
        )
        self.assertTrue(
            received.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200")
        )

    def test_body_in_chunks(self):
        for size in (0, 5, 300_000, 3_000_000):
            with self.subTest(size=size):
                parts = iter(
                    [b"x" * 100_000] * (size // 100_000) + [b"x" * (size % 100_000)]
                )
                client = self.http_client()
                client.request(
                    "POST",
                    "/length/",
                    parts,
                    encode_chunked=True,
                    headers={"Transfer-Encoding": "chunked"},
                )
                self.assertEqual(client.getresponse().read(), str(size).encode())

    def test_body_that_the_view_does_not_read(self):
        body = b"x" * 10_000_000
        response, content = self.get("/hello/", "POST", body)
        self.assertEqual((response.status, content), (200, b"Hello World"))

    def test_paths_are_utf_8(self):
        _, content = self.get("/path/f%C3%B6o/")
        self.assertEqual(content.decode(), "föo/path/föo/")

    def test_content_that_its_charset_does_not_have(self):
        response, _ = self.get("/odd/")
        self.assertEqual(response.status, 500)

    def test_a_view_that_waits_for_less_than_the_patience(self):
        response, _ = self.get("/quick/")
        self.assertEqual(response.status, 504)

    def test_many_parameters(self):
        response, _ = self.get("/hello/?" + "a&" * 999 + "a")
        self.assertEqual(response.status, 200)
        response, _ = self.get("/hello/?" + "a&" * 1000 + "a")
        self.assertEqual(response.status, 400)

    def test_a_body_that_is_not_read_ends_the_connection_openly(self):
        client = self.http_client()
        response, _ = self.get("/hello/", "POST", b"x" * 10_000_000, client=client)
        self.assertEqual(response.headers["Connection"], "close")

    def test_charset(self):
        _, content = self.get("/latin/")
        self.assertEqual(content, "é".encode("latin-1"))

    def test_stream(self):
        response, content = self.get("/stream/")
        self.assertEqual(response.headers["Transfer-Encoding"], "chunked")
        self.assertEqual(content, b"".join(b"%d," % n * 100 for n in range(200)))

    def test_pipelining(self):
        request = b"GET /hello/ HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        received = self.exchange(
            (request + b"\r\n") * 2 + request + b"Connection: close\r\n\r\n"
        )
        self.assertEqual(received.count(b"\r\n\r\nHello World"), 3)

    def test_refusals(self):
        for data, status in [
            (b"GET / HTTP/1.1\r\n\r\n", 400),
            (b"GET / HTTP/1.1\r\nHost: other.example\r\n\r\n", 400),
            (b"GET /\r\n\r\n", 400),
            (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\nx", 400),
            (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 70_000, 431),
        ]:
            with self.subTest(data=data[:60]):
                self.assertIn(b" %d " % status, self.exchange(data).split(b"\r\n")[0])

    def test_stops_after_the_requests_in_hand(self):
        self.process.terminate()
        self.assertEqual(self.process.wait(PATIENCE), 0)
        self.assertAllEnd()


class LongPollTests(InterfaceTestCase):
    def test_is_answered_by_whom_it_is_left_to(self):
        client = self.http_client()
        client.request("GET", "/poll/")
        wait_until(lambda: self.done("polled"))
        self.send("app.answer", text="at last")
        response = client.getresponse()
        self.assertEqual((response.status, response.read()), (200, b"at last"))
        wait_until(lambda: self.backend.members("polls") == {})

    def test_a_client_that_leaves_is_told_of(self):
        client = self.http_client()
        client.request("GET", "/poll/")
        wait_until(lambda: self.done("polled"))
        client.close()
        wait_until(lambda: self.done("gone"))
        self.assertEqual(self.done("gone"), self.done("polled"))
        wait_until(lambda: self.backend.members("polls") == {})

    def test_ends_with_the_server(self):
        client, stream = self.http_client(), self.http_client()
        for number, waiting in enumerate((client, stream), 1):
            waiting.request("GET", "/poll/")
            wait_until(lambda: len(self.done("polled")) == number)
        self.send("app.part", to=self.done("polled")[1][0])
        response = stream.getresponse()
        self.assertEqual(response.read(4), b"part")
        self.process.terminate()
        # Well before the time that requests in hand have.
        self.assertEqual(client.getresponse().status, 503)
        with self.assertRaises(http.client.IncompleteRead):
            response.read()
        self.assertEqual(self.process.wait(PATIENCE), 0)

    def test_a_client_that_reads_too_slowly_is_given_up(self):
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.settimeout(PATIENCE)
            client.connect(("127.0.0.1", self.port))
            client.sendall(b"GET /poll/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            wait_until(lambda: self.done("polled"))
            self.send("app.flood", to=self.done("polled")[0][0])
            wait_until(lambda: self.done("gone"))
            received = b""
            with suppress(ConnectionError):
                while part := client.recv(65536):
                    received += part
        self.assertLess(len(received), 20_000_000)
        self.assertFalse(received.endswith(b"0\r\n\r\n"))


class WebSocketTests(InterfaceTestCase):
    def test_echo(self):
        client = self.socket()
        for data in ["text", b"\x00\xff", "é" * 1000, ""]:
            client.send(data)
            self.assertEqual(client.recv(PATIENCE), data)

    def test_broadcast(self):
        clients = [self.socket() for _ in range(5)]
        clients[0].send("all")
        received = [client.recv(PATIENCE) for client in clients]
        self.assertEqual(received, ["to all"] * 5)

    def test_refused_by_the_consumer(self):
        with self.assertRaisesMessage(Exception, "403"):
            self.socket("/closed/")

    def test_leaving_is_told_and_ends_membership(self):
        client = self.socket()
        client.send("x")
        client.recv(PATIENCE)
        client.close(3000)
        wait_until(lambda: self.done("left"))
        self.assertEqual(self.done("left"), [["3000"]])
        wait_until(lambda: self.backend.members("everyone") == {})

    def test_sockets_outlive_the_workers(self):
        client = self.socket()
        before = self.workers_seen()
        self.process.send_signal(signal.SIGHUP)
        wait_until(lambda: self.workers_seen() and not self.workers_seen() & before)
        client.send("still here")
        self.assertEqual(client.recv(PATIENCE), "still here")

    def test_sockets_are_closed_when_the_server_goes_away(self):
        client = self.socket()
        self.process.terminate()
        with self.assertRaises(ConnectionClosed) as caught:
            client.recv(PATIENCE)
        self.assertEqual(caught.exception.rcvd.code, 1001)


class LimitTests(InterfaceTestCase):
    settings_text = """
CHANNELS_LIMITS = {
    "CONNECTIONS_PER_ADDRESS": 3, "HEAD_TIME": 0.5, "BODY_TIME": 0.5, "KEEP_ALIVE": 0.5,
    "MESSAGE_SIZE": 1000,
}
CHANNELS_MAX_BODY_SIZE = 1000
"""

    def test_connections_per_address(self):
        sockets = [self.socket() for _ in range(3)]
        with self.assertRaises(Exception):
            self.socket()
        sockets[0].close()
        wait_until(lambda: self.done("left"))
        client = self.socket()
        client.send("x")
        self.assertEqual(client.recv(PATIENCE), "x")

    def test_slow_heads_and_bodies(self):
        start = b"POST /length/ HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        for data in [start, start + b"Content-Length: 10\r\n\r\nhalf"]:
            with self.subTest(data=data):
                self.assertIn(b" 408 ", self.exchange(data).split(b"\r\n")[0])
        self.assertEqual(self.exchange(b""), b"")

    def test_the_time_of_bodies_does_not_add_up(self):
        with socket.create_connection(("127.0.0.1", self.port), PATIENCE) as client:
            for _ in range(3):
                client.sendall(
                    b"POST /length/ HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                    b"Content-Length: 2\r\n\r\n"
                )
                time.sleep(0.25)
                client.sendall(b"ab")
                self.assertIn(b" 200 OK", client.recv(65536).split(b"\r\n")[0])

    def test_large_bodies_are_refused_before_they_are_sent(self):
        received = self.exchange(
            b"POST /length/ HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1001\r\n"
            b"Expect: 100-continue\r\n\r\n"
        )
        self.assertTrue(received.startswith(b"HTTP/1.1 413 "))

    def test_large_messages(self):
        client = self.socket()
        client.send("x" * 1001)
        with self.assertRaises(ConnectionClosed) as caught:
            client.recv(PATIENCE)
        self.assertEqual(caught.exception.rcvd.code, 1009)


class RoomTests(InterfaceTestCase):
    settings_text = 'CHANNELS_LIMITS = {"CONNECTIONS": 3}\n'

    def test_websockets_take_room_as_all_connections_do(self):
        sockets = [self.socket() for _ in range(3)]
        # Closed at once.
        self.assertEqual(self.exchange(b""), b"")
        sockets[0].close()
        wait_until(lambda: self.done("left"))
        response, _ = self.get("/hello/")
        self.assertEqual(response.status, 200)


class MemoryTests(InterfaceTestCase):
    """One process does all."""

    workers = 0

    def make_backend(self):
        return {"BACKEND": "django.channels.backends.memory.MemoryBackend"}

    def test_http(self):
        response, content = self.get("/hello/")
        self.assertEqual((response.status, content), (200, b"Hello World"))
        _, content = self.get("/length/", "POST", b"x" * 1_000_000)
        self.assertEqual(content, b"1000000")

    def test_websockets(self):
        client = self.socket()
        client.send("text")
        self.assertEqual(client.recv(PATIENCE), "text")
