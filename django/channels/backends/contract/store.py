"""Tests of capacity, expiry and what a store is asked."""

import time

from django.channels.backends.contract.tools import receive_all
from django.channels.exceptions import ChannelFull, InvalidMessage


class StoreTests:
    """Promises 3, 6 and 9: capacity, expiry, nothing left behind."""

    def test_send_raises_at_capacity(self):
        backend = self.create_backend(CAPACITY=2)
        backend.send("small", {"number": 1})
        backend.send("small", {"number": 2})
        with self.assertRaisesMessage(ChannelFull, "'small' holds 2 unread messages"):
            backend.send("small", {"number": 3})
        messages = [message["number"] for _, message in receive_all(backend, ["small"])]
        self.assertEqual(messages, [1, 2])

    def test_capacity_is_that_of_each_queue(self):
        backend = self.create_backend(CAPACITY=1)
        backend.send("one", {})
        backend.send("two", {})
        backend.receive(["one"])
        backend.send("one", {})
        self.assertEqual(backend.depths(), {"one": 1, "two": 1})

    def test_an_expired_message_is_not_received(self):
        backend = self.create_backend(EXPIRY=0.1)
        backend.send("short", {})
        time.sleep(0.4)
        self.assertIsNone(backend.receive(["short"]))

    def test_an_unexpired_message_is_received_after_expired_ones(self):
        backend = self.create_backend(EXPIRY=1)
        backend.send("short", {"number": 1})
        time.sleep(1.4)
        backend.send("short", {"number": 2})
        self.assertEqual(backend.receive(["short"]), ("short", {"number": 2}))

    def test_expired_messages_do_not_count_for_capacity(self):
        backend = self.create_backend(EXPIRY=0.1, CAPACITY=1)
        backend.send("short", {"number": 1})
        time.sleep(0.4)
        backend.send("short", {"number": 2})

    def test_unread_messages_leave_nothing_behind(self):
        backend = self.create_backend(EXPIRY=0.1)
        backend.send("unread", {})
        backend.send("unread.inbox!1", {})
        self.assertEqual(backend.depths(), {"unread": 1, "unread.inbox!": 1})
        time.sleep(0.4)
        self.assertEqual(backend.depths(), {})

    def test_read_messages_leave_nothing_behind(self):
        backend = self.create_backend()
        backend.send("read", {})
        backend.receive(["read"])
        self.assertEqual(backend.depths(), {})

    def test_tells_what_waits(self):
        backend = self.create_backend()
        self.assertEqual(backend.queues(), {})
        backend.send("one", {})
        time.sleep(0.2)
        backend.send("one", {})
        backend.send("inbox!1", {})
        queues = backend.queues()
        self.assertEqual(
            {name: queue.depth for name, queue in queues.items()},
            {"one": 2, "inbox!": 1},
        )
        self.assertGreater(queues["one"].oldest, 0.15)
        self.assertGreater(queues["one"].oldest, queues["inbox!"].oldest)

    def test_pushes_many_and_tells_what_became_of_each(self):
        backend = self.create_backend(CAPACITY=2)
        names = ["one", "inbox!1", "one", "one", "inbox!2"]
        packed = [backend.pack({"number": number}) for number in range(5)]
        outcomes = backend.push_many(list(zip(names, packed)))
        self.assertIsInstance(outcomes[3], ChannelFull)
        self.assertEqual(outcomes[:3] + outcomes[4:], [None] * 4)
        self.assertEqual(
            receive_all(backend, ["one"]), [("one", {"number": n}) for n in (0, 2)]
        )
        self.assertEqual(
            receive_all(backend, ["inbox!"]),
            [("inbox!1", {"number": 1}), ("inbox!2", {"number": 4})],
        )

    def test_receives_many_of_one_channel(self):
        backend = self.create_backend()
        for number in range(5):
            backend.send("one", {"number": number})
        received = []
        while batch := backend.receive_many(["one", "two"], 0, 3):
            self.assertLessEqual(len(batch), 3)
            received += batch
        self.assertEqual(received, [("one", {"number": n}) for n in range(5)])

    def test_a_reply_is_sent(self):
        backend = self.create_backend()
        backend.reply("inbox!1", {"number": 1})
        self.assertEqual(backend.receive(["inbox!"], 5), ("inbox!1", {"number": 1}))
        with self.assertRaises(InvalidMessage):
            backend.reply("inbox!1", {"number": b""})

    def test_crossing_gives_a_copy_and_leaves_nothing_behind(self):
        backend = self.create_backend()
        self.assertEqual(backend.cross({"number": 1}), {"number": 1})
        self.assertEqual(backend.depths(), {})

    def test_flush_drops_all_messages(self):
        backend = self.create_backend()
        backend.send("one", {})
        backend.send("two!3", {})
        backend.flush()
        self.assertEqual(backend.depths(), {})
        self.assertIsNone(backend.receive(["one", "two!"]))
