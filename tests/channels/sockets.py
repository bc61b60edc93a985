"""What tests of WebSockets need: a hub of their own, a client and fake workers."""

import functools
import struct
import threading
from contextlib import suppress
from typing import NamedTuple
from unittest import SkipTest

from django.channels import consumer
from django.channels.backends.memory import MemoryBackend
from django.channels.registry import registry
from django.test import SimpleTestCase, override_settings

from .utils import in_ci

try:
    import gevent
    import websockets  # NOQA: F401
    from gevent import socket
except ImportError:
    if in_ci():
        raise
    raise SkipTest("gevent and websockets are not installed.")

from websockets.frames import CLOSE, TEXT
from websockets.protocol import CLIENT, Protocol

from django.channels.backends.contract import PATIENCE
from django.channels.interfaces.server.counters import Counters
from django.channels.interfaces.server.handshakes import Upgrade
from django.channels.interfaces.server.limits import Limits
from django.channels.interfaces.server.websockets import WebSockets

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # RFC 6455, section 1.3.


def in_hub(method):
    """Run a test in a thread, with a hub of its own, so that no other meets gevent."""

    @functools.wraps(method)
    def run(self):
        raised = []

        def body():
            try:
                with gevent.Timeout(PATIENCE):
                    method(self)
            except BaseException as exc:
                raised.append(exc)
            finally:
                self.clean_up()
                gevent.get_hub().destroy(destroy_loop=True)

        thread = threading.Thread(target=body, daemon=True)
        thread.start()
        thread.join(PATIENCE + 5)
        if thread.is_alive():
            raise AssertionError("The hub stood still.")
        if raised:
            raise raised[0]

    return run


def settle(condition):
    """Let the hub run until `condition()` is true."""
    while not condition():
        gevent.sleep(0.001)


def upgrade(*extra, without=(), **values):
    """Return the Upgrade of a handshake, with `extra` headers and `without` some."""
    headers = [
        ("Host", "example.com"),
        ("Connection", "keep-alive, Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Key", KEY),
        ("Sec-WebSocket-Version", "13"),
    ]
    changed = {name for name, _ in extra}
    headers = [
        item for item in headers if item[0] not in without and item[0] not in changed
    ]
    headers += [item for item in extra if item[1] is not None]
    meta = {"SERVER_NAME": "example.com", "SERVER_PORT": "80"}
    for name, value in headers:
        meta["HTTP_" + name.upper().replace("-", "_")] = value
    given = {
        "method": "GET",
        "protocol": "HTTP/1.1",
        "headers": headers,
        "path": "/chat/",
        "GET": [["room", "1"]],
        "META": meta,
        "client": ["192.0.2.7", 50312],
    }
    return Upgrade(**{**given, **values})


def frame(opcode, data=b"", *, fin=1, rsv=0, masked=True, length=None, mask=b"abcd"):
    """Return the bytes of a frame as a client sends it, however wrong."""
    size = len(data) if length is None else length
    if size < 126:
        head = struct.pack("!BB", fin << 7 | rsv << 4 | opcode, masked << 7 | size)
    elif size < 65536:
        head = struct.pack(
            "!BBH", fin << 7 | rsv << 4 | opcode, masked << 7 | 126, size
        )
    else:
        head = struct.pack(
            "!BBQ", fin << 7 | rsv << 4 | opcode, masked << 7 | 127, size
        )
    if not masked:
        return head + data
    pad = mask * (len(data) // 4 + 1)
    number = int.from_bytes(data, "big") ^ int.from_bytes(pad[: len(data)], "big")
    return head + mask + number.to_bytes(len(data), "big")


class Client:
    """A client of a WebSocket, at the other end of `sock`."""

    def __init__(self, sock, extensions=()):
        self.sock = sock
        self.protocol = Protocol(CLIENT, max_size=None)
        self.protocol.extensions = list(extensions)
        self.frames = []
        self.status = None
        self.headers = {}
        self.body = b""

    def read_answer(self):
        """Read the answer to the handshake. Return its status."""
        data = b""
        while b"\r\n\r\n" not in data:
            received = self.sock.recv(65536)
            if not received:
                raise AssertionError(f"The handshake was cut short: {data!r}")
            data += received
        head, _, rest = data.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        self.headers = dict(line.split(": ", 1) for line in lines)
        self.status = int(first.split(" ")[1])
        if self.status == 101:
            self.protocol.receive_data(rest)
        else:
            while len(rest) < int(self.headers["Content-Length"]):
                rest += self.sock.recv(65536)
            self.body = rest
        return self.status

    def write(self, data):
        """Send raw bytes."""
        self.sock.sendall(data)

    def send(self, *messages):
        """Send each message, a str or bytes, in a frame."""
        for message in messages:
            if isinstance(message, str):
                self.protocol.send_text(message.encode())
            else:
                self.protocol.send_binary(message)
        self._flush()

    def close(self, code=None, reason=""):
        """Send a close frame."""
        self.protocol.send_close(code, reason)
        self._flush()

    def _flush(self):
        for data in self.protocol.data_to_send():
            if data:
                self.sock.sendall(data)

    def read(self):
        """Return the next frame, or None at the end of the connection."""
        while True:
            self.frames += self.protocol.events_received()
            if self.frames:
                return self.frames.pop(0)
            try:
                data = self.sock.recv(65536)
            except ConnectionError:
                return None
            if not data:
                return None
            self.protocol.receive_data(data)

    def read_text(self):
        """Return the text of the next frame, which has to be one of text."""
        received = self.read()
        if received is None or received.opcode is not TEXT:
            raise AssertionError(f"No text, but {received}.")
        return received.data.decode()

    def read_close(self):
        """
        Return the code of the close frame that comes, whatever comes before, or
        None if there is none.
        """
        while (received := self.read()) is not None:
            if received.opcode is CLOSE:
                return struct.unpack("!H", received.data[:2] or b"\x03\xed")[0]


def connected_pair():
    """Return both ends of a connection, as sockets of gevent."""
    return socket.socketpair()


def loopback_pair():
    """Return both ends of a TCP connection, as sockets of gevent."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
    return server, client


class Sent(NamedTuple):
    """What a relay has been given."""

    channel: str
    message: dict
    failed: object

    @property
    def kind(self):
        return self.channel.rpartition(".")[2]

    @property
    def number(self):
        return self.message["acknowledge"]


class FakeRelay:
    """Keeps what is sent. Tests are the workers."""

    def __init__(self):
        self.sent = []

    def send(self, channel, message, failed=None):
        self.sent.append(Sent(channel, message, failed))

    @property
    def kinds(self):
        return [item.kind for item in self.sent]

    @property
    def texts(self):
        return [
            item.message["data"].get("content")
            for item in self.sent
            if item.kind == "receive"
        ]


@override_settings(ALLOWED_HOSTS=["example.com", "other.example.com", "[2001:db8::1]"])
class WebSocketTestCase(SimpleTestCase):
    """Has a WebSocket, its client, and consumers that the tests play."""

    consumers = ("connect", "receive", "disconnect")
    options = {}

    def setUp(self):
        self.enterContext(registry.isolate())
        self.now = 1000
        self.numbers = 0
        self.left, self.ended = [], []
        self.sites, self.socks, self.greenlets = [], [], []
        for name in self.consumers:
            consumer(f"django.websocket.{name}")(lambda **kwargs: None)

    def start(self, **limits):
        """Make the WebSockets of the current hub."""
        self.relay = FakeRelay()
        self.counters = Counters()
        self.site = WebSockets(
            self.relay,
            MemoryBackend("default", {}),
            limits=Limits(**{**self.options, **limits}),
            counters=self.counters,
            left=self.left.append,
            ended=self.ended.append,
            clock=lambda: self.now,
        )
        self.sites.append(self.site)

    def clean_up(self):
        """Close what is open when the test is over. Runs in its hub."""
        gevent.killall(self.greenlets)
        for site in self.sites:
            site.stop()
        for sock in self.socks:
            sock.close()

    def ask(self, request=None, ahead=b"", pair=connected_pair, extensions=()):
        """Send a handshake. Return the WebSocket and its client."""
        if not hasattr(self, "site"):
            self.start()
        server, sock = pair()
        self.socks.append(sock)
        self.numbers += 1
        name = f"tests.sockets!{self.numbers}"
        socket = self.site.open(server, name, request or upgrade(), ahead)
        return socket, Client(sock, extensions)

    def connect(self, *args, **kwargs):
        """Open a WebSocket, whose connect consumer accepts it."""
        socket, client = self.ask(*args, **kwargs)
        if self.relay.sent:
            self.acknowledge(socket)
        self.assertEqual(client.read_answer(), 101)
        return socket, client

    def acknowledge(self, socket, **extra):
        """Be the worker that has done the last message."""
        socket.deliver({"acknowledged": self.relay.sent[-1].number, **extra})

    def next_sent(self, count):
        """Wait for the message with this number, from 1 on, and return it."""
        settle(lambda: len(self.relay.sent) >= count)
        return self.relay.sent[count - 1]

    def spawn(self, function, *args):
        """
        Run a function beside the test, until it is over or the connection that it
        uses breaks.
        """

        def run():
            with suppress(ConnectionError):
                function(*args)

        greenlet = gevent.spawn(run)
        self.greenlets.append(greenlet)
        return greenlet

    def tick(self, seconds):
        """Let time pass."""
        self.now += seconds
        self.site.check()

    def work(self, socket):
        """Be a worker that does all messages there are, until the socket has ended."""
        done = 0
        while not self.ended:
            settle(lambda: self.ended or len(self.relay.sent) > done)
            for item in self.relay.sent[done:]:
                done += 1
                socket.deliver({"acknowledged": item.number})
