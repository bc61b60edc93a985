"""Tests of groups."""

import time

from django.channels.exceptions import InvalidMessage


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
