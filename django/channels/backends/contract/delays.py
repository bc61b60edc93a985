"""Tests of delayed messages."""

import time
from datetime import timedelta
from decimal import Decimal

from django.channels.backends.contract.tools import (
    PATIENCE,
    receive_all,
    run_threads,
    wait_for,
)
from django.channels.delays import MAX_DELAY
from django.channels.exceptions import ChannelFull, InvalidDelay


class DelayTests:
    """Promise 11. Skipped for a backend that does not support delays."""

    def create_delaying(self, **params):
        backend = self.create_backend(**params)
        if not backend.supports_delay:
            self.skipTest("The backend does not support delays.")
        return backend

    def receive_numbers(self, backend, count):
        """Return the numbers of so many messages on "later"."""
        return [
            backend.receive(["other", "later"], PATIENCE)[1]["number"]
            for _ in range(count)
        ]

    def test_a_delayed_message_is_not_received_earlier(self):
        backend = self.create_delaying()
        for delay in [0.2, timedelta(milliseconds=200)]:
            with self.subTest(delay=delay):
                begun = time.monotonic()
                backend.send("later", {"key": "é"}, delay)
                received = backend.receive(["other", "later"], PATIENCE)
                self.assertEqual(received, ("later", {"key": "é"}))
                self.assertGreaterEqual(time.monotonic() - begun, 0.2)

    def test_a_waiting_receiver_is_woken_when_a_message_is_due(self):
        backend = self.create_delaying()
        received = []
        run_threads(
            lambda: received.append(backend.receive(["first", "later"], PATIENCE)),
            lambda: (time.sleep(0.05), backend.send("later", {"key": 1}, 0.1)),
        )
        self.assertEqual(received, [("later", {"key": 1})])

    def test_messages_come_in_the_order_in_which_they_are_due(self):
        backend = self.create_delaying()
        backend.send("later", {"number": 2}, 0.8)
        backend.send("later", {"number": 0})
        backend.send("later", {"number": 1}, 0.1)
        self.assertEqual(self.receive_numbers(backend, 3), [0, 1, 2])

    def test_messages_with_the_same_delay_come_in_the_order_of_sending(self):
        backend = self.create_delaying()
        for number in range(20):
            backend.send("later", {"number": number}, 0.2)
        self.assertEqual(self.receive_numbers(backend, 20), list(range(20)))

    def test_a_delayed_message_is_received_once(self):
        backend = self.create_delaying()
        received = [[] for _ in range(3)]

        def receive(into):
            while "end" not in (message := backend.receive(["many"], PATIENCE)[1]):
                into.append(message["number"])
                if sum(map(len, received)) == 30:
                    for _ in received:
                        backend.send("many", {"end": True})

        for number in range(30):
            backend.send("many", {"number": number}, 0.1 + number / 100)
        run_threads(*(lambda into=into: receive(into) for into in received))
        self.assertCountEqual(sum(received, []), range(30))
        self.assertEqual(backend.queues(), {})

    def test_delayed_messages_count_for_the_capacity_of_others(self):
        backend = self.create_delaying(CAPACITY=2)
        backend.send("small", {"number": 1}, 60)
        backend.send("small", {"number": 2}, 60)
        sentence = "'small' holds 2 unread and delayed messages"
        with self.assertRaisesMessage(ChannelFull, sentence):
            backend.send("small", {"number": 3}, 60)
        # They do not stand in the way of what is sent without a delay.
        backend.send("small", {"number": 4})
        self.assertEqual(receive_all(backend, ["small"]), [("small", {"number": 4})])

    def test_a_delayed_message_is_refused_if_the_queue_is_full(self):
        backend = self.create_delaying(CAPACITY=1)
        backend.send("small", {"number": 1})
        with self.assertRaises(ChannelFull):
            backend.send("small", {"number": 2}, 0.1)
        self.assertEqual(backend.queues()["small"].delayed, 0)

    def test_what_is_due_is_not_refused(self):
        backend = self.create_delaying(CAPACITY=1)
        backend.send("small", {"number": 2}, 0.1)
        backend.send("small", {"number": 1})
        wait_for(lambda: not backend.queues()["small"].delayed)
        messages = [message["number"] for _, message in receive_all(backend, ["small"])]
        self.assertCountEqual(messages, [1, 2])

    def test_a_delayed_message_lives_from_when_it_is_due(self):
        backend = self.create_delaying(EXPIRY=1)
        backend.send("later", {"number": 1}, 1.1)
        self.assertEqual(self.receive_numbers(backend, 1), [1])

    def test_a_delayed_message_that_nobody_receives_leaves_nothing_behind(self):
        backend = self.create_delaying(EXPIRY=0.1)
        backend.send("unread", {}, 0.1)
        wait_for(lambda: not backend.queues())
        self.assertIsNone(backend.receive(["unread"]))

    def test_tells_what_is_delayed(self):
        backend = self.create_delaying()
        backend.send("later", {}, 60)
        backend.send("later", {}, 60)
        backend.send("later", {})
        self.assertEqual(backend.queues()["later"][::2], (1, 2))
        self.assertEqual(backend.depths(), {"later": 1})
        backend.receive(["later"])
        self.assertEqual(backend.queues(), {"later": (0, 0, 2)})
        self.assertEqual(backend.depths(), {})

    def test_flush_drops_delayed_messages(self):
        backend = self.create_delaying()
        backend.send("later", {}, 60)
        backend.flush()
        self.assertEqual(backend.queues(), {})

    def test_a_large_message_can_be_delayed(self):
        backend = self.create_delaying()
        message = {"text": "x" * 100_000}
        backend.send("later", message, 0.1)
        self.assertEqual(backend.receive(["later"], PATIENCE), ("later", message))

    def test_what_is_received_after_a_delay_is_a_copy(self):
        backend = self.create_delaying()
        message = {"list": [1]}
        backend.send("later", message, 0.1)
        message["list"].append(2)
        self.assertEqual(backend.receive(["later"], PATIENCE)[1], {"list": [1]})

    def test_accepts_what_is_no_delay(self):
        backend = self.create_delaying()
        for delay in [0, 0.0, timedelta()]:
            with self.subTest(delay=delay):
                backend.send("later", {}, delay=delay)
                self.assertEqual(backend.receive(["later"]), ("later", {}))

    def test_accepts_the_longest_delay(self):
        backend = self.create_delaying()
        for delay in [MAX_DELAY, timedelta(seconds=MAX_DELAY)]:
            backend.send("later", {}, delay)
        self.assertEqual(backend.queues(), {"later": (0, 0, 2)})

    def test_refuses_what_is_no_number_of_seconds(self):
        backend = self.create_delaying()
        for delay in ["1", None, True, False, [1], Decimal(1)]:
            with (
                self.subTest(delay=delay),
                self.assertRaisesMessage(InvalidDelay, type(delay).__name__),
            ):
                backend.send("later", {}, delay)
        self.assertEqual(backend.queues(), {})

    def test_refuses_delays_beyond_the_limits(self):
        backend = self.create_delaying()
        for delay in [-1, -0.1, MAX_DELAY + 1, float("nan"), float("inf"), 10**400]:
            with (
                self.subTest(delay=delay),
                self.assertRaisesMessage(InvalidDelay, "from 0 to 2592000 seconds"),
            ):
                backend.send("later", {}, delay)
        self.assertEqual(backend.queues(), {})

    def test_refuses_delays_on_the_way_to_an_inbox(self):
        backend = self.create_delaying()
        with self.assertRaisesMessage(InvalidDelay, "'inbox!1' cannot be delayed"):
            backend.send("inbox!1", {}, 1)
        backend.send("inbox!1", {}, 0)
        self.assertEqual(backend.receive(["inbox!"]), ("inbox!1", {}))
