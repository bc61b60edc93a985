"""Tests of order, at most once, waking and fairness."""

import time

from django.channels.backends.contract.tools import PATIENCE, receive_all, run_threads


class OrderTests:
    """Promises 1, 2, 4 and 5: order, at most once, waking, fairness."""

    def test_receives_in_the_order_of_sending(self):
        backend = self.create_backend()
        for number in range(20):
            backend.send("numbers", {"number": number})
        self.assertEqual(
            receive_all(backend, ["numbers"]),
            [("numbers", {"number": number}) for number in range(20)],
        )

    def test_receive_returns_none_when_there_is_no_message(self):
        backend = self.create_backend()
        self.assertIsNone(backend.receive(["empty"]))
        self.assertIsNone(backend.receive(["empty"], timeout=0.01))

    def test_receives_from_the_listed_channels_only(self):
        backend = self.create_backend()
        backend.send("one", {"key": 1})
        backend.send("two", {"key": 2})
        self.assertEqual(backend.receive(["two"]), ("two", {"key": 2}))
        self.assertIsNone(backend.receive(["two"]))
        self.assertEqual(backend.receive(["two", "one"]), ("one", {"key": 1}))

    def test_a_message_is_received_once(self):
        backend = self.create_backend()
        backend.send("once", {})
        self.assertIsNotNone(backend.receive(["once"]))
        self.assertIsNone(backend.receive(["once"]))

    def test_wakes_a_waiting_receiver(self):
        backend = self.create_backend()
        received = []
        run_threads(
            lambda: received.append(backend.receive(["first", "later"], PATIENCE)),
            lambda: (time.sleep(0.05), backend.send("later", {"key": 1})),
        )
        self.assertEqual(received, [("later", {"key": 1})])

    def test_a_receiver_that_gave_up_takes_no_message(self):
        backend = self.create_backend()
        self.assertIsNone(backend.receive(["late"], timeout=0.01))
        backend.send("late", {"key": 1})
        self.assertEqual(backend.receive(["late"]), ("late", {"key": 1}))

    def test_no_channel_starves(self):
        backend = self.create_backend()
        channels = ["busy", "quiet", "empty"]
        for number in range(50):
            backend.send("busy", {"number": number})
        for number in range(5):
            backend.send("quiet", {"number": number})
        served = [backend.receive(channels)[0] for _ in range(20)]
        self.assertEqual(served.count("quiet"), 5)

    def test_no_channel_starves_beside_another_receiver(self):
        backend = self.create_backend()
        for name in ["a", "b", "other"]:
            for number in range(10):
                backend.send(name, {"number": number})
        served = []
        for _ in range(10):
            served.append(backend.receive(["a", "b", "empty", "none"])[0])
            backend.receive(["other"])
        self.assertEqual((served.count("a"), served.count("b")), (5, 5))

    def test_threads_receive_each_message_once(self):
        backend = self.create_backend()
        senders, receivers, each = 4, 4, 100
        received = [[] for _ in range(receivers)]

        def send(sender):
            for number in range(each):
                backend.send("many", {"sender": sender, "number": number})

        def receive(into):
            while True:
                _, message = backend.receive(["many", "end"], PATIENCE)
                if "end" in message:
                    return
                into.append((message["sender"], message["number"]))
                if sum(map(len, received)) == senders * each:
                    for _ in range(receivers):
                        backend.send("end", {"end": True})

        run_threads(
            *(lambda sender=sender: send(sender) for sender in range(senders)),
            *(lambda into=into: receive(into) for into in received),
        )
        everything = [item for into in received for item in into]
        self.assertCountEqual(
            everything,
            [(sender, number) for sender in range(senders) for number in range(each)],
        )

    def test_threads_keep_the_order_of_each_sender(self):
        backend = self.create_backend()

        def send(sender):
            for number in range(100):
                backend.send("many", {"sender": sender, "number": number})

        run_threads(*(lambda sender=sender: send(sender) for sender in "ab"))
        messages = [message for _, message in receive_all(backend, ["many"])]
        for sender in "ab":
            with self.subTest(sender=sender):
                self.assertEqual(
                    [m["number"] for m in messages if m["sender"] == sender],
                    list(range(100)),
                )
