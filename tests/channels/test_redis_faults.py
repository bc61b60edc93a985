"""
What happens to messages when Redis, or the way to it, fails.

Whatever fails: nothing hangs, no message comes twice, none is lost but what
was on its way, and everything works again within RECOVERY seconds, with no
more connections and keys than before.
"""

import hashlib
import hmac
import sys
import threading
import time
from unittest import mock

from django.channels import Channel, channels
from django.channels.backends.contract import PATIENCE, run_threads
from django.channels.backoff import Backoff
from django.channels.envelopes import Envelopes, Seen
from django.channels.exceptions import BackendUnavailable, ChannelFull
from django.channels.inbox import Inbox
from django.core.handlers.wsgi import WSGIHandler
from django.test import override_settings

from .fault_proxy import FaultProxy
from .redis_servers import Cluster, RedisServer, Sentinels
from .test_redis import BACKEND, RedisTestCase, make_backend
from .test_wsgi import Result
from .utils import wait_until, with_workers

RECOVERY = 5


def receive(backend, channels, within=RECOVERY):
    """Return the next message on `channels`, as who waits for it would get it."""
    deadline, backoff = time.monotonic() + within, Backoff()
    while True:
        try:
            return backend.receive(channels, max(deadline - time.monotonic(), 0))
        except BackendUnavailable:
            if not backoff.wait(deadline):
                raise


def send(backend, channel, message, within=RECOVERY):
    """Send a message once the store has it surely not yet, and can be reached."""
    deadline, backoff = time.monotonic() + within, Backoff()
    while True:
        try:
            return backend.send(channel, message)
        except (BackendUnavailable, ChannelFull):
            if not backoff.wait(deadline):
                raise


class FaultTestCase(RedisTestCase):
    """Has a server, and a backend that reaches it by a proxy."""

    options = {}

    def setUp(self):
        self.server = RedisServer(**self.options).start()
        self.addCleanup(self.server.stop)
        self.proxy = FaultProxy(self.server.port)
        self.enterContext(self.proxy)
        self.backend = self.connect(self.proxy.port)
        self.direct = self.connect(self.server.port)
        self.backend.send("warm.up", {})
        self.backend.receive(["warm.up"])

    def connect(self, port, **params):
        backend = make_backend(LOCATION=self.server.url_at(port), **params)
        self.addCleanup(backend.close)
        return backend

    def assertWorks(self):
        """Assert that messages go to and fro, and nothing stays behind."""
        number = time.monotonic()
        send(self.backend, "works", {"number": number})
        received = receive(self.backend, ["works"])
        self.assertEqual(received, ("works", {"number": number}))
        self.assertEqual(self.direct.depths(), {})
        self.assertEqual(self.proxy.connections, 1)


class ServerTests(FaultTestCase):
    def test_killed_and_restarted(self):
        self.server.kill()
        with self.assertRaises(BackendUnavailable):
            self.backend.send("one", {})
        with self.assertRaises(BackendUnavailable):
            self.backend.receive(["one"], 1)
        self.server.start()
        self.assertWorks()

    def test_killed_and_restarted_under_a_waiting_receiver(self):
        received = []
        run_threads(
            lambda: received.append(receive(self.backend, ["one"], PATIENCE)),
            lambda: (
                time.sleep(0.2),
                self.server.kill(),
                time.sleep(0.5),
                self.server.start(),
                send(self.direct, "one", {"number": 1}),
            ),
        )
        self.assertEqual(received, [("one", {"number": 1})])
        self.assertEqual(self.direct.depths(), {})

    def test_restarted_between_two_messages(self):
        self.server.restart()
        time.sleep(0.2)
        self.backend.send("one", {"number": 1})
        self.assertEqual(self.backend.receive(["one"]), ("one", {"number": 1}))
        self.assertWorks()

    def test_flushall(self):
        self.backend.send("one", {"number": 1})
        self.server.client().flushall()
        self.assertIsNone(self.backend.receive(["one"]))
        self.assertWorks()

    def test_flushall_under_members_of_a_group(self):
        inbox = Inbox(self.connect(self.server.port, EXPIRY=0.9), "test.client")
        channel = inbox.open()
        inbox.backend.send(channel, {"join": "chat"})
        self.assertIsNone(inbox.receive(channel, 0))
        self.server.client().flushall()
        self.assertEqual(inbox.backend.members("chat"), {})
        self.assertIsNone(inbox.receive(channel, 0.5))
        self.assertEqual(inbox.backend.members("chat"), {inbox.name: [channel]})

    def test_script_flush(self):
        self.server.client().script_flush()
        self.backend.send("one", {"number": 1})
        self.server.client().script_flush()
        self.backend.reply("inbox!1", {"number": 2})
        self.assertEqual(self.backend.receive(["one"]), ("one", {"number": 1}))
        self.assertEqual(
            self.backend.receive(["inbox!"], 1), ("inbox!1", {"number": 2})
        )
        self.assertWorks()

    def test_client_pause(self):
        self.server.client().client_pause(700)
        self.backend.send("one", {"number": 1})
        self.assertEqual(receive(self.backend, ["one"]), ("one", {"number": 1}))
        self.assertWorks()

    def test_client_kill_in_a_blocking_pop(self):
        received = []

        def kill():
            client = self.server.client()
            wait_until(
                lambda: any(
                    c["cmd"] == "blmpop" and "b" in c["flags"]
                    for c in client.client_list()
                )
            )
            client.execute_command("CLIENT KILL TYPE normal SKIPME yes")
            send(self.direct, "one", {"number": 1})

        run_threads(
            lambda: received.append(receive(self.backend, ["one"], PATIENCE)), kill
        )
        self.assertEqual(received, [("one", {"number": 1})])
        self.assertWorks()

    def test_without_the_replicas_that_it_needs(self):
        self.server.client().config_set("min-replicas-to-write", 1)
        with self.assertRaisesMessage(BackendUnavailable, "NOREPLICAS") as cm:
            self.backend.send("one", {"number": 1})
        self.assertIs(cm.exception.may_be_sent, False)
        self.server.client().config_set("min-replicas-to-write", 0)
        self.assertWorks()

    def test_without_them_another_master_is_looked_for(self):
        self.direct.send("one", {"number": 1})
        location = self.direct.shards[0].server
        self.server.client().config_set("min-replicas-to-write", 1)
        with (
            mock.patch.object(location, "connect", wraps=location.connect) as connect,
            self.assertRaises(BackendUnavailable),
        ):
            self.direct.send("one", {"number": 2})
        connect.assert_called_once()


class OldServerTests(ServerTests):
    options = {"old": True}

    test_client_kill_in_a_blocking_pop = None


class OutOfMemoryTests(FaultTestCase):
    options = {"maxmemory": "4mb"}

    def test_noeviction(self):
        sent, message = 0, {"text": "x" * 100_000}
        with self.assertRaisesMessage(ChannelFull, "Redis is out of memory"):
            for _ in range(100):
                self.backend.send("one", message)
                sent += 1
        self.assertGreater(sent, 3)
        for _ in range(sent):
            self.assertEqual(self.backend.receive(["one"]), ("one", message))
        self.assertIsNone(self.backend.receive(["one"]))
        self.assertWorks()


class OldOutOfMemoryTests(OutOfMemoryTests):
    options = {"old": True, "maxmemory": "4mb"}


class WireTests(FaultTestCase):
    """Faults between the backend and the server."""

    def test_reply_lost_after_a_push(self):
        for leave_open in (False, True):
            with self.subTest(leave_open=leave_open):
                lost = self.proxy.drop_reply(b"EVALSHA", leave_open)
                with self.assertRaisesMessage(BackendUnavailable, "does not answer"):
                    self.backend.send("one", {"number": 1})
                self.assertTrue(lost.wait(PATIENCE))
                # It has been sent all the same, and once.
                self.assertEqual(receive(self.backend, ["one"]), ("one", {"number": 1}))
                self.assertIsNone(self.backend.receive(["one"]))
                self.assertWorks()

    def test_reply_lost_after_a_reply(self):
        lost = self.proxy.drop_reply(b"EVALSHA")
        with self.assertLogs("django.channels.backends", "WARNING"):
            self.backend.reply("inbox!1", {"number": 1})
            self.assertTrue(lost.wait(PATIENCE))
            self.assertEqual(
                receive(self.backend, ["inbox!"]), ("inbox!1", {"number": 1})
            )
        self.assertIsNone(self.backend.receive(["inbox!"]))
        self.assertWorks()

    def test_push_lost_before_it_arrives(self):
        self.proxy.drop_request(b"EVALSHA")
        with self.assertRaises(BackendUnavailable):
            self.backend.send("one", {"number": 1})
        self.assertIsNone(receive(self.backend, ["one"], 0.1))
        self.assertWorks()

    def test_reply_lost_after_a_pop(self):
        self.direct.send("one", {"number": 1})
        self.direct.send("one", {"number": 2})
        lost = self.proxy.drop_reply(b"BLMPOP")
        # The first was on its way, and is lost. The second is not taken for it.
        self.assertEqual(receive(self.backend, ["one"]), ("one", {"number": 2}))
        self.assertTrue(lost.is_set())
        self.assertWorks()

    def test_half_open_connection(self):
        self.proxy.drop_reply(b"BLMPOP", leave_open=True)
        received = []
        run_threads(
            lambda: received.append(receive(self.backend, ["one"], PATIENCE)),
            lambda: (
                time.sleep(2.5),
                send(self.direct, "one", {"number": 1}),
            ),
        )
        self.assertEqual(received, [("one", {"number": 1})])
        self.assertWorks()

    def test_frozen_and_thawed(self):
        self.proxy.freeze()
        with self.assertRaises(BackendUnavailable):
            self.backend.send("one", {})
        with self.assertRaises(BackendUnavailable):
            self.backend.receive(["one"], 1)
        self.proxy.thaw()
        wait_until(lambda: self.proxy.connections <= 1)
        received = receive(self.backend, ["one"], 1)
        self.assertIn(received, [None, ("one", {})])
        self.assertIsNone(receive(self.backend, ["one"], 0.1))
        self.assertWorks()

    def test_refused_and_accepted(self):
        self.proxy.refuse()
        self.proxy.cut(reset=True)
        with self.assertRaises(BackendUnavailable):
            self.backend.send("one", {})
        self.proxy.accept()
        self.assertWorks()

    def test_latency(self):
        self.proxy.latency = 0.2
        self.backend.send("one", {"number": 1})
        self.assertEqual(self.backend.receive(["one"], 1), ("one", {"number": 1}))
        self.assertIsNone(self.backend.receive(["one"], 0.3))
        self.assertWorks()

    def test_latency_does_not_shorten_the_life_of_a_message(self):
        backend = self.connect(self.proxy.port, EXPIRY=1)
        backend.send("warm.up", {})
        self.proxy.latency = 0.2
        backend.send("one", {"number": 1})
        client = self.server.client()
        envelope = client.lindex("django-channels:queue:one", 0)
        seconds, micros = client.time()
        left = int(envelope.split()[1]) / 1000 - seconds - micros / 1e6
        self.assertGreater(left + 0.25, 1)
        self.assertLess(left, 2)

    def test_one_byte_at_a_time(self):
        self.proxy.trickle = 0.001
        message = {"text": "x" * 50}
        self.backend.send("one", message)
        self.assertEqual(self.backend.receive(["one"], 1), ("one", message))
        self.assertWorks()

    def test_interrupted_while_it_waits(self):
        receiving = mock.patch.object(
            type(self.backend.shards[0].session), "_read", side_effect=KeyboardInterrupt
        )
        with receiving, self.assertRaises(KeyboardInterrupt):
            self.backend.receive(["one"], 1)
        self.backend.shards[0].session.close()
        self.assertWorks()


class SentinelTestCase(RedisTestCase):
    """Has a backend on the servers of sentinels."""

    options = ()

    def setUp(self):
        self.sentinels = Sentinels("tests", *self.options)
        self.sentinels.start()
        self.addCleanup(self.sentinels.stop)
        hosts = ",".join(f"{host}:{port}" for host, port in self.sentinels.addresses)
        url = f"redis+sentinel://{hosts}/{self.sentinels.name}"
        self.backend = make_backend(LOCATION=url)
        self.addCleanup(self.backend.close)


class FailoverTests(SentinelTestCase):
    def check(self, **how):
        self.backend.send("one", {"number": 1})
        self.assertEqual(self.backend.receive(["one"], 1), ("one", {"number": 1}))
        received = []
        run_threads(
            lambda: received.append(receive(self.backend, ["one"], PATIENCE)),
            lambda: (
                time.sleep(0.2),
                self.sentinels.failover(**how),
                send(self.backend, "one", {"number": 2}),
            ),
        )
        self.assertEqual(received, [("one", {"number": 2})])
        self.assertIsNone(self.backend.receive(["one"]))
        self.assertEqual(self.backend.depths(), {})

    def test_master_killed(self):
        self.check()

    def test_master_demoted_under_a_blocking_pop(self):
        """The old master answers -UNBLOCKED, and -READONLY from then on."""
        self.check(kill=False)

    def test_what_was_received_does_not_come_back(self):
        for number in range(50):
            self.backend.send("one", {"number": number})
        received = [self.backend.receive(["one"], 1)[1]["number"] for _ in range(25)]
        self.sentinels.failover()
        while item := receive(self.backend, ["one"], RECOVERY if not received else 1):
            received.append(item[1]["number"])
        self.assertEqual(received, sorted(set(received)))
        self.assertEqual(len(received), 50)


class DemotionTests(SentinelTestCase):
    """A master without a replica refuses messages, which else nobody would get."""

    options = ("--min-replicas-to-write", "1")

    def test_what_is_sent_to_a_master_that_is_to_be_demoted(self):
        failed_over, sent = threading.Event(), []

        def send_all():
            while not failed_over.is_set() or len(sent) % 100:
                send(self.backend, "one", {"number": len(sent)}, PATIENCE)
                sent.append(len(sent))
                time.sleep(0.001)

        run_threads(
            send_all,
            lambda: (
                time.sleep(0.2),
                self.sentinels.failover(kill=False),
                failed_over.set(),
            ),
        )
        received = []
        while item := receive(self.backend, ["one"], 1):
            received.append(item[1]["number"])
        self.assertEqual(received, sorted(set(received)))
        # Not all, as the replica need not have what was sent last.
        self.assertLess(len(set(sent) - set(received)), len(sent) / 10)


class ClusterFaultTests(RedisTestCase):
    def setUp(self):
        self.cluster = Cluster()
        self.cluster.start()
        self.addCleanup(self.cluster.stop)
        hosts = ",".join(f"{host}:{port}" for host, port in self.cluster.addresses)
        self.backend = make_backend(
            LOCATION=f"redis+cluster://{hosts}", OPTIONS={"SHARDS": 1}
        )
        self.addCleanup(self.backend.close)
        self.backend.send("one", {"number": 1})
        self.slot = self.cluster.slot(self.backend.shards[0].prefix)
        owner = self.cluster.owner(self.slot)
        self.target = next(n for n in self.cluster.nodes if n is not owner)

    def numbers(self, count):
        return [receive(self.backend, ["one"])[1]["number"] for _ in range(count)]

    def test_slot_moved(self):
        self.cluster.move_slot(self.slot, self.target)
        self.backend.send("one", {"number": 2})
        self.assertEqual(self.numbers(2), [1, 2])
        self.assertIsNone(self.backend.receive(["one"]))

    def test_slot_moved_under_a_blocking_pop(self):
        self.assertEqual(self.numbers(1), [1])
        received = []
        run_threads(
            lambda: received.extend(self.numbers(1)),
            lambda: (
                time.sleep(0.2),
                self.cluster.move_slot(self.slot, self.target),
                send(self.backend, "one", {"number": 2}),
            ),
        )
        self.assertEqual(received, [2])

    def test_slot_on_the_move(self):
        self.cluster.begin_move(self.slot, self.target)
        self.backend.send("other", {"number": 2})
        self.assertEqual(self.numbers(1), [1])
        self.assertEqual(receive(self.backend, ["other"])[1], {"number": 2})
        self.cluster.end_move(self.slot, self.target)
        self.backend.send("one", {"number": 3})
        self.assertEqual(self.numbers(1), [3])


class ForgeryTests(FaultTestCase):
    """What somebody does who can write to the store, but does not know SECRET_KEY."""

    QUEUE = "django-channels:queue:one"

    def setUp(self):
        super().setUp()
        self.client = self.server.client()

    def assertDropped(self, *entries):
        """Assert that entries in the queue are dropped, and others are not."""
        for entry in entries:
            self.client.rpush(self.QUEUE, entry)
        self.direct.send("one", {"number": "good"})
        before = self.backend.drops["refused"]
        with self.assertLogs("django.channels", "WARNING") as logs:
            received = receive(self.backend, ["one"])
        self.assertEqual(received, ("one", {"number": "good"}))
        # Of refusals each sentence is logged once a second.
        refused = self.backend.drops["refused"] - before
        others = [r for r in logs.records if r.name == "django.channels.backends"]
        self.assertEqual(refused + len(others), len(entries))
        self.assertWorks()

    def envelope(self, text='{"number":1}', channel="one", deadline=None, **settings):
        deadline = deadline or time.time() + 60
        with override_settings(**settings):
            return Envelopes().seal(channel, text, deadline)

    def test_signed_with_another_key(self):
        self.assertDropped(self.envelope(SECRET_KEY="guess"))

    def test_signed_with_a_key_that_is_accepted_still(self):
        with override_settings(SECRET_KEY="new", SECRET_KEY_FALLBACKS=["old"]):
            self.client.rpush(self.QUEUE, self.envelope(SECRET_KEY="old"))
            self.assertEqual(receive(self.backend, ["one"]), ("one", {"number": 1}))

    def test_changed(self):
        good = self.envelope()
        fields = good.split(" ", 5)
        later = [*fields]
        later[1] = str(int(fields[1]) + 1000)
        other = [*fields]
        other[3] = "two"
        self.assertDropped(
            good.replace('{"number":1}', '{"number":2}'),
            " ".join(later),
            " ".join(other),
            good[:-1],
            good[:60],
            good + " ",
        )

    def test_meant_for_another_channel(self):
        self.assertDropped(self.envelope(channel="two"))

    def test_replayed(self):
        entry = self.envelope()
        self.client.rpush(self.QUEUE, entry)
        self.assertEqual(receive(self.backend, ["one"]), ("one", {"number": 1}))
        self.assertDropped(entry)

    def test_replayed_to_threads_at_once(self):
        self.addCleanup(sys.setswitchinterval, sys.getswitchinterval())
        sys.setswitchinterval(1e-6)
        for _ in range(20):
            seen, taken, start = Seen(60), [], threading.Barrier(4)

            def take():
                start.wait()
                taken.append([seen.add(str(number)) for number in range(300)])

            run_threads(*[take] * 4)
            self.assertEqual(sum(map(sum, taken)), 300)

    def test_a_flood_is_not_logged_line_by_line(self):
        for _ in range(500):
            self.client.rpush(self.QUEUE, b"junk")
        with self.assertLogs("django.channels.security", "WARNING") as logs:
            self.assertIsNone(self.backend.receive(["one"]))
        self.assertLess(len(logs.records), 100)
        self.assertEqual(self.backend.drops["refused"], 500)

    def test_replayed_after_its_deadline(self):
        self.client.rpush(self.QUEUE, self.envelope(deadline=time.time() - 1))
        self.assertIsNone(self.backend.receive(["one"]))

    def test_signed_but_no_message(self):
        """Another program that knows the key may still make mistakes."""
        self.assertDropped(
            self.envelope("[" * 100_000),
            self.envelope('{"a":' * 40 + "1" + "}" * 40),
            self.envelope("{"),
            self.envelope("[]"),
            self.envelope('{"channel":"other"}'),
            self.envelope('{"number":NaN}'),
        )

    def test_signature_is_the_documented_one(self):
        with override_settings(SECRET_KEY="secret"):
            version, deadline, number, channel, signature, text = (
                Envelopes().seal("one", '{"a":"b c"}', 1234.5).split(" ", 5)
            )
        self.assertEqual((version, deadline, channel), ("1", "1234500", "one"))
        self.assertEqual(text, '{"a":"b c"}')
        key = hashlib.sha256(b"django.channels.envelopessecret").digest()
        signed = f"1 1234500 {number} one {text}".encode()
        self.assertEqual(signature, hmac.new(key, signed, "sha256").hexdigest())


class EncryptionTests(FaultTestCase):
    def connect(self, port, keys=("new", "old"), **params):
        return super().connect(port, OPTIONS={"ENCRYPTION_KEYS": keys}, **params)

    def stored(self):
        return self.server.client().lindex("django-channels:queue:one", 0)

    def test_the_store_does_not_tell_the_text(self):
        self.backend.send("one", {"text": "private"})
        self.assertTrue(self.stored().startswith(b"1e "))
        self.assertNotIn(b"private", self.stored())
        received = self.backend.receive(["one"])
        self.assertEqual(received, ("one", {"text": "private"}))
        self.assertWorks()

    def test_keys_rotate(self):
        old = self.connect(self.server.port, keys=["old"])
        old.send("one", {"number": 1})
        self.assertEqual(self.backend.receive(["one"]), ("one", {"number": 1}))

    def test_an_unknown_key(self):
        self.backend.send("one", {"number": 1})
        other = self.connect(self.server.port, keys=["other"])
        with self.assertLogs("django.channels.security", "WARNING"):
            self.assertIsNone(other.receive(["one"]))

    def test_no_key(self):
        self.backend.send("one", {"number": 1})
        other = self.connect(self.server.port, keys=[])
        with self.assertLogs("django.channels.security", "WARNING") as logs:
            self.assertIsNone(other.receive(["one"]))
        self.assertIn("ENCRYPTION_KEYS", logs.output[0])


class ClockTests(FaultTestCase):
    """Deadlines are the store's: a wrong clock on one side changes nothing."""

    def test_clock_of_the_sender(self):
        for step in (3600, -3600):
            with self.subTest(step=step):
                now = time.time()
                with mock.patch("time.time", lambda: now + step):
                    backend = self.connect(self.proxy.port)
                    backend.send("one", {"number": step})
                received = self.direct.receive(["one"])
                self.assertEqual(received, ("one", {"number": step}))
                backend.close()

    def test_clock_of_the_receiver(self):
        for step in (3600, -3600):
            with self.subTest(step=step):
                self.direct.send("one", {"number": step})
                now = time.time()
                with mock.patch("time.time", lambda: now + step):
                    backend = self.connect(self.proxy.port)
                    received = backend.receive(["one"])
                self.assertEqual(received, ("one", {"number": step}))
                backend.close()

    def test_clock_of_the_store(self):
        """As the sender sees it: what it knew of the time is wrong by an hour."""
        for step in (3600, -3600):
            with self.subTest(step=step):
                shard = self.backend.shards[0]
                shard.clock.set(shard.now() + step)
                self.backend.send("one", {"number": step})
                received = self.direct.receive(["one"])
                self.assertEqual(received, ("one", {"number": step}))
                self.assertLess(abs(shard.now() - time.time()), 60)


@with_workers
class FullTests(FaultTestCase):
    def test_a_full_request_channel_is_a_503(self):
        setting = {"BACKEND": BACKEND, "LOCATION": self.server.url, "CAPACITY": 1}
        with override_settings(CHANNELS={"default": setting}):
            self.addCleanup(channels["default"].close)
            Channel("django.wsgi.request").send({})
            with self.assertLogs("django.request", "ERROR"):
                result = Result(WSGIHandler())
        self.assertEqual(result.status, "503 Service Unavailable")

    def test_an_upload_without_a_store_is_a_503(self):
        setting = {"BACKEND": BACKEND, "LOCATION": self.server.url}
        self.server.kill()
        with override_settings(CHANNELS={"default": setting}):
            self.addCleanup(channels["default"].close)
            with self.assertLogs("django.request", "ERROR"):
                result = Result(WSGIHandler(), body=bytes(600_000))
        self.assertEqual(result.status, "503 Service Unavailable")
