"""
What WebSockets of a running site may count on while its workers, and its store,
come and go: order, nothing twice, and no more lost than was in hand.
"""

import os
import selectors
import signal
import socket
import time
from collections import defaultdict

# First, as it skips this module where gevent is missing.
from .sockets import KEY, frame

# isort: split
from websockets.frames import CLOSE, TEXT

from django.channels.backends.contract import PATIENCE
from django.channels.pacing import Pace

from .redis_servers import RedisServer
from .test_interface import HOSTS
from .utils import end, is_measured, wait_until
from .worker_site import WorkerSiteTestCase, has_ended

SOCKETS = 50
FRAMES = 1000

# Frames that a client sends before it has heard of the first: more than wait in
# the server, which then reads no further.
WINDOW = 32

# Seconds after which a message that a lost worker had is given up.
EXPIRY = 3

# Each process writes to a file of its own. The clock is the same for all, and what
# has been written outlives whoever is killed.
CONSUMERS = """
import os, time
from django.channels import Channel, consumer

FILE = os.open(f"notes-{os.getpid()}.txt", os.O_WRONLY | os.O_APPEND | os.O_CREAT)

def note(path, kind, number=0):
    line = f"{time.monotonic_ns()} {path[1:]} {kind} {number}" + chr(10)
    os.write(FILE, line.encode())

with open("done.txt", "a") as file:
    file.write(f"process {os.getpid()}" + chr(10))

@consumer("django.websocket.connect")
def connect(path, **message):
    note(path, "connect")

@consumer("django.websocket.receive")
def receive(send_channel, path, data, **message):
    note(path, "receive", data["content"])
    Channel(send_channel).send(data)

@consumer("django.websocket.disconnect")
def disconnect(path, code, **message):
    note(path, "disconnect", code)
"""

HANDSHAKE = (
    "GET /{} HTTP/1.1\r\n"
    "Host: 127.0.0.1\r\n"
    "Connection: Upgrade\r\n"
    "Upgrade: websocket\r\n"
    f"Sec-WebSocket-Key: {KEY}\r\n"
    "Sec-WebSocket-Version: 13\r\n\r\n"
)


class Client:
    """
    A WebSocket that sends numbers from 0 on, and keeps those that come back in
    `echoes`. `closed` is the code with which the server has closed it.
    """

    def __init__(self, port, number):
        self.sock = socket.create_connection(("127.0.0.1", port), PATIENCE)
        self.sock.sendall(HANDSHAKE.format(number).encode())
        self.buffer = b""
        self.sent = 0
        self.echoes = []
        self.closed = None

    def finish_handshake(self):
        while b"\r\n\r\n" not in self.buffer:
            if not (data := self.sock.recv(65536)):
                break
            self.buffer += data
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 101 "):
            raise AssertionError(f"The handshake was refused: {head!r}")

    @property
    def heard(self):
        """The number of frames up to the last one that has come back."""
        return self.echoes[-1] + 1 if self.echoes else 0

    def send(self, count):
        """Send the next `count` numbers. They always fit the buffers between."""
        numbers = range(self.sent, self.sent + count)
        self.sock.sendall(b"".join(frame(TEXT, b"%d" % n) for n in numbers))
        self.sent += count

    def fill_window(self, end):
        """Send on, up to the number `end`, as far as the window allows."""
        count = min(self.heard + WINDOW, end) - self.sent
        if count >= WINDOW // 2 or 0 < count == end - self.sent:
            self.send(count)

    def read(self):
        """Take in what has come."""
        try:
            data = self.sock.recv(65536)
        except ConnectionError:
            data = b""
        if not data:
            self.closed = self.closed or 1006
            return
        self.buffer += data
        # The frames of a server are not masked, and these are all short.
        while len(self.buffer) > 1 and len(self.buffer) >= 2 + self.buffer[1]:
            opcode, size = self.buffer[0] & 15, self.buffer[1]
            data, self.buffer = self.buffer[2 : 2 + size], self.buffer[2 + size :]
            if opcode == TEXT:
                self.echoes.append(int(data))
            elif opcode == CLOSE:
                self.closed = int.from_bytes(data[:2], "big")


class SurvivalTestCase(WorkerSiteTestCase):
    """Has an interface server, its workers and clients, which all are connected."""

    workers = 4

    def setUp(self):
        super().setUp()
        self.write("app/consumers.py", CONSUMERS)
        settings = (self.directory / "site_settings.py").read_text()
        self.write("site_settings.py", settings + HOSTS)
        self.kills = 0
        self.start_interface()
        self.open_clients()

    def make_backend(self):
        from django.channels.backends.redis import RedisBackend

        self.redis = self.enterContext(RedisServer())
        params = {
            "BACKEND": "django.channels.backends.redis.RedisBackend",
            "LOCATION": self.redis.url,
            "EXPIRY": EXPIRY,
        }
        self.enterContext(self.settings(SECRET_KEY="tests"))
        self.backend = RedisBackend("default", params)
        self.addCleanup(self.backend.close)
        return params

    def start_interface(self):
        with socket.create_server(("127.0.0.1", 0)) as sock:
            self.port = sock.getsockname()[1]
        with open(self.directory / "output.txt", "a") as output:
            self.process = self.command(
                "runinterface",
                str(self.port),
                f"--workers={self.workers}",
                stdout=output,
                stderr=output,
            )
        self.addCleanup(self.process.wait, PATIENCE)
        self.addCleanup(end, self.process)

        def is_ready():
            self.assertIsNone(self.process.poll(), self.printed)
            return len(self.running()) == self.workers

        wait_until(is_ready)

    def open_clients(self):
        self.clients = [Client(self.port, number) for number in range(SOCKETS)]
        self.selector = self.enterContext(selectors.DefaultSelector())
        for client in self.clients:
            self.addCleanup(client.sock.close)
            client.finish_handshake()
            self.selector.register(client.sock, selectors.EVENT_READ, client)

    def running(self):
        """Return the pids of the workers that run, those that started last first."""
        announced = sorted(
            self.backend.announced().values(), key=lambda info: -info["started"]
        )
        return [
            info["pid"]
            for info in announced
            if info["kind"] == "worker" and not has_ended(info["pid"])
        ]

    def kill(self, pid):
        os.kill(pid, signal.SIGKILL)
        self.kills += 1

    def read(self, timeout):
        """Take in what the server sends, and wait for it up to `timeout` seconds."""
        for key, _ in self.selector.select(timeout):
            key.data.read()
            if key.data.closed is not None:
                self.selector.unregister(key.data.sock)

    def send_until(self, end, meanwhile=lambda: None):
        """
        Have each client send its frames up to the number `end`, and call `meanwhile`
        again and again. Nothing is behind the last frames that would tell of them if
        they were lost, so return when all have been sent.
        """
        deadline = time.monotonic() + 5 * PATIENCE
        while any(client.sent < end for client in self.clients):
            if time.monotonic() > deadline:
                heard = sorted(client.heard for client in self.clients)
                self.fail(f"Of {end} frames only these came back: {heard}")
            for client in self.clients:
                client.fill_window(end)
            self.read(0.05)
            self.assertAllOpen()
            meanwhile()

    def assertAllOpen(self):
        codes = {client.closed for client in self.clients}
        self.assertEqual(codes, {None}, self.printed)

    def assertAllEcho(self):
        """
        Have each client send a frame, which comes back behind all others. It is lost
        itself if nobody works; then another one has to.
        """
        deadline = time.monotonic() + 2 * PATIENCE
        waiting, due = self.clients, 0
        while waiting:
            self.assertLess(time.monotonic(), deadline, f"{len(waiting)} hear nothing.")
            if time.monotonic() >= due:
                due = time.monotonic() + 2 * EXPIRY
                for client in waiting:
                    client.send(1)
            self.read(0.05)
            self.assertAllOpen()
            waiting = [client for client in waiting if client.heard < client.sent]

    def notes(self):
        """Return what consumers were called with, {socket: [(kind, number)]}."""
        notes = []
        for path in self.directory.glob("notes-*.txt"):
            for line in path.read_text().splitlines():
                when, client, kind, number = line.split()
                notes.append((int(when), int(client), kind, int(number)))
        by_client = defaultdict(list)
        for _, client, kind, number in sorted(notes):
            by_client[client].append((kind, number))
        return by_client

    def most_expired(self, begun):
        """Return how many frames may have waited too long in the store since then."""
        return SOCKETS * int((time.monotonic() - begun) / EXPIRY)

    def assertOrder(self, lost):
        """
        Close all. Consumers were called in order and never twice, what came back
        came in order, and no more than `lost` frames got lost.
        """
        for client in self.clients:
            client.sock.sendall(frame(CLOSE, (1000).to_bytes(2, "big")))
        wait_until(
            lambda: all(
                notes[-1] == ("disconnect", 1000) for notes in self.notes().values()
            )
        )
        notes = self.notes()
        self.assertEqual(sorted(notes), list(range(SOCKETS)))
        missing = 0
        for number, client in enumerate(self.clients):
            connect, *received, disconnect = notes[number]
            self.assertEqual(connect, ("connect", 0))
            self.assertEqual({kind for kind, _ in received}, {"receive"})
            numbers = [number for _, number in received]
            self.assertEqual(numbers, sorted(set(numbers)))
            self.assertEqual(client.echoes, sorted(set(client.echoes)))
            self.assertLessEqual(set(client.echoes), set(numbers))
            missing += client.sent - len(client.echoes)
        self.assertLessEqual(missing, lost)


class KilledWorkersTests(SurvivalTestCase):
    def test_one_a_second(self):
        # A worker that is measured takes longer until it works.
        second = 2 if is_measured() else 1
        due = time.monotonic() + second

        def kill_one_a_second():
            nonlocal due
            if time.monotonic() < due:
                return
            due = time.monotonic() + second
            # Those that fail soon after their start are not replaced at once.
            if len(running := self.running()) > 1:
                self.kill(running[-1])

        self.send_until(FRAMES, meanwhile=kill_one_a_second)
        self.assertAllEcho()
        self.assertGreater(self.kills, 1)
        # A worker has no more than it takes from the store at once.
        self.assertOrder(self.kills * Pace.most)

    def test_all_at_once(self):
        self.send_until(WINDOW)
        begun = time.monotonic()
        for pid in self.running():
            self.kill(pid)
        self.assertAllEcho()
        self.assertOrder(self.kills * Pace.most + self.most_expired(begun))


class RestartTests(SurvivalTestCase):
    def test_workers(self):
        before = self.running()
        self.process.send_signal(signal.SIGHUP)
        while not all(map(has_ended, before)):
            self.send_until(self.clients[0].sent + WINDOW)
        wait_until(lambda: len(self.running()) == self.workers)
        self.assertAllEcho()
        self.assertOrder(0)

    def test_store(self):
        self.send_until(2 * WINDOW)
        begun = time.monotonic()
        self.redis.kill()
        # It is away for longer than the server waits before another try.
        later = time.monotonic() + 1.5
        while time.monotonic() < later:
            self.read(0.05)
        self.assertAllOpen()
        self.redis.start()
        self.assertAllEcho()
        # One of each was in the store, or with a worker that could not send it back.
        self.assertOrder(SOCKETS + self.most_expired(begun))
