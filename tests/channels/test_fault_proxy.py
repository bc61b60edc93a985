import socket
import socketserver
import threading
import time
from contextlib import suppress

from django.channels.backends.contract import PATIENCE
from django.test import SimpleTestCase

from .fault_proxy import FaultProxy, Values
from .redis_servers import shared_redis
from .utils import wait_until


def command(*words):
    """Return a command as the bytes that a Redis client sends."""
    parts = [b"$%d\r\n%s\r\n" % (len(word), word) for word in words]
    return b"*%d\r\n%s" % (len(parts), b"".join(parts))


def read(connection, size):
    """Return that many bytes, or those that came before the end."""
    data = b""
    while len(data) < size and (more := connection.recv(size - len(data))):
        data += more
    return data


class ProxyTestCase(SimpleTestCase):
    def start_proxy(self, target):
        self.proxy = self.enterContext(FaultProxy(target))

    def connect(self):
        connection = socket.create_connection(("127.0.0.1", self.proxy.port), PATIENCE)
        self.addCleanup(connection.close)
        return connection

    def assertSilent(self, connection):
        connection.settimeout(0.1)
        with self.assertRaises(TimeoutError):
            connection.recv(1)
        connection.settimeout(PATIENCE)


class EchoHandler(socketserver.BaseRequestHandler):
    """Sends back what comes, in the pieces in which it comes."""

    def handle(self):
        with suppress(ConnectionError):
            while data := self.request.recv(65536):
                self.server.pieces.append(data)
                self.request.sendall(data)


class FaultProxyTests(ProxyTestCase):
    def setUp(self):
        server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), EchoHandler)
        server.daemon_threads = True
        server.pieces = self.pieces = []
        threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        self.start_proxy(server.server_address[1])

    def echo(self, connection, data):
        connection.sendall(data)
        self.assertEqual(read(connection, len(data)), data)

    def test_forwards_both_ways(self):
        first, second = self.connect(), self.connect()
        self.echo(first, b"text")
        self.echo(second, b"other")
        self.echo(first, bytes(range(256)) * 100)

    def test_forwards_much_data(self):
        connection, data = self.connect(), b"\r\n$*1 %" * 2_000_000
        thread = threading.Thread(target=connection.sendall, args=[data], daemon=True)
        thread.start()
        self.assertEqual(read(connection, len(data)), data)
        thread.join(PATIENCE)

    def test_forwards_the_end(self):
        connection = self.connect()
        self.echo(connection, b"text")
        connection.close()
        wait_until(lambda: not self.proxy._connections)

    def test_counts_connections(self):
        connections = [self.connect() for _ in range(3)]
        wait_until(lambda: self.proxy.connections == 3)
        connections.pop().close()
        wait_until(lambda: self.proxy.connections == 2)
        self.assertEqual(self.proxy.accepted, 3)

    def test_latency(self):
        connection = self.connect()
        self.echo(connection, b"text")
        self.proxy.latency = 0.1
        start = time.monotonic()
        self.echo(connection, b"text")
        self.assertGreaterEqual(time.monotonic() - start, 0.19)

    def test_trickle(self):
        connection = self.connect()
        self.proxy.trickle = 0.005
        self.echo(connection, b"text" * 10)
        self.assertGreater(len(self.pieces), 20)

    def test_freeze_and_thaw(self):
        old = self.connect()
        self.echo(old, b"text")
        self.proxy.freeze()
        new = self.connect()
        for connection in (old, new):
            connection.sendall(b"held")
            self.assertSilent(connection)
        self.assertEqual(self.pieces, [b"text"])
        self.proxy.thaw()
        for connection in (old, new):
            self.assertEqual(read(connection, 4), b"held")

    def test_counts_a_client_that_leaves_while_frozen(self):
        connection = self.connect()
        wait_until(lambda: self.proxy.connections == 1)
        self.proxy.freeze()
        connection.sendall(b"held")
        connection.close()
        wait_until(lambda: self.proxy.connections == 0)

    def test_cut(self):
        connection = self.connect()
        self.echo(connection, b"text")
        self.proxy.cut()
        self.assertEqual(connection.recv(1), b"")
        self.assertEqual(self.proxy.connections, 0)
        self.echo(self.connect(), b"again")

    def test_cut_with_a_reset(self):
        connection = self.connect()
        self.echo(connection, b"text")
        self.proxy.cut(reset=True)
        with self.assertRaises(ConnectionResetError):
            connection.recv(1)

    def test_refuses_and_accepts(self):
        old = self.connect()
        self.echo(old, b"text")
        self.proxy.refuse()
        with self.assertRaises(ConnectionRefusedError):
            self.connect()
        self.echo(old, b"text")
        self.proxy.accept()
        self.echo(self.connect(), b"text")

    def test_heals(self):
        self.proxy.latency, self.proxy.trickle = 60, 60
        self.proxy.drop_reply(b"never")
        self.proxy.freeze()
        self.proxy.refuse()
        self.proxy.heal()
        self.echo(self.connect(), b"text")

    def test_closes_a_connection_that_leads_nowhere(self):
        with FaultProxy(self.proxy.port) as proxy:
            self.proxy.refuse()
            address = ("127.0.0.1", proxy.port)
            with socket.create_connection(address, PATIENCE) as connection:
                self.assertEqual(connection.recv(1), b"")

    def test_ends_whatever_hangs(self):
        self.proxy.latency = 60
        connection = self.connect()
        connection.sendall(b"late")
        wait_until(lambda: self.proxy.connections == 1)
        self.proxy.freeze()
        start = time.monotonic()
        self.proxy.close()
        self.assertLess(time.monotonic() - start, 5)
        self.assertEqual(connection.recv(1), b"")


class DropTests(ProxyTestCase):
    """Commands and replies of a real server that get lost."""

    def setUp(self):
        self.redis = shared_redis().client()
        self.redis.flushall()
        self.start_proxy(shared_redis().port)
        self.connection = self.connect()

    def send(self, *commands):
        self.connection.sendall(b"".join(commands))

    def test_the_reply_is_lost_and_the_connection_cut(self):
        dropped = self.proxy.drop_reply(b"RPUSH")
        self.send(command(b"PING"), command(b"RPUSH", b"list", b"x"), command(b"PING"))
        self.assertEqual(self.connection.recv(100), b"+PONG\r\n")
        self.assertEqual(self.connection.recv(100), b"")
        self.assertTrue(dropped.is_set())
        self.assertEqual(self.redis.lrange("list", 0, -1), [b"x"])

    def test_a_popped_message_is_lost(self):
        dropped = self.proxy.drop_reply(b"BLPOP")
        self.send(command(b"BLPOP", b"list", b"0"))
        self.assertSilent(self.connection)
        self.assertFalse(dropped.is_set())
        self.redis.rpush("list", "x")
        self.assertEqual(self.connection.recv(100), b"")
        self.assertTrue(dropped.is_set())
        self.assertEqual(self.redis.llen("list"), 0)

    def test_the_reply_is_lost_and_the_connection_left_open(self):
        dropped = self.proxy.drop_reply(b"RPUSH", leave_open=True)
        self.send(command(b"RPUSH", b"list", b"x"))
        self.assertTrue(dropped.wait(PATIENCE))
        self.send(command(b"RPUSH", b"list", b"y"))
        self.assertSilent(self.connection)
        self.assertEqual(self.redis.llen("list"), 1)
        self.assertEqual(self.proxy.connections, 1)

    def test_the_next_command_only(self):
        self.proxy.drop_reply(b"RPUSH")
        self.send(command(b"RPUSH", b"list", b"x"))
        self.assertEqual(self.connection.recv(100), b"")
        self.connection = self.connect()
        self.send(command(b"RPUSH", b"list", b"x"))
        self.assertEqual(self.connection.recv(100), b":2\r\n")

    def test_long_replies_come_before(self):
        self.redis.set("long", "x" * 1_000_000)
        self.redis.rpush("list", "a", "b")
        self.send(command(b"GET", b"long"))
        self.assertEqual(len(read(self.connection, 1_000_012)), 1_000_012)
        self.proxy.drop_reply(b"LPOP")
        self.proxy.trickle = 0
        self.send(command(b"LRANGE", b"list", b"0", b"-1"), command(b"LPOP", b"list"))
        replies = b"*2\r\n$1\r\na\r\n$1\r\nb\r\n"
        self.assertEqual(read(self.connection, 100), replies)

    def test_the_command_is_lost(self):
        dropped = self.proxy.drop_request(b"RPUSH")
        self.send(command(b"PING"), command(b"RPUSH", b"list", b"x"), command(b"PING"))
        self.assertEqual(read(self.connection, 100), b"+PONG\r\n")
        self.assertTrue(dropped.is_set())
        self.assertEqual(self.redis.llen("list"), 0)

    def test_the_command_is_lost_and_the_connection_left_open(self):
        dropped = self.proxy.drop_request(b"RPUSH", leave_open=True)
        self.send(command(b"RPUSH", b"list", b"x"))
        self.assertTrue(dropped.wait(PATIENCE))
        self.assertSilent(self.connection)
        self.assertEqual(self.redis.llen("list"), 0)


class ValuesTests(SimpleTestCase):
    replies = [
        b"+OK\r\n",
        b":1\r\n",
        b"$-1\r\n",
        b"*-1\r\n",
        b"$5\r\na\r\nbc\r\n",
        b"*2\r\n*1\r\n$0\r\n\r\n_\r\n",
        b"%1\r\n+key\r\n*0\r\n",
        b"-ERR no\r\n",
        b",1.5\r\n",
    ]

    def test_tells_where_values_end(self):
        stream = b"".join(self.replies)
        for size in (1, 2, 7, len(stream)):
            with self.subTest(size=size):
                values, found, last = Values(), [], 0
                for start in range(0, len(stream), size):
                    for value, end in values.feed(stream[start : start + size]):
                        found.append(value)
                        self.assertEqual(value, stream[last : start + end])
                        last = start + end
                self.assertEqual(found, self.replies)
                self.assertEqual(values.count, len(self.replies))

    def test_counts_no_pushes(self):
        values = Values()
        self.assertEqual(len(list(values.feed(b">2\r\n+push\r\n+x\r\n:1\r\n"))), 2)
        self.assertEqual(values.count, 1)

    def test_gives_up_on_another_protocol(self):
        values = Values()
        for data in [b"\x16\x03\x01 hello", b"$1x\r\n", b"GET / HTTP/1.1\r\n"]:
            self.assertEqual(list(values.feed(data)), [])
        self.assertEqual(values.rest, b"")
