"""
Tools for tests of what goes through channels.

Consumers run when the test says so, in its own thread and on its own database
connections:

    class SignupTests(ChannelsTestMixin, TestCase):
        def test_mail(self):
            self.client.post("/signup/", {"email": "somebody@example.com"})
            self.assertMessageSent("myapp.signup", {"email": "somebody@example.com"})
            self.run_consumers()
            self.assertEqual(len(mail.outbox), 1)

For WebSockets without sockets the package websockets is needed, and for the live
server all packages of Django[gevent].
"""

from contextlib import ExitStack, contextmanager
from functools import wraps
from importlib.util import find_spec
from typing import NamedTuple
from unittest import SkipTest, mock

from django.channels.background import background
from django.channels.channel import Channel
from django.channels.delays import clean_delay
from django.channels.groups import Group
from django.channels.interfaces.runserver import PACKAGES
from django.channels.messages import clean_message
from django.core.exceptions import ImproperlyConfigured
from django.test.consumers import MOST, Isolation, Runs
from django.test.liveserver import LiveInterface
from django.test.testcases import LiveServerTestCase
from django.utils.functional import classproperty

HOW_TO_INSTALL = 'python -m pip install "Django[gevent]"'


class SentMessage(NamedTuple):
    """A message that has been sent, and the Channel or Group that it went to."""

    target: Channel | Group
    message: dict
    delay: float = 0  # Seconds.


@contextmanager
def capture_messages():
    """
    Give a list to which each message is appended that any thread sends meanwhile by
    send() or send_on_commit() of a Channel, or by send() of a Group, as a
    SentMessage. It is received as ever.
    """
    sent = []
    with ExitStack() as patches:
        for kind in (Channel, Group):
            send = _recording(kind.send, sent)
            patches.enter_context(mock.patch.object(kind, "send", send))
        yield sent


def _recording(send, sent):
    """Return what does what the method `send` does, and notes it in `sent`."""

    @wraps(send)
    def send_and_record(self, message, *args, **kwargs):
        cleaned = clean_message(message)
        result = send(self, message, *args, **kwargs)
        # A group has none.
        delay = args[0] if args else kwargs.get("delay", 0)
        sent.append(SentMessage(self, cleaned, clean_delay(delay, self.name)))
        return result

    return send_and_record


def find_messages(sent, target=None, message=None, delay=None):
    """
    Return the messages of `sent`, a list of SentMessage, that went to `target`, a
    Channel, a Group or the name of a channel, have the items of `message`, and were
    delayed by `delay`, seconds or a timedelta. None leaves it open.
    """
    if delay is not None:
        delay = clean_delay(delay, "")
    if isinstance(target, str):
        target = Channel(target)
    items = clean_message(message or {}).items()
    return [
        found.message
        for found in sent
        if target in (None, found.target)
        and delay in (None, found.delay)
        and all(
            key in found.message and found.message[key] == item for key, item in items
        )
    ]


def describe_message(target, message, delay):
    """Return a line for people about a message that has been sent."""
    delayed = f", delayed by {delay} s" if delay else ""
    return f"    {target!r}: {message}{delayed}"


class ChannelsTestMixin:
    """
    For a subclass of SimpleTestCase, named before it: messages wait until
    run_consumers(), what is sent is recorded, and nothing of it outlives the test.

    `sent_messages` is a list of what was sent since the test began, see
    capture_messages().
    """

    # What to leave after the test.
    _channels_stack = ExitStack()

    @classmethod
    def setUpClass(cls):
        # A TransactionTestCase sets up its first test here, which may not come.
        cls.addClassCleanup(lambda: cls._channels_stack.close())
        super().setUpClass()

    @classmethod
    def _pre_setup(cls):
        super()._pre_setup()
        cls._channels_stack = ExitStack()
        cls._enter_channels(cls._channels_stack)

    @classmethod
    def _enter_channels(cls, stack):
        cls._channels_runs = stack.enter_context(Runs())
        cls.sent_messages = stack.enter_context(capture_messages())

    def _post_teardown(self):
        try:
            self._channels_stack.close()
        finally:
            super()._post_teardown()

    def run_consumers(self, *, limit=MOST, raise_exceptions=True, after=0):
        """
        Run the consumers of all messages that are due, in the order in which they
        were sent, and of those that these send, until none is left. Return how many
        have run. Raise what a consumer raises, unless `raise_exceptions` is false,
        and AssertionError if more than `limit` would run.

        No time passes for delayed messages but the sum of all `after`, seconds or
        timedeltas, which pass during the calls.
        """
        return self._channels_runs.run(limit, raise_exceptions, after)

    def websocket(self, path="/", *, client=None, **options):
        """
        Return a WebSocketClient that has asked for a WebSocket at `path`, with the
        cookies of `client`, a test client: that of the test unless given. For
        `options` see WebSocketClient.
        """
        if find_spec("websockets") is None:
            raise ImproperlyConfigured(
                f"websocket() needs the package websockets: {HOW_TO_INSTALL}"
            )
        from django.test.websockets import WebSocketClient

        client = self.client if client is None else client
        return WebSocketClient(self._channels_runs, path, client=client, **options)

    def assertMessageSent(
        self, target, message=None, *, count=None, delay=None, msg=None
    ):
        """
        Assert that a message, or `count` of them, were sent since the test began:
        to `target`, the name of a channel, a Channel or a Group, with the items of
        the dict `message` at least, and with `delay`. Return the first of them.
        """
        found = find_messages(self.sent_messages, target, message, delay)
        if count is None and not found:
            self._fail_with_messages("No message was sent", target, message, msg, delay)
        if count is not None and len(found) != count:
            fault = f"{len(found)} messages and not {count} were sent"
            self._fail_with_messages(fault, target, message, msg, delay)
        return found[0] if found else None

    def assertNoMessageSent(self, target=None, message=None, *, msg=None):
        """
        Assert that no message was sent since the test began: to anybody, or to
        `target`, or with the items of `message`.
        """
        if find_messages(self.sent_messages, target, message):
            self._fail_with_messages("A message was sent", target, message, msg)

    def _fail_with_messages(self, fault, target, message, msg, delay=None):
        """Fail because of `fault`, and show what was sent."""
        if target is not None:
            fault += f" to {target!r}"
        if message is not None:
            fault += f" with {message!r}"
        if delay is not None:
            fault += f" and the delay {delay!r}"
        lines = [describe_message(*sent) for sent in self.sent_messages]
        fault += "\n".join([". What was sent:", *lines]) if lines else ". Nothing was."
        self.fail(self._formatMessage(msg, fault))


class ChannelsLiveServerTestCase(ChannelsTestMixin, LiveServerTestCase):
    """
    A LiveServerTestCase whose server has WebSockets, long polls and server-sent
    events, too. Its consumers run in background threads.
    """

    server_thread_class = LiveInterface

    @classproperty
    def live_websocket_url(cls):
        return f"ws://{cls.host}:{cls.server_thread.port}"

    @classmethod
    def setUpClass(cls):
        if any(find_spec(package) is None for package in PACKAGES):
            raise SkipTest(f"{cls.__qualname__} needs gevent: {HOW_TO_INSTALL}")
        super().setUpClass()

    @classmethod
    def _enter_channels(cls, stack):
        stack.enter_context(Isolation())
        cls.sent_messages = stack.enter_context(capture_messages())
        # Before the first test of a class there may be no server yet.
        if hasattr(cls, "server_thread"):
            cls.server_thread.start_consumers()

    def run_consumers(self):
        """Wait until the consumers of all messages that were sent are done."""
        background.stop()
        self.server_thread.start_consumers()

    def websocket(self, *args, **options):
        raise TypeError("Connect to live_websocket_url with a client for WebSockets.")
