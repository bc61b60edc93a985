"""Delayed messages on Redis, beside what the tests of all backends show."""

import time
from unittest import mock

from django.channels.backends.contract import PATIENCE, run_threads
from django.channels.delays import LOOK_INTERVAL
from django.channels.exceptions import BackendUnavailable, ChannelFull

from .redis_servers import RedisServer, shared_redis
from .test_redis import NotSent, RedisTestCase, make_backend
from .test_redis_faults import FaultTestCase
from .utils import wait_until


class DelayTestCase(RedisTestCase):
    def create_other(self, **params):
        """Return a backend that knows nothing of what the first one does."""
        backend = make_backend(**{"LOCATION": self.location} | params)
        self.addCleanup(backend.close)
        return backend


class StoreTests(DelayTestCase):
    def setUp(self):
        self.client = shared_redis().client()
        self.client.flushall()

    def test_all_keys_begin_with_the_prefix_and_expire(self):
        backend = self.create_backend(OPTIONS={"PREFIX": "mine"})
        backend.send("one", {"text": "x" * 30_000}, 1000)
        backend.send("two", {}, 10)
        keys = sorted(key.decode() for key in self.client.keys("*"))
        self.assertRegex(keys.pop(0), "^mine:body:")
        self.assertEqual(keys, ["mine:delayed:one", "mine:delayed:two", "mine:delays:"])
        for key, seconds in zip(
            self.client.keys("mine:body:*") + keys, [1060, 1060, 70, 1060]
        ):
            with self.subTest(key=key):
                self.assertIn(self.client.ttl(key), range(seconds - 5, seconds + 2))

    def test_a_large_message_is_not_in_the_set(self):
        backend = self.create_backend()
        backend.send("one", {"text": "x" * 30_000}, 60)
        (entry,) = self.client.zrange("django-channels:delayed:one", 0, -1)
        self.assertLess(len(entry), 300)

    def test_no_key_stays_when_all_has_been_received(self):
        backend = self.create_backend()
        for number in range(3):
            backend.send("one", {"text": "x" * 30_000}, 0.1 + number / 10)
        for _ in range(3):
            self.assertIsNotNone(backend.receive(["one"], PATIENCE))
        self.assertEqual(self.client.keys("*"), [])

    def test_a_queue_with_delayed_messages_is_known_to_be_one_until_the_last(self):
        backend = self.create_backend()
        backend.send("one", {"number": 1}, 0.1)
        backend.send("one", {"number": 2}, 60)
        self.assertEqual(backend.receive(["one"], PATIENCE)[1], {"number": 1})
        self.assertEqual(self.client.zrange("django-channels:delays:", 0, -1), [b"one"])
        self.assertGreater(self.client.ttl("django-channels:delays:"), 60)

    def test_a_list_of_queues_that_was_lost_comes_back_with_an_expiry(self):
        backend = self.create_backend()
        backend.send("one", {"number": 1}, 0.1)
        backend.send("one", {"number": 2}, 60)
        self.client.delete("django-channels:delays:")
        backend.send("one", {"number": 3}, 0.1)
        received = [backend.receive(["one"], PATIENCE)[1]["number"] for _ in range(2)]
        self.assertEqual(received, [1, 3])
        self.assertGreater(self.client.ttl("django-channels:delays:"), 60)

    def test_sets_with_many_due_messages(self):
        backend = self.create_backend()
        for number in range(250):
            backend.send("many", {"number": number}, 0.1)
        wait_until(lambda: not backend.queues()["many"].delayed)
        received = [backend.receive(["many"])[1]["number"] for _ in range(250)]
        self.assertEqual(received, list(range(250)))

    def test_what_expired_while_nobody_looked_makes_room(self):
        self.create_backend(EXPIRY=0.1).send("one", {"number": 1}, 0.05)
        time.sleep(0.3)
        backend = self.create_other(CAPACITY=1)
        backend.send("one", {"number": 2}, 0.05)
        self.assertEqual(backend.receive(["one"], PATIENCE)[1], {"number": 2})

    def test_isolation(self):
        backend = self.create_backend()
        backend.send("one", {"number": 1}, 0.1)
        backend.isolate("test")
        self.assertEqual(backend.queues(), {})
        backend.send("one", {"number": 2}, 0.1)
        self.assertEqual(backend.receive(["one"], PATIENCE)[1], {"number": 2})
        backend.isolate("")
        self.assertEqual(backend.receive(["one"], PATIENCE)[1], {"number": 1})


class ReceiverTests(DelayTestCase):
    def test_a_receiver_of_another_process_is_woken(self):
        backend, other = self.create_backend(), self.create_other()
        received = []
        run_threads(
            lambda: received.append(other.receive(["first", "later"], PATIENCE)),
            lambda: (time.sleep(0.1), backend.send("later", {"number": 1}, 0.1)),
        )
        self.assertEqual(received, [("later", {"number": 1})])

    def test_a_receiver_of_other_queues_looks_for_all(self):
        backend, other = self.create_backend(), self.create_other()
        backend.send("later", {}, 0.05)
        client = shared_redis().client()
        wait_until(
            lambda: other.receive(["other"])
            or client.llen("django-channels:queue:later") == 1
        )

    def test_who_receives_from_an_inbox_does_not_look(self):
        backend = self.create_backend()
        with mock.patch(
            "django.channels.backends.redis.delays.find_due", side_effect=AssertionError
        ):
            self.assertIsNone(backend.receive(["inbox!"]))
            self.assertIsNone(backend.receive(["inbox!"], 0.01))
            with self.assertRaises(AssertionError):
                backend.receive(["queue"])

    def test_receivers_of_queues_block_no_longer_than_until_the_next_look(self):
        backend = self.create_backend()
        (shard,) = backend.shards
        for name, may_block_longer in [("end", False), ("inbox!1", True)]:
            pop_commands = mock.patch.object(
                shard, "pop_commands", side_effect=shard.pop_commands
            )
            queue = name.rstrip("1")
            with self.subTest(queue=queue), pop_commands as popping:
                run_threads(
                    lambda: backend.receive([queue], PATIENCE),
                    lambda: (time.sleep(0.1), backend.send(name, {})),
                )
                blocks = [call.args[1] for call in popping.call_args_list]
                self.assertIs(max(blocks) > LOOK_INTERVAL, may_block_longer)

    def test_connections_with_the_third_version_of_the_protocol(self):
        options = {"CONNECTION": {"protocol": 3}}
        backend = self.create_backend(OPTIONS=options)
        for number in range(2):
            backend.send(f"later.{number}", {"number": number}, 0.1)
        received = [
            backend.receive(["later.0", "later.1"], PATIENCE)[1]["number"]
            for _ in range(2)
        ]
        self.assertCountEqual(received, [0, 1])


class ShardedTests(DelayTestCase):
    @classmethod
    def start_servers(cls):
        cls.servers = [cls.use(RedisServer()) for _ in range(2)]
        return [server.url for server in cls.servers]

    def tearDown(self):
        for server in self.servers:
            if not server.is_running():
                server.start()

    def test_what_is_delayed_on_several_servers_is_received(self):
        backend = self.create_backend()
        for number in range(20):
            run_threads(
                lambda: backend.send("later", {"number": number}, 0.2),
                lambda: backend.send("last", {}, 60),
            )
        self.assertEqual(backend.queues()["last"].delayed, 20)
        received = [
            backend.receive(["later"], PATIENCE)[1]["number"] for _ in range(20)
        ]
        self.assertCountEqual(received, range(20))

    def test_without_a_server_delayed_messages_go_to_the_other(self):
        backend = self.create_backend()
        first = backend._shards_for("later")[0]
        refusing = mock.patch.object(first.session, "call", side_effect=NotSent("away"))
        with refusing:
            backend.send("later", {"number": 1}, 0.1)
        self.assertEqual(backend.receive(["later"], PATIENCE)[1], {"number": 1})

    def test_without_a_server_those_on_the_other_are_received(self):
        backend = self.create_backend()
        self.servers[0].kill()
        for _ in range(4):
            run_threads(lambda: backend.send("later", {}, 0.1))
        for _ in range(4):
            self.assertEqual(backend.receive(["later"], PATIENCE), ("later", {}))

    def test_without_any_server_it_says_so(self):
        backend = self.create_backend()
        for server in self.servers:
            server.kill()
        with self.assertRaises(BackendUnavailable):
            backend.send("later", {}, 1)


class FaultTests(FaultTestCase):
    def test_a_wrong_idea_of_the_time_changes_nothing(self):
        for step in (3600, -3600):
            with self.subTest(step=step):
                shard = self.backend.shards[0]
                shard.clock.set(shard.now() + step)
                begun = time.monotonic()
                self.backend.send("later", {"number": step}, 0.2)
                received = self.direct.receive(["later"], PATIENCE)
                self.assertEqual(received, ("later", {"number": step}))
                self.assertGreaterEqual(time.monotonic() - begun, 0.2)

    def test_a_reply_that_was_lost_is_told_and_nothing_is_sent_twice(self):
        # The server has to know the script.
        self.backend.send("later", {}, 0.01)
        self.direct.receive(["later"], PATIENCE)
        lost = self.proxy.drop_reply(b"EVALSHA")
        with self.assertRaisesMessage(BackendUnavailable, "does not answer"):
            self.backend.send("later", {"number": 1}, 0.1)
        self.assertTrue(lost.wait(PATIENCE))
        received = self.direct.receive(["later"], PATIENCE)
        self.assertEqual(received, ("later", {"number": 1}))
        self.assertEqual(self.direct.queues(), {})

    def test_a_restart_without_data_loses_them(self):
        self.backend.send("later", {}, 0.1)
        self.server.client().flushall()
        self.assertEqual(self.direct.queues(), {})
        self.assertWorks()


class OutOfMemoryTests(FaultTestCase):
    options = {"maxmemory": "4mb"}

    def test_what_was_delayed_can_be_received(self):
        self.backend.send("later", {"number": 1}, 0.2)
        for size in (100_000, 1000, 1):
            with self.assertRaisesMessage(ChannelFull, "Redis is out of memory"):
                for _ in range(1000):
                    self.backend.send("other", {"text": "x" * size})
        with self.assertRaisesMessage(ChannelFull, "Redis is out of memory"):
            self.backend.send("later", {"number": 2}, 0.2)
        received = self.backend.receive(["later"], PATIENCE)
        self.assertEqual(received, ("later", {"number": 1}))


class OldOutOfMemoryTests(OutOfMemoryTests):
    options = {"old": True, "maxmemory": "4mb"}
