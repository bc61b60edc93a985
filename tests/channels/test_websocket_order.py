# First, as it skips this module where gevent is missing.
from .sockets import WebSocketTestCase, frame, in_hub, loopback_pair, settle

# isort: split
import gevent
from websockets.frames import PONG

from django.channels import BackendUnavailable, ChannelFull
from django.channels.interfaces.server.phases import Phase
from django.channels.registry import registry

LOGGER = "django.channels.interface"
MIB = 2**20


class NotSent(BackendUnavailable):
    """Raised where it is certain that nothing was sent."""

    may_be_sent = False


class OrderTests(WebSocketTestCase):
    @in_hub
    def test_receive_message(self):
        socket, client = self.connect()
        client.send("grüß", b"\0\xff")
        sent = self.next_sent(2)
        self.assertEqual(sent.channel, "django.websocket.receive")
        self.assertEqual(
            sent.message,
            {
                "send_channel": "tests.sockets!1",
                "path": "/chat/",
                "GET": [["room", "1"]],
                "client": ["192.0.2.7", 50312],
                "state": {},
                "data": {"content": "grüß"},
                "acknowledge": 2,
            },
        )
        self.acknowledge(socket)
        self.assertEqual(self.next_sent(3).message["data"], {"bytes": "AP8="})

    @in_hub
    def test_empty_messages(self):
        socket, client = self.connect()
        client.send("", b"")
        self.assertEqual(self.next_sent(2).message["data"], {"content": ""})
        self.acknowledge(socket)
        self.assertEqual(self.next_sent(3).message["data"], {"bytes": ""})

    @in_hub
    def test_one_message_at_a_time(self):
        socket, client = self.connect()
        client.send(*"abc")
        client.close(4000)
        for count, kind in enumerate(["receive"] * 3 + ["disconnect"], 2):
            self.assertEqual(self.next_sent(count).kind, kind)
            gevent.sleep(0.01)
            self.assertEqual(len(self.relay.sent), count)
            self.acknowledge(socket)
        self.assertEqual(self.relay.texts, ["a", "b", "c"])
        self.assertEqual(self.relay.sent[-1].message["code"], 4000)
        self.assertEqual(self.ended, [])
        client.sock.close()
        settle(lambda: self.ended == [socket])
        self.assertEqual(len(self.site), 0)

    @in_hub
    def test_nothing_is_received_before_connect_is_done(self):
        socket, client = self.ask()
        socket.deliver({"accept": True})
        client.read_answer()
        client.send("a")
        client.close()
        client.sock.close()
        gevent.sleep(0.01)
        self.assertEqual(self.relay.kinds, ["connect"])
        self.work(socket)
        self.assertEqual(self.relay.kinds, ["connect", "receive", "disconnect"])
        self.assertEqual(self.relay.sent[2].message["code"], 1005)

    @in_hub
    def test_other_acknowledgements_are_ignored(self):
        socket, client = self.connect()
        client.send("a", "b")
        self.next_sent(2)
        for number in [1, 3, 0, -1, "2", None, [2], True]:
            socket.deliver({"acknowledged": number})
        self.assertEqual(self.relay.texts, ["a"])
        socket.deliver({"acknowledged": 2})
        socket.deliver({"acknowledged": 2})
        self.assertEqual(self.relay.texts, ["a", "b"])

    @in_hub
    def test_failed_consumer_releases_the_socket(self):
        socket, client = self.connect()
        client.send("a", "b")
        self.next_sent(2)
        self.acknowledge(socket, failed=True)
        self.assertEqual(self.relay.texts, ["a", "b"])
        self.assertIs(socket.phase, Phase.OPEN)

    @in_hub
    def test_lost_worker_releases_the_socket(self):
        socket, client = self.connect()
        client.send("a", "b")
        self.next_sent(2)
        self.now += 30
        client.write(frame(PONG))
        settle(lambda: socket.timing.heard == self.now)
        self.tick(29)
        self.assertEqual(self.relay.texts, ["a"])
        with self.assertLogs(LOGGER, "WARNING"):
            self.tick(2)
        self.assertEqual(self.relay.texts, ["a", "b"])
        self.assertEqual(self.counters["websocket.lost_worker"], 1)
        socket.deliver({"acknowledged": 2})
        self.assertEqual(self.relay.texts, ["a", "b"])

    @in_hub
    def test_lost_worker_of_the_disconnect_message(self):
        socket, client = self.connect()
        client.sock.close()
        self.next_sent(2)
        with self.assertLogs(LOGGER, "WARNING"):
            self.tick(61)
        self.assertEqual(self.ended, [socket])

    @in_hub
    def test_without_order(self):
        registry.get("django.websocket.receive").ordered = False
        socket, client = self.ask()
        socket.deliver({"accept": True})
        client.read_answer()
        client.send(*"abcd")
        client.close()
        client.sock.close()
        settle(lambda: socket.phase is Phase.GONE)
        self.assertEqual(self.relay.kinds, ["connect"])
        socket.deliver({"acknowledged": 1})
        self.assertEqual(self.relay.kinds, ["connect"] + ["receive"] * 4)
        for number in [4, 2, 5]:
            socket.deliver({"acknowledged": number})
        self.assertEqual(len(self.relay.sent), 5)
        socket.deliver({"acknowledged": 3})
        self.assertEqual(self.relay.kinds[5:], ["disconnect"])

    @in_hub
    def test_without_order_workers_get_a_bounded_number(self):
        registry.get("django.websocket.receive").ordered = False
        self.start(waiting_frames=4)
        socket, client = self.connect()
        client.send(*"abcdefgh")
        self.next_sent(5)
        gevent.sleep(0.01)
        self.assertEqual(self.relay.texts, [*"abcd"])
        self.acknowledge(socket)
        self.assertEqual(self.relay.texts, [*"abcde"])

    @in_hub
    def test_store_is_full(self):
        socket, client = self.connect()
        client.send("a", "b")
        sent = self.next_sent(2)
        sent.failed(ChannelFull("full"))
        gevent.sleep(0.01)
        self.assertEqual(self.relay.texts, ["a"])
        self.tick(1)
        self.assertEqual(self.relay.texts, ["a", "a"])
        self.acknowledge(socket)
        self.assertEqual(self.relay.texts, ["a", "a", "b"])

    @in_hub
    def test_store_stays_full(self):
        socket, client = self.connect()
        client.send("a")
        self.next_sent(2).failed(ChannelFull("full"))
        self.tick(1)
        self.now += 61
        with self.assertLogs(LOGGER, "ERROR"):
            self.relay.sent[-1].failed(ChannelFull("full"))
        self.assertEqual(client.read_close(), 1013)
        self.assertEqual(self.relay.kinds[-1], "disconnect")

    @in_hub
    def test_store_is_away(self):
        socket, client = self.connect()
        client.send("a", "b")
        self.next_sent(2).failed(NotSent("away"))
        self.tick(1)
        self.assertEqual(self.relay.texts, ["a", "a"])
        self.acknowledge(socket)
        self.assertEqual(self.relay.texts, ["a", "a", "b"])
        self.assertEqual(self.counters["websocket.not_sent"], 1)

    @in_hub
    def test_store_may_have_the_message(self):
        for is_there in [True, False]:
            with self.subTest(is_there=is_there):
                self.start()
                socket, client = self.connect()
                client.send("a", "b")
                self.next_sent(2).failed(BackendUnavailable("away"))
                self.tick(1)
                # Once more it might come twice, and another might overtake it.
                self.assertEqual(self.relay.texts, ["a"])
                if is_there:
                    self.acknowledge(socket)
                else:
                    socket.timing.hear(self.now + 60)
                    with self.assertLogs(LOGGER, "WARNING"):
                        self.tick(60)
                self.assertEqual(self.relay.texts, ["a", "b"])
                self.assertIs(socket.phase, Phase.OPEN)

    @in_hub
    def test_store_stays_away(self):
        for error in [BackendUnavailable, NotSent]:
            with self.subTest(error=error):
                self.start()
                socket, client = self.connect()
                client.send("a", "b")
                self.next_sent(2).failed(error("away"))
                socket.timing.hear(self.now + 61)
                self.tick(61)
                with self.assertLogs(LOGGER, "ERROR") as logs:
                    self.relay.sent[-1].failed(error("The store is away."))
                self.assertIn("The store is away.", logs.output[0])
                self.assertEqual(client.read_close(), 1013)

    @in_hub
    def test_store_is_full_for_the_disconnect_message(self):
        socket, client = self.connect()
        client.sock.close()
        self.next_sent(2).failed(ChannelFull("full"))
        self.assertEqual(self.ended, [])
        self.tick(1)
        self.assertEqual(self.relay.kinds, ["connect", "disconnect", "disconnect"])
        self.acknowledge(socket)
        self.assertEqual(self.ended, [socket])

    @in_hub
    def test_store_is_away_for_the_disconnect_message(self):
        socket, client = self.connect()
        client.sock.close()
        sent = self.next_sent(2)
        with self.assertLogs(LOGGER, "ERROR"):
            sent.failed(BackendUnavailable("away"))
        self.assertEqual(self.ended, [socket])

    @in_hub
    def test_state(self):
        socket, client = self.ask()
        socket.deliver({"state": {"user": 7}})
        self.assertIs(socket.phase, Phase.CONNECTING)
        self.acknowledge(socket)
        client.read_answer()
        client.send("a", "b")
        sent = self.next_sent(2)
        self.assertEqual(sent.message["state"], {"user": 7})
        sent.message["state"]["user"] = 8
        socket.deliver({"state": {"room": [1]}, "content": "hello"})
        self.assertEqual(client.read_text(), "hello")
        client.close()
        settle(lambda: socket.phase is Phase.LINGERING)
        for count in [3, 4]:
            self.acknowledge(socket)
            sent = self.next_sent(count)
            self.assertEqual(sent.message["state"], {"room": [1]})
            sent.message["state"]["room"].append(2)
            sent.message["GET"].append("changed")
            sent.message["client"].append("changed")
        self.assertEqual(sent.kind, "disconnect")
        self.assertEqual(len(sent.message["GET"]), 2)


class OneConsumerTests(WebSocketTestCase):
    consumers = ("receive",)

    @in_hub
    def test_channels_without_consumer_are_not_sent(self):
        socket, client = self.connect()
        client.send("a")
        self.next_sent(1)
        client.sock.close()
        self.work(socket)
        self.assertEqual(self.relay.kinds, ["receive"])
        self.assertEqual(self.left, [socket])


class PressureTests(WebSocketTestCase):
    @in_hub
    def test_slow_consumer_stops_the_reading(self):
        for limits, size in [({}, 1), ({"waiting_bytes": 10_000}, 2000)]:
            with self.subTest(limits=limits):
                self.start(**limits)
                socket, client = self.connect()
                texts = [f"{number:04}" + "x" * size for number in range(3000)]
                writer = self.spawn(lambda: [client.send(text) for text in texts])
                settle(lambda: socket._wire.is_paused)
                gevent.sleep(0.01)
                self.assertEqual(len(self.relay.texts), 1)
                self.assertLess(len(socket._reports.turns._waiting), 700)
                # Whoever works through them hears all, in order.
                for count in range(2, 3002):
                    self.next_sent(count)
                    self.acknowledge(socket)
                self.assertEqual(self.relay.texts, texts)
                writer.join()

    @in_hub
    def test_close_is_heard_after_pressure(self):
        socket, client = self.connect()
        client.send(*["a"] * 100)
        client.close(4000)
        client.sock.close()
        self.work(socket)
        self.assertEqual(len(self.relay.texts), 100)
        self.assertEqual(self.relay.sent[-1].message["code"], 4000)

    @in_hub
    def test_paused_socket_is_not_silent(self):
        socket, client = self.connect()
        client.send(*["a"] * 100)
        settle(lambda: socket._wire.is_paused)
        for _ in range(5):
            self.tick(11)
        self.assertIs(socket.phase, Phase.OPEN)

    @in_hub
    def test_slow_reader_is_closed_and_others_feel_nothing(self):
        slow, slow_client = self.connect()
        quick, quick_client = self.connect()
        text = "x" * 50_000
        for _ in range(200):
            self.site.broadcast([slow, quick], {"content": text})
            self.assertEqual(quick_client.read_text(), text)
        self.assertEqual(self.counters["websocket.slow"], 1)
        self.assertIs(slow.phase, Phase.LINGERING)
        self.assertIs(quick.phase, Phase.OPEN)
        self.assertLess(slow._wire._size, 60_000)
        self.assertEqual(slow_client.read_close(), 1013)
        self.assertEqual(self.relay.kinds[-1], "disconnect")

    @in_hub
    def test_reader_that_never_reads_is_cut_off(self):
        socket, client = self.connect(pair=loopback_pair)
        while socket.phase is Phase.OPEN:
            socket.deliver({"content": "x" * 100_000})
        self.assertEqual(self.left, [])
        self.tick(6)
        self.assertEqual(self.left, [socket])
        self.assertIs(socket.phase, Phase.GONE)

    @in_hub
    def test_number_of_unsent_messages(self):
        self.start(unsent_frames=3)
        socket, client = self.connect()
        socket.deliver({"content": "x" * 2_000_000})
        for _ in range(2):
            socket.deliver({"content": "small"})
        self.assertIs(socket.phase, Phase.OPEN)
        socket.deliver({"content": "too many"})
        self.assertIs(socket.phase, Phase.LINGERING)
        self.assertEqual(len(client.read_text()), 2_000_000)
        self.assertEqual(client.read_close(), 1013)

    @in_hub
    def test_large_message_arrives(self):
        socket, client = self.connect()
        text = "x" * (5 * MIB)
        socket.deliver({"content": text})
        socket.deliver({"content": "and more"})
        self.assertEqual(client.read_text(), text)
        self.assertEqual(client.read_text(), "and more")
        self.assertIsNone(socket._wire._writer)
