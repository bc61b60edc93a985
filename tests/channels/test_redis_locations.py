from unittest import mock

from django.test import SimpleTestCase

from .redis_servers import skip_without

try:
    from redis.exceptions import ConnectionError

    from django.channels.backends.redis.locations import ClusterServer, SentinelServer
    from django.channels.backends.redis.receiving import State
except ImportError:
    State = None


class LocationTestCase(SimpleTestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        if State is None:
            skip_without("The package redis")


class SentinelTests(LocationTestCase):
    def setUp(self):
        self.server = SentinelServer("redis+sentinel://a:1,b:2,c:3/mymaster/0", {})
        self.asked = []

    def ask(self, host, port):
        self.asked.append(host)
        if host != "b":
            raise ConnectionError("It does not answer.")
        return host, port

    def test_who_answers_is_asked_first_the_next_time(self):
        for _ in range(2):
            self.assertEqual(self.server.ask_first(self.ask), ("b", 2))
        self.assertEqual(self.asked, ["a", "b", "b"])

    def test_nobody_answers(self):
        self.server.hosts = [("a", 1), ("c", 3)]
        with self.assertRaisesMessage(ConnectionError, "It does not answer."):
            self.server.ask_first(self.ask)
        self.assertEqual(self.asked, ["a", "c"])

    def test_service_that_the_sentinels_do_not_know(self):
        msg = "The sentinels know no service 'mymaster'."
        with (
            mock.patch.object(self.server, "ask", return_value=None),
            self.assertRaisesMessage(ConnectionError, msg),
        ):
            self.server.connect("key")

    def test_server_that_is_not_the_master_any_more(self):
        connection = mock.Mock()
        connection.read_response.return_value = [b"slave"]
        with (
            mock.patch.object(self.server, "ask", return_value=(b"127.0.0.1", b"7")),
            mock.patch.object(self.server, "open", return_value=connection),
            self.assertRaisesMessage(
                ConnectionError, "127.0.0.1:7 is not the master any more."
            ),
        ):
            self.server.connect("key")
        connection.disconnect.assert_called_once_with()


class ClusterTests(LocationTestCase):
    def connect(self, ranges):
        """Return the address that is connected to if a node tells `ranges`."""
        server = ClusterServer("redis+cluster://127.0.0.1:7000", {})
        with (
            mock.patch.object(server, "ask", return_value=ranges),
            mock.patch.object(server, "open", lambda **address: address),
        ):
            return server.connect("key")

    def test_node_of_the_slot(self):
        ranges = [[0, 10, [b"a", 1]], [11, 16383, [b"b", 2], [b"c", 3]]]
        self.assertEqual(self.connect(ranges), {"host": "b", "port": 2})

    def test_node_that_does_not_know_its_own_host(self):
        ranges = [[0, 16383, [b"", 7001]]]
        self.assertEqual(self.connect(ranges), {"host": "127.0.0.1", "port": 7001})

    def test_slot_that_no_node_has(self):
        with self.assertRaisesMessage(ConnectionError, "has the slot 12539."):
            self.connect([[0, 10, [b"a", 1]]])


class StateTests(LocationTestCase):
    """What a thread remembers of its queues."""

    def test_what_is_remembered_has_a_bound(self):
        state, shard = State(), object()
        for number in range(5000):
            state.note(shard, f"tests.{number}")
        self.assertLess(len(state._served), 2000)
