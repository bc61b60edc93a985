"""The command runinterface: its processes, addresses, TLS and status."""

import http.client
import json
import os
import re
import signal
import socket
import ssl
import stat
import time
from collections import Counter
from contextlib import closing, suppress
from io import StringIO
from unittest import SkipTest, mock, skipUnless

from django.channels.backends.contract import PATIENCE
from django.core.management import CommandError, call_command
from django.test import SimpleTestCase, override_settings

from .redis_servers import make_certificates
from .test_interface import URLS, InterfaceTestCase
from .utils import MEMORY, end, in_ci, run_script, wait_until
from .worker_site import has_ended

try:
    import gevent  # NOQA: F401
    from websockets.exceptions import ConnectionClosed
    from websockets.sync.client import connect, unix_connect

    from django.channels.interfaces.server.counters import (
        BOUNDS,
        Counters,
        Histogram,
    )
    from django.channels.interfaces.server.metrics import format_metrics
except ImportError:
    if in_ci():
        raise
    raise SkipTest("gevent and websockets are not installed.")

ABOUT = """
from django.http import JsonResponse

KEYS = ["SERVER_NAME", "SERVER_PORT", "REMOTE_ADDR"]

def about(request):
    return JsonResponse({
        "scheme": request.scheme,
        "host": request.get_host(),
        **{key: request.META[key] for key in KEYS},
    })

urlpatterns.append(path("about/", about))
"""

REQUEST = b"GET /hello/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


class UnixHTTPConnection(http.client.HTTPConnection):
    """A connection to the Unix socket at `path`."""

    def __init__(self, path):
        super().__init__("localhost", timeout=PATIENCE)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(PATIENCE)
        self.sock.connect(self.path)


class RunInterfaceTestCase(InterfaceTestCase):
    """Its tests start the command themselves."""

    settings_text = 'ALLOWED_HOSTS = ["127.0.0.1", "localhost"]\n'

    def setUp(self):
        super().setUp()
        self.write("site_urls.py", URLS.replace("PATIENCE", str(PATIENCE)) + ABOUT)

    def start_interface(self):
        pass

    def serve(self, address="0", *options):
        """Start the command, and return once it listens and its workers work."""
        before = self.printed if (self.directory / "output.txt").exists() else ""
        with open(self.directory / "output.txt", "a") as output:
            self.process = self.command(
                "runinterface", address, *options, stdout=output, stderr=output
            )
        self.addCleanup(self.process.wait, PATIENCE)
        self.addCleanup(end, self.process)

        def is_ready():
            self.assertIsNone(self.process.poll(), self.printed)
            return re.search(
                r"Listening at (\S+)\. Quit with CONTROL-C\.",
                self.printed[len(before) :],
            )

        wait_until(is_ready)
        self.address = is_ready()[1]
        if not self.address.startswith("unix:"):
            self.port = int(self.address.rpartition(":")[2])
        if found := re.search(r"Status at (\S+)\.\n", self.printed[len(before) :]):
            self.status = found[1]
        if "--workers=1" in options:
            wait_until(lambda: self.announced("worker"))

    def about(self, client=None, **headers):
        response, content = self.get("/about/", headers=headers, client=client)
        self.assertEqual(response.status, 200)
        return json.loads(content)

    def assertServes(self, client=None):
        _, content = self.get("/hello/", client=client)
        self.assertEqual(content, b"Hello World")

    def assertRefused(self, msg, *arguments):
        code, output = self.run_command("runinterface", *arguments)
        self.assertEqual((code, output), (1, f"CommandError: {msg}\n"))

    def listening(self):
        """Return the processes of the command that serve, by what they announce."""
        return {
            info["pid"]: info
            for info in self.backend.announced().values()
            if info["kind"] == "interface" and not has_ended(info["pid"])
        }


class ProcessesTests(RunInterfaceTestCase):
    """Several processes at one port."""

    def setUp(self):
        super().setUp()
        self.serve("0", "--processes=2", "--workers=1")
        wait_until(lambda: len(self.listening()) == 2)

    def test_connections_are_spread_and_groups_span_the_processes(self):
        clients = [self.socket() for _ in range(20)]
        for client in clients:
            client.send("x")
            self.assertEqual(client.recv(PATIENCE), "x")
        clients[0].send("all")
        received = [client.recv(PATIENCE) for client in clients]
        self.assertEqual(received, ["to all"] * 20)

        def counts():
            listening = self.listening().values()
            return [about["websockets"]["open"] for about in listening]

        wait_until(lambda: sum(counts()) == 20)
        self.assertTrue(all(counts()), counts())

    def test_one_that_ends_is_replaced(self):
        lost, *_ = before = set(self.listening())
        os.kill(lost, signal.SIGKILL)
        wait_until(lambda: has_ended(lost) and len(self.listening()) == 2)
        self.assertEqual(before & set(self.listening()), before - {lost})
        for _ in range(10):
            self.assertServes()

    def test_hang_up_replaces_the_workers_only(self):
        client = self.socket()
        processes, workers = set(self.listening()), self.announced("worker")
        self.process.send_signal(signal.SIGHUP)
        wait_until(
            lambda: self.announced("worker") and not self.announced("worker") & workers
        )
        client.send("still here")
        self.assertEqual(client.recv(PATIENCE), "still here")
        self.assertEqual(set(self.listening()), processes)

    def test_requests_in_hand_are_answered_and_sockets_closed_at_the_end(self):
        socket, client = self.socket(), self.http_client()
        client.request("GET", "/held/")
        wait_until((self.directory / "held.txt").exists)
        self.process.terminate()
        with self.assertRaises(ConnectionClosed) as caught:
            socket.recv(PATIENCE)
        self.assertEqual(caught.exception.rcvd.code, 1001)
        # The workers are still there.
        self.write("go.txt", "")
        self.assertEqual(client.getresponse().read(), b"at last")
        self.assertEqual(self.process.wait(PATIENCE), 0)
        self.assertAllEnd()
        self.assertEqual(self.backend.announced(), {})

    def test_second_signal_ends_all_at_once(self):
        client = self.http_client()
        client.request("GET", "/held/")
        wait_until((self.directory / "held.txt").exists)
        self.process.terminate()
        wait_until(lambda: "Stopping each interface process." in self.printed)
        self.process.terminate()
        self.assertEqual(self.process.wait(PATIENCE), 128 + signal.SIGTERM)
        self.assertAllEnd()

    def test_all_end_with_their_supervisor(self):
        self.process.kill()
        self.assertAllEnd()

    def test_port_is_not_shared_with_another_command(self):
        address = f"127.0.0.1:{self.port}"
        msg = f"Cannot listen at {address}. Address already in use."
        self.assertRefused(msg, address)
        self.assertRefused(msg, address, "--processes=2")


class SignalTests(RunInterfaceTestCase):
    """One process that serves alone."""

    def test_second_signal_ends_it_at_once(self):
        self.serve("0", "--workers=1")
        client = self.http_client()
        client.request("GET", "/poll/")
        wait_until(lambda: self.done("polled"))
        self.process.terminate()

        def is_closed():
            try:
                socket.create_connection(("127.0.0.1", self.port), PATIENCE).close()
            except ConnectionRefusedError:
                return True

        wait_until(is_closed)
        self.process.terminate()
        self.assertEqual(self.process.wait(PATIENCE), 128 + signal.SIGTERM)
        self.assertAllEnd()

    def test_connections_that_wait_for_a_request_do_not_delay_the_end(self):
        self.serve("0", "--workers=1")
        used, fresh = self.http_client(), self.http_client()
        self.assertServes(used)
        fresh.connect()
        self.process.terminate()
        # The requests in hand would be given more time than this.
        self.assertEqual(self.process.wait(PATIENCE), 0)
        self.assertEqual(used.sock.recv(1), b"")
        self.assertEqual(fresh.sock.recv(1), b"")

    def test_is_announced_while_it_serves(self):
        self.serve("0", "--workers=1")
        wait_until(lambda: self.listening().keys() == {self.process.pid})
        code, output = self.run_command("channels")
        self.assertEqual(code, 0)
        self.assertIn(f":{self.process.pid} ", output.partition("Interface ")[2])
        self.process.terminate()
        self.assertEqual(self.process.wait(PATIENCE), 0)
        self.assertEqual(self.backend.announced(), {})


class UnixSocketTests(RunInterfaceTestCase):
    workers = 0

    def make_backend(self):
        return {"BACKEND": MEMORY}

    def setUp(self):
        super().setUp()
        self.path = str(self.directory / "interface.sock")

    def serve(self, *options):
        super().serve(f"unix:{self.path}", *options)

    def http_client(self):
        client = UnixHTTPConnection(self.path)
        self.addCleanup(client.close)
        return client

    def test_requests_and_websockets(self):
        self.serve()
        self.assertEqual(self.address, f"unix:{self.path}")
        self.assertServes()
        with unix_connect(self.path, "ws://localhost/") as client:
            client.send("text")
            self.assertEqual(client.recv(PATIENCE), "text")

    def test_what_requests_tell(self):
        self.serve()
        about = {"scheme": "http", "REMOTE_ADDR": "", "SERVER_NAME": "localhost"}
        about["SERVER_PORT"] = "80"
        self.assertEqual(self.about(), {**about, "host": "localhost"})
        self.assertEqual(self.about(Host="127.0.0.1")["host"], "127.0.0.1")
        response, _ = self.get("/about/", headers={"Host": "other.example"})
        self.assertEqual(response.status, 400)

    def test_request_without_host(self):
        self.serve()
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(PATIENCE)
            sock.connect(self.path)
            sock.sendall(b"GET /host/ HTTP/1.0\r\n\r\n")
            self.assertTrue(sock.makefile("rb").read().endswith(b"\r\n\r\nlocalhost"))

    def test_client_behind_a_trusted_proxy(self):
        self.serve("--trust-proxy")
        headers = {"X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "https"}
        about = self.about(**headers)
        self.assertEqual(
            (about["REMOTE_ADDR"], about["scheme"]), ("192.0.2.7", "https")
        )
        self.assertEqual(self.about()["REMOTE_ADDR"], "")

    def test_clients_are_not_taken_for_one_address(self):
        path = self.directory / "site_settings.py"
        limit = 'CHANNELS_LIMITS = {"CONNECTIONS_PER_ADDRESS": 1}\n'
        self.write("site_settings.py", path.read_text() + limit)
        self.serve()
        clients = [self.http_client() for _ in range(3)]
        for client in clients:
            self.assertServes(client)

    def test_mode(self):
        for options, mode in [([], 0o660), (["--socket-mode=600"], 0o600)]:
            with self.subTest(mode=mode):
                self.serve(*options)
                self.assertEqual(stat.S_IMODE(os.stat(self.path).st_mode), mode)
                self.process.terminate()
                self.assertEqual(self.process.wait(PATIENCE), 0)
                self.assertFalse(os.path.lexists(self.path))

    def test_file_that_is_left_is_replaced(self):
        self.serve()
        self.process.kill()
        self.process.wait()
        self.assertTrue(os.path.exists(self.path))
        self.serve()
        self.assertServes()

    def test_file_of_another_one_stays(self):
        self.serve()
        os.unlink(self.path)
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(self.path)
            self.process.terminate()
            self.assertEqual(self.process.wait(PATIENCE), 0)
            self.assertTrue(os.path.exists(self.path))

    def test_address_that_cannot_be_had(self):
        self.serve()
        begin = f"Cannot listen at unix:{self.path}"
        self.assertRefused(
            f"{begin}. Another process listens there.", f"unix:{self.path}"
        )
        self.assertServes()
        self.write("interface.sock.txt", "text")
        self.assertRefused(
            f"{begin}.txt. There is a file that is no socket.", f"unix:{self.path}.txt"
        )
        self.assertRefused(f"{begin}/no. Not a directory.", f"unix:{self.path}/no")
        long = "x" * 120
        self.assertRefused(
            f"Cannot listen at unix:{long}. AF_UNIX path too long.", f"unix:{long}"
        )


class UnixProcessesTests(RunInterfaceTestCase):
    """Several processes at one Unix socket, which they inherit."""

    def test_all_serve(self):
        path = str(self.directory / "interface.sock")
        self.serve(f"unix:{path}", "--processes=2", "--workers=1")
        wait_until(lambda: len(self.listening()) == 2)
        clients = [UnixHTTPConnection(path) for _ in range(50)]
        # At the same time, so that one alone does not take them all.
        for client in clients:
            self.addCleanup(client.close)
            client.request("GET", "/about/")
        for client in clients:
            about = json.loads(client.getresponse().read())
            self.assertEqual(about["SERVER_NAME"], "localhost")
        lost = next(iter(self.listening()))
        os.kill(lost, signal.SIGKILL)
        for _ in range(5):
            client = UnixHTTPConnection(path)
            self.assertServes(client)
            client.close()
        self.process.terminate()
        self.assertEqual(self.process.wait(PATIENCE), 0)
        self.assertFalse(os.path.exists(path))

    def test_nobody_waits_for_processes_that_end(self):
        path = str(self.directory / "interface.sock")
        self.serve(f"unix:{path}", "--processes=2", "--workers=1")
        client = UnixHTTPConnection(path)
        self.addCleanup(client.close)
        client.request("GET", "/held/")
        wait_until((self.directory / "held.txt").exists)
        self.process.terminate()
        wait_until(lambda: not os.path.exists(path))
        self.write("go.txt", "")
        self.assertEqual(client.getresponse().read(), b"at last")
        self.assertEqual(self.process.wait(PATIENCE), 0)


class TlsTestCase(RunInterfaceTestCase):
    workers = 0
    limits = '{"HEAD_TIME": 0.5}'

    def make_backend(self):
        return {"BACKEND": MEMORY}

    def setUp(self):
        super().setUp()
        path = self.directory / "site_settings.py"
        limits = f"CHANNELS_LIMITS = {self.limits}\n"
        self.write("site_settings.py", path.read_text() + limits)
        self.context = ssl.create_default_context(
            cafile=make_certificates(self.directory)
        )

    def serve(self, *options, certificate="server.pem", key="server.key"):
        super().serve(
            "0", f"--tls-certificate={certificate}", f"--tls-key={key}", *options
        )

    def http_client(self):
        client = http.client.HTTPSConnection(
            "127.0.0.1", self.port, timeout=PATIENCE, context=self.context
        )
        self.addCleanup(client.close)
        return client

    def socket(self, path="/", **options):
        client = connect(
            f"wss://127.0.0.1:{self.port}{path}",
            ssl=self.context,
            open_timeout=PATIENCE,
            **options,
        )
        self.enterContext(closing(client))
        return client


class TlsTests(TlsTestCase):
    def test_requests(self):
        self.serve()
        client = self.http_client()
        for _ in range(3):
            self.assertServes(client)
        about = self.about(client)
        self.assertEqual(about["scheme"], "https")
        self.assertEqual(about["host"], f"127.0.0.1:{self.port}")
        _, content = self.get("/length/", "POST", b"x" * 3_000_000)
        self.assertEqual(content, b"3000000")
        _, content = self.get("/stream/")
        self.assertEqual(content, b"".join(b"%d," % n * 100 for n in range(200)))

    def test_websockets(self):
        self.serve()
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            with self.subTest(version=version):
                self.context.maximum_version = version
                client = self.socket(max_size=None)
                for size in (0, 1, 16_384, 16_385, 70_000, 1_000_000):
                    data = os.urandom(size)
                    client.send(data)
                    self.assertEqual(client.recv(PATIENCE), data)
                client.close(3000)
                wait_until(lambda: ["3000"] in self.done("left"))
                (self.directory / "done.txt").unlink()

    def test_client_that_reads_late_gets_all_in_order(self):
        self.serve()
        client = self.socket(max_queue=1, max_size=None)
        # More than the buffers on the way take, and less than the limits.
        messages = [os.urandom(60_000) for _ in range(60)]
        received = []
        for start in range(0, 60, 12):
            for data in messages[start : start + 12]:
                client.send(data)
            time.sleep(0.1)
            received += [client.recv(PATIENCE) for _ in range(12)]
        self.assertEqual(received, messages)

    def test_client_that_does_not_read_is_closed(self):
        self.limits = '{"UNSENT_SIZE": 100_000}'
        self.write("app/consumers.py", FLOOD)
        path = self.directory / "site_settings.py"
        limits = f"CHANNELS_LIMITS = {self.limits}\n"
        self.write("site_settings.py", path.read_text() + limits)
        self.serve()
        client = self.socket(max_queue=1, max_size=None)
        client.send("go")
        wait_until(lambda: self.done("left"))
        with self.assertRaises(ConnectionClosed) as caught:
            while data := client.recv(PATIENCE):
                # What arrives is whole.
                self.assertEqual(set(data), {"x"})
        self.assertEqual(caught.exception.rcvd.code, 1013)

    def test_client_that_leaves_is_told_of(self):
        self.serve()
        client = self.http_client()
        client.request("GET", "/poll/")
        wait_until(lambda: self.done("polled"))
        client.close()
        wait_until(lambda: self.done("gone"))
        self.assertEqual(self.done("gone"), self.done("polled"))

    def test_end_is_told_as_tls_asks_for(self):
        self.context.check_hostname = False
        self.serve()
        with socket.create_connection(("127.0.0.1", self.port), PATIENCE) as plain:
            # An end without an alert is an error then.
            with self.context.wrap_socket(plain, suppress_ragged_eofs=False) as sock:
                sock.sendall(REQUEST)
                data = b""
                while part := sock.recv(65536):
                    data += part
        self.assertTrue(data.endswith(b"\r\n\r\nHello World"))

    def test_sockets_are_closed_when_the_server_goes_away(self):
        self.serve()
        client = self.socket()
        self.process.terminate()
        with self.assertRaises(ConnectionClosed) as caught:
            client.recv(PATIENCE)
        self.assertEqual(caught.exception.rcvd.code, 1001)
        self.assertEqual(self.process.wait(PATIENCE), 0)

    def test_request_without_tls(self):
        self.serve()
        received = self.exchange(REQUEST)
        self.assertTrue(received.startswith(b"HTTP/1.1 400 "))
        self.assertTrue(received.endswith(b"This port is for https."))
        self.assertServes()

    def test_slow_and_wrong_handshakes(self):
        self.serve()
        hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
        for data in [b"", hello, hello + b"\x00" * 600, b"\x16" + b"x" * 5000]:
            with self.subTest(data=data[:20]):
                address = "127.0.0.1", self.port
                with socket.create_connection(address, PATIENCE) as sock:
                    sock.sendall(data)
                    # Nobody else waits for it.
                    self.assertServes()
                    try:
                        while sock.recv(65536):
                            pass
                    except ConnectionResetError:
                        pass

    def test_files_that_cannot_be_used(self):
        other = self.directory / "other"
        other.mkdir()
        make_certificates(other)
        begin = "There is no certificate in 'server.pem', or no key in 'server.pem'."
        pem = "Both have to be in PEM format."
        for key, msg in [
            ("no.key", "The file 'no.key' cannot be read: No such file or directory."),
            ("server.pem", f"{begin} {pem}"),
            (
                "other/server.key",
                "The key in 'other/server.key' is not that of the certificate. " + pem,
            ),
        ]:
            with self.subTest(key=key):
                options = ["--tls-certificate=server.pem", f"--tls-key={key}"]
                self.assertRefused(msg, "0", *options)
        msg = "--tls-certificate and --tls-key go together."
        self.assertRefused(msg, "0", "--tls-certificate=server.pem")


FLOOD = """
from django.channels import Channel, consumer

def note(*words):
    with open("done.txt", "a") as file:
        file.write(" ".join(map(str, words)) + chr(10))

@consumer("django.websocket.receive")
def receive(send_channel, **message):
    for _ in range(200):
        Channel(send_channel).send({"content": "x" * 100_000})

@consumer("django.websocket.disconnect")
def disconnect(code, **message):
    note("left", code)
"""


class TlsProcessesTests(TlsTestCase):
    def make_backend(self):
        return super(TlsTestCase, self).make_backend()

    def test_each_process_speaks_tls(self):
        self.serve("--processes=2", "--workers=1")
        for _ in range(10):
            self.assertServes()
        client = self.socket()
        client.send("text")
        self.assertEqual(client.recv(PATIENCE), "text")


class StatusTestCase(RunInterfaceTestCase):
    def ask(self, path="/", method="GET"):
        client = http.client.HTTPConnection(self.status, timeout=PATIENCE)
        with closing(client):
            client.request(method, path)
            response = client.getresponse()
            return response, response.read().decode()

    def processes(self):
        response, text = self.ask()
        self.assertEqual(response.status, 200)
        return json.loads(text)["processes"]

    def do_something(self):
        self.assertServes()
        self.get("/nothing/")
        self.exchange(b"GET /\r\n\r\n")
        with self.assertRaisesMessage(Exception, "403"):
            self.socket("/closed/")
        clients = [self.socket() for _ in range(2)]
        for client in clients:
            client.send("x")
            client.recv(PATIENCE)
        clients[0].close(1001)
        wait_until(lambda: self.done("left"))

    def total(self):
        """Return the sums of what all processes tell."""
        total = Counter()
        for about in self.processes():
            websockets = about["websockets"]
            total.update(about["requests"])
            total.update({f"refused {k}": n for k, n in about["refused"].items()})
            total.update({key: websockets[key] for key in ("open", "accepted")})
            total.update(websockets["refused"])
            total.update({f"closed {k}": n for k, n in websockets["closed"].items()})
            total.update(about["messages"])
            total["answers"] += sum(about["answers"]["counts"])
            total["acknowledgements"] += sum(about["acknowledgements"]["counts"])
        return dict(total)

    def assertCounted(self):
        expected = {
            "2xx": 1,
            "4xx": 1,
            "refused 400": 1,
            "rejected": 1,
            "accepted": 2,
            "open": 1,
            "closed 1001": 1,
            "received": 2,
            "sent": 2,
            "answers": 2,
            # Three handshakes, two messages and an end.
            "acknowledgements": 6,
        }
        # Processes tell of themselves one after another.
        with suppress(AssertionError):
            wait_until(lambda: self.total() == expected)
        self.assertEqual(self.total(), expected)


class StatusTests(StatusTestCase):
    """A process that serves alone tells of itself, as it is now."""

    workers = 0

    def make_backend(self):
        return {"BACKEND": MEMORY}

    def setUp(self):
        super().setUp()
        self.serve("0", "--status=127.0.0.1:0")

    def test_json(self):
        self.do_something()
        self.assertCounted()
        (about,) = self.processes()
        self.assertEqual(about["pid"], self.process.pid)
        self.assertEqual(about["address"], self.address)
        # One of a WebSocket, and two that wait for another request.
        self.assertEqual(about["connections"]["open"], 3)
        self.assertGreater(about["answers"]["p50"], 0)

    def test_metrics(self):
        self.do_something()
        response, text = self.ask("/metrics?x=1")
        self.assertIn("version=0.0.4", response.headers["Content-Type"])
        label = f'process="{self.process.pid}"'
        lines = text.splitlines()
        for line in [
            "# TYPE django_interface_requests_total counter",
            f'django_interface_requests_total{{{label},status="2xx"}} 1',
            f'django_interface_requests_refused_total{{{label},status="400"}} 1',
            f"django_interface_receiving{{{label}}} 1",
            f"django_interface_websockets_accepted_total{{{label}}} 2",
            "# TYPE django_interface_answer_seconds histogram",
            f'django_interface_answer_seconds_bucket{{{label},le="+Inf"}} 2',
            f"django_interface_answer_seconds_count{{{label}}} 2",
        ]:
            self.assertIn(line, lines)

    def test_health_and_what_is_not_there(self):
        for path, method, status in [
            ("/health", "GET", 200),
            ("/health", "HEAD", 200),
            ("/other", "GET", 404),
            ("/", "POST", 501),
        ]:
            with self.subTest(path=path, method=method):
                response, _ = self.ask(path, method)
                self.assertEqual(response.status, status)

    def test_clients_that_say_nothing_keep_no_other_waiting(self):
        host, port = self.status.split(":")
        with socket.create_connection((host, int(port)), PATIENCE):
            response, _ = self.ask("/health")
        self.assertEqual(response.status, 200)

    def test_is_not_healthy_while_it_stops(self):
        client = self.http_client()
        # A request in hand, whose body it waits for when it has said so.
        client.putrequest("POST", "/")
        client.putheader("Content-Length", "10")
        client.putheader("Expect", "100-continue")
        client.endheaders()
        self.assertIn(b"100 Continue", client.sock.recv(1024))
        self.process.terminate()
        wait_until(lambda: self.ask("/health")[0].status == 503)


class AnnouncedStatusTests(StatusTestCase):
    """Several processes are told of by what they announce."""

    def setUp(self):
        super().setUp()
        self.serve("0", "--processes=2", "--workers=1", "--status=127.0.0.1:0")
        wait_until(lambda: len(self.processes()) == 2)

    def test_json_and_health(self):
        self.do_something()
        self.assertCounted()
        processes = self.processes()
        self.assertEqual({about["pid"] for about in processes}, set(self.listening()))
        self.assertEqual(self.ask("/health")[0].status, 200)

    def test_processes_of_others_are_left_out(self):
        about = {**next(iter(self.listening().values())), "pid": 1}
        self.backend.announce("interface.other", about, PATIENCE)
        self.assertEqual(len(self.processes()), 2)


class OutageTests(StatusTestCase):
    """The store goes away."""

    def make_backend(self):
        from .redis_servers import RedisServer

        self.server = self.enterContext(RedisServer())
        params = {
            "BACKEND": "django.channels.backends.redis.RedisBackend",
            "LOCATION": self.server.url,
        }
        return params

    def test_health(self):
        for options in ([], ["--processes=2"]):
            with self.subTest(options=options):
                self.serve("0", "--status=127.0.0.1:0", *options)
                wait_until(lambda: self.ask("/health")[0].status == 200)
                self.server.kill()
                wait_until(lambda: self.ask("/health")[0].status == 503)
                self.server.start()
                wait_until(lambda: self.ask("/health")[0].status == 200)
                self.process.terminate()
                self.assertEqual(self.process.wait(PATIENCE), 0)


class UnixStatusTests(StatusTestCase):
    workers = 0

    def make_backend(self):
        return {"BACKEND": MEMORY}

    def test_unix_socket(self):
        path = str(self.directory / "status.sock")
        self.serve("0", f"--status=unix:{path}")
        response, content = self.get("/health", client=UnixHTTPConnection(path))
        self.assertEqual((response.status, content), (200, b"OK\n"))
        self.process.terminate()
        self.assertEqual(self.process.wait(PATIENCE), 0)
        self.assertFalse(os.path.exists(path))


@override_settings(CHANNELS={"default": {"BACKEND": MEMORY}})
class RefusalTests(SimpleTestCase):
    """What cannot be meant is refused before anything starts."""

    def assertRefused(self, msg, *arguments):
        with self.assertRaisesMessage(CommandError, msg):
            call_command("runinterface", *arguments, stdout=StringIO())

    def test_addresses(self):
        for address in ["here:there", "unix:", "127.0.0.1", ""]:
            with self.subTest(address=address):
                msg = f"{address!r} is not a port number, address:port or unix:path"
                self.assertRefused(msg, address)

    def test_processes_and_workers_on_a_process_local_backend(self):
        for option in ("--processes", "--workers"):
            with self.subTest(option=option):
                self.assertRefused(f"leave {option} out", "0", f"{option}=2")

    def test_status_for_other_hosts(self):
        for address in ["0.0.0.0:0", "192.0.2.1:9000", "[::]:0", "example.com:9000"]:
            with self.subTest(address=address):
                msg = f"--status={address} could be asked from other hosts."
                self.assertRefused(msg, "0", f"--status={address}")

    def test_socket_modes(self):
        for mode in ["", "9", "1000", "0", "rw"]:
            with self.subTest(mode=mode):
                msg = f"invalid mode of a file value: {mode!r}"
                self.assertRefused(msg, "0", f"--socket-mode={mode}")

    @override_settings(
        CHANNELS={"default": {"BACKEND": "channels.remote.RemoteBackend"}}
    )
    def test_system_without_shared_ports(self):
        with mock.patch.object(socket, "SO_REUSEPORT", create=True):
            del socket.SO_REUSEPORT
            self.assertRefused("has no SO_REUSEPORT", "0", "--processes=2")


@skipUnless(os.name == "posix", "Needs POSIX.")
class ImportTests(SimpleTestCase):
    def test_supervisor_and_help_need_no_gevent(self):
        result = run_script(
            "import sys\n"
            "sys.modules['gevent'] = None\n"
            "import django.core.management.commands.runinterface\n"
        )
        self.assertEqual(result.returncode, 0, result.stderr)


class CounterTests(SimpleTestCase):
    def test_quantiles(self):
        histogram = Histogram()
        self.assertIsNone(histogram.describe()["p50"])
        for _ in range(98):
            histogram.add(0.002)
        for _ in range(2):
            histogram.add(0.2)
        about = histogram.describe()
        self.assertEqual(sum(about["counts"]), 100)
        self.assertAlmostEqual(about["sum"], 98 * 0.002 + 2 * 0.2)
        self.assertTrue(0.001 < about["p50"] <= 0.0025, about["p50"])
        self.assertTrue(0.1 < about["p99"] <= 0.25, about["p99"])

    def test_longest_durations_are_not_told_apart(self):
        histogram = Histogram()
        for seconds in (BOUNDS[-1] + 1, 10_000):
            histogram.add(seconds)
        self.assertEqual(histogram.describe()["counts"][-1], 2)
        self.assertEqual(histogram.describe()["p99"], BOUNDS[-1])

    def test_bounds_belong_to_what_is_below(self):
        histogram = Histogram()
        histogram.add(BOUNDS[0])
        self.assertEqual(histogram.describe()["counts"][0], 1)

    def test_names(self):
        counters = Counters()
        for status in (200, 204, 404, 503):
            counters.note_status(status)
        for code in (1000, 1000, 1006, 3000, 3999, 4001):
            counters.note_close(code)
        counters["messages.late"] += 1
        self.assertEqual(
            counters.below("http.answered."), {"2xx": 2, "4xx": 1, "5xx": 1}
        )
        self.assertEqual(
            counters.below("websocket.closed."),
            {"1000": 2, "1006": 1, "3xxx": 2, "4xxx": 1},
        )
        self.assertEqual(counters.beside("http.", "websocket."), {"messages.late": 1})

    def test_metrics_without_processes(self):
        self.assertTrue(
            all(line.startswith("# ") for line in format_metrics([]).splitlines())
        )
