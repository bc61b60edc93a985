"""What an interface process tells the store of groups."""

from types import SimpleNamespace

from django.channels.exceptions import BackendUnavailable
from django.test import SimpleTestCase

try:
    from django.channels.interfaces.server.groups import Groups
except ImportError:
    Groups = None

from .redis_servers import skip_without


class FakeBackend:
    """Notes what it is told, and does not answer while `is_away`."""

    expiry = 60
    is_away = False

    def __init__(self):
        self.calls = []

    def __getattr__(self, name):
        def note(group, inbox, channels):
            if self.is_away:
                raise BackendUnavailable
            self.calls.append((name, group, sorted(channels)))

        return note


class GroupsTests(SimpleTestCase):
    def setUp(self):
        if Groups is None:
            skip_without("The packages gevent, gevent-websocket and websockets")
        self.backend, self.tasks = FakeBackend(), []
        relay = SimpleNamespace(backend=self.backend, do=self.tasks.append)
        self.groups = Groups(relay)

    def work(self):
        while self.tasks:
            try:
                self.tasks.pop(0)(self.backend)
            except BackendUnavailable:
                pass

    def test_channels_that_leave_one_after_another_leave_together(self):
        for number in range(3):
            self.groups.leave("chat", "a!", [f"a!{number}"])
        self.work()
        self.assertEqual(self.backend.calls, [("leave", "chat", ["a!0", "a!1", "a!2"])])

    def test_who_joins_again_leaves_before(self):
        self.groups.leave("chat", "a!", ["a!1"])
        self.groups.join("chat", "a!", ["a!1"])
        self.groups.leave("chat", "a!", ["a!2"])
        self.work()
        names = [name for name, *_ in self.backend.calls]
        self.assertEqual(names, ["leave", "join", "leave"])
        self.assertEqual(self.backend.calls[0], ("leave", "chat", ["a!1"]))

    def test_what_the_store_does_not_know_is_told_before_others_are_renewed(self):
        self.backend.is_away = True
        self.groups.leave("chat", "a!", ["a!1", "a!2"])
        self.work()
        self.backend.is_away = False
        # One of them is back.
        self.groups.renew("chat", "a!", ["a!2", "a!3"])
        self.groups.renew("chat", "a!", ["a!2", "a!3"])
        self.work()
        renewed = ("renew", "chat", ["a!2", "a!3"])
        self.assertEqual(
            self.backend.calls, [("leave", "chat", ["a!1"]), renewed, renewed]
        )
