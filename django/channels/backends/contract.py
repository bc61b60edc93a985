"""
Tests of the promises that each channel backend makes.

A backend, also one that does not ship with Django, runs them by mixing
ChannelBackendTests into a test case:

    class MyBackendTests(ChannelBackendTests, SimpleTestCase):
        def create_backend(self, **params):
            backend = MyBackend("default", params)
            self.addCleanup(backend.close)
            backend.flush()
            return backend

The promises are listed in django.channels.backends.base.BaseChannelBackend.
"""

import datetime
import decimal
import threading
import time
import uuid

from django.channels.exceptions import ChannelFull, InvalidChannelName, InvalidMessage
from django.utils.translation import gettext_lazy

# Seconds that a test waits for what has to come. None takes that long.
PATIENCE = 20


def receive_all(backend, channels):
    """Return the messages that are waiting on `channels`, as (channel, message)."""
    received = []
    while (item := backend.receive(channels)) is not None:
        received.append(item)
    return received


def run_threads(*functions):
    """Run the functions, each in a thread, and wait for them all."""
    threads = [threading.Thread(target=function, daemon=True) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    if any(thread.is_alive() for thread in threads):
        raise AssertionError(f"A thread did not end within {PATIENCE} seconds.")


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


class MessageTests:
    """Promises 7 and 8: the same messages and names everywhere, and copies."""

    def test_accepts_json_values(self):
        backend = self.create_backend()
        for value in [
            None,
            True,
            0,
            -(2**63),
            2**64 - 1,
            0.1,
            1e300,
            "",
            "a\x00\n\u2028é\U0001f600",
            "\udc80",
            [],
            {},
            [1, [2, {"deep": [None, "text"]}]],
            {"": 1, "with space": 2},
            "x" * 2**20,
        ]:
            with self.subTest(value=repr(value)[:40]):
                backend.send("values", {"value": value})
                _, message = backend.receive(["values"])
                self.assertEqual(message, {"value": value})
                self.assertIs(type(message["value"]), type(value))

    def test_turns_tuples_into_lists(self):
        backend = self.create_backend()
        backend.send("values", {"value": (1, (2, 3))})
        self.assertEqual(backend.receive(["values"])[1], {"value": [1, [2, 3]]})

    def test_refuses_what_is_not_json(self):
        backend = self.create_backend()
        for value in [
            b"bytes",
            {1, 2},
            object(),
            datetime.datetime(2015, 6, 1),
            decimal.Decimal("1.5"),
            uuid.UUID(int=0),
            gettext_lazy("lazy"),
            float("nan"),
            float("inf"),
            2**64,
            -(2**63) - 1,
        ]:
            with (
                self.subTest(value=repr(value)[:40]),
                self.assertRaisesMessage(InvalidMessage, "'outer.list[1]'"),
            ):
                backend.send("values", {"outer": {"list": [0, value]}})
        self.assertEqual(backend.depths(), {})

    def test_refuses_keys_that_are_not_strings(self):
        backend = self.create_backend()
        for message in [{1: 2}, {"outer": {None: 1}}]:
            with self.subTest(message=message), self.assertRaises(InvalidMessage):
                backend.send("values", message)

    def test_refuses_reserved_keys(self):
        backend = self.create_backend()
        with self.assertRaisesMessage(InvalidMessage, "'channel' is reserved"):
            backend.send("values", {"channel": "other"})

    def test_refuses_what_is_not_a_dict(self):
        backend = self.create_backend()
        for message in [None, "text", ["list"], 1]:
            with self.subTest(message=message), self.assertRaises(InvalidMessage):
                backend.send("values", message)

    def test_refuses_endless_and_deep_messages(self):
        backend = self.create_backend()
        endless = {}
        endless["self"] = endless
        deep = value = {}
        for _ in range(5000):
            value["deep"] = value = {}
        for message in [endless, deep]:
            with self.assertRaisesMessage(InvalidMessage, "nested more than"):
                backend.send("values", message)

    def test_what_is_received_is_a_copy(self):
        backend = self.create_backend()
        message = {"list": [1]}
        backend.send("copies", message)
        message["list"].append(2)
        message["new"] = True
        self.assertEqual(backend.receive(["copies"])[1], {"list": [1]})

    def test_accepts_valid_names(self):
        backend = self.create_backend()
        for name in ["a", "a-b_c.D.9", "x" * 200]:
            with self.subTest(name=name):
                backend.send(name, {})
                self.assertEqual(backend.receive([name]), (name, {}))

    def test_refuses_invalid_names(self):
        backend = self.create_backend()
        names = [
            "",
            "a b",
            "é",
            "a/b",
            "a!b!c",
            "!b",
            "a!",
            "x" * 201,
            "a\n",
            b"a",
            None,
        ]
        for name in names:
            with self.subTest(name=name), self.assertRaises(InvalidChannelName):
                backend.send(name, {})

    def test_refuses_to_receive_from_a_name_that_is_in_no_list(self):
        backend = self.create_backend()
        with self.assertRaisesMessage(TypeError, "receive() needs a list of names"):
            backend.receive("abc")

    def test_refuses_to_receive_from_invalid_names(self):
        backend = self.create_backend()
        for name in ["", "a b", "a!b", None]:
            with self.subTest(name=name), self.assertRaises(InvalidChannelName):
                backend.receive([name])

    def test_an_inbox_receives_for_all_its_channels(self):
        backend = self.create_backend()
        backend.send("inbox!1", {"number": 1})
        backend.send("inbox!2", {"number": 2})
        backend.send("inbox!1", {"number": 3})
        backend.send("inbox", {"number": 4})
        self.assertEqual(
            receive_all(backend, ["inbox!"]),
            [
                ("inbox!1", {"number": 1}),
                ("inbox!2", {"number": 2}),
                ("inbox!1", {"number": 3}),
            ],
        )
        self.assertEqual(backend.receive(["inbox"]), ("inbox", {"number": 4}))


class GroupTests:
    """Promise 10: groups."""

    def test_members_join_and_leave(self):
        backend = self.create_backend()
        backend.join("chat", "one!", ["one!1", "one!2"])
        backend.join("chat", "two!", ["two!1"])
        backend.join("chat", "one!", ["one!2"])
        backend.join("other", "one!", ["one!1"])
        self.assertEqual(
            self.sorted_members(backend, "chat"),
            {"one!": ["one!1", "one!2"], "two!": ["two!1"]},
        )
        backend.leave("chat", "one!", ["one!1"])
        backend.leave("chat", "two!", ["two!1", "two!9"])
        backend.leave("chat", "three!", ["three!1"])
        self.assertEqual(self.sorted_members(backend, "chat"), {"one!": ["one!2"]})
        self.assertEqual(backend.inboxes("chat"), ["one!"])
        self.assertEqual(self.sorted_members(backend, "other"), {"one!": ["one!1"]})

    def sorted_members(self, backend, group):
        members = backend.members(group)
        self.assertCountEqual(backend.inboxes(group), members)
        return {inbox: sorted(channels) for inbox, channels in members.items()}

    def test_a_group_without_members_is_empty(self):
        backend = self.create_backend()
        self.assertEqual(backend.members("nobody"), {})
        backend.send_group("nobody", {})
        self.assertEqual(backend.depths(), {})

    def test_a_group_message_goes_once_to_each_inbox(self):
        backend = self.create_backend()
        backend.join("chat", "one!", ["one!1", "one!2"])
        backend.join("chat", "two!", ["two!1"])
        message = {"list": [1]}
        backend.send_group("chat", message)
        message["list"].append(2)
        self.assertEqual(backend.depths(), {"one!": 1, "two!": 1})
        self.assertEqual(backend.receive(["one!"]), ("one!*chat", {"list": [1]}))
        self.assertEqual(backend.receive(["two!"]), ("two!*chat", {"list": [1]}))

    def test_a_group_message_is_checked(self):
        backend = self.create_backend()
        with self.assertRaisesMessage(InvalidMessage, "'key'"):
            backend.send_group("chat", {"key": b"bytes"})

    def test_a_full_inbox_does_not_hold_up_a_group(self):
        backend = self.create_backend(CAPACITY=1)
        backend.join("chat", "full!", ["full!1"])
        backend.join("chat", "free!", ["free!1"])
        backend.send("full!1", {})
        with self.assertLogs("django.channels.backends", "WARNING"):
            backend.send_group("chat", {"number": 1})
        self.assertEqual(backend.receive(["free!"]), ("free!*chat", {"number": 1}))
        self.assertEqual(backend.depths(), {"full!": 1})

    def test_members_that_nobody_renews_leave_nothing_behind(self):
        backend = self.create_backend(EXPIRY=1)
        backend.join("chat", "dead!", ["dead!1"])
        backend.join("chat", "live!", ["live!1"])
        time.sleep(0.7)
        backend.renew("chat", "live!", ["live!1"])
        time.sleep(0.7)
        self.assertEqual(backend.members("chat"), {"live!": ["live!1"]})
        self.assertEqual(backend.inboxes("chat"), ["live!"])

    def test_renewing_brings_back_what_the_store_has_lost(self):
        backend = self.create_backend()
        backend.join("chat", "live!", ["live!1", "live!2"])
        backend.flush()
        self.assertEqual(backend.members("chat"), {})
        backend.renew("chat", "live!", ["live!1", "live!2"])
        self.assertEqual(
            self.sorted_members(backend, "chat"), {"live!": ["live!1", "live!2"]}
        )


class ChannelBackendTests(OrderTests, StoreTests, MessageTests, GroupTests):
    """All promises. A test case needs create_backend() beside it."""

    def create_backend(self, **params):
        """
        Return an empty backend with `params` as in the CHANNELS setting, which
        the test case closes when the test ends.
        """
        raise NotImplementedError(
            "Subclasses of ChannelBackendTests must implement create_backend()."
        )
