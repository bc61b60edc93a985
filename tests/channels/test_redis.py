import os
import sys
import threading
import time
from contextlib import suppress
from unittest import mock

from django.channels.backends.contract import PATIENCE, ChannelBackendTests, run_threads
from django.channels.exceptions import (
    BackendUnavailable,
    InvalidChannelBackend,
)
from django.channels.inbox import Inbox
from django.test import SimpleTestCase

from .redis_servers import Cluster, RedisServer, Sentinels, shared_redis
from .utils import run_in_fork, run_script

try:
    from redis.exceptions import ResponseError

    from django.channels.backends.redis.sessions import NotSent
except ImportError:
    NotSent = ResponseError = None

BACKEND = "django.channels.backends.redis.RedisBackend"


def make_backend(**params):
    # Where redis is missing, the servers have skipped the test.
    from django.channels.backends.redis import RedisBackend

    return RedisBackend("default", params)


class RedisTestCase(SimpleTestCase):
    """Has a backend on servers of its own, which is empty."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.location = cls.start_servers()

    @classmethod
    def start_servers(cls):
        """Start what is needed and return LOCATION."""
        return shared_redis().url

    @classmethod
    def use(cls, servers):
        """Start `servers` until the end of the class."""
        servers.start()
        cls.addClassCleanup(servers.stop)
        return servers

    def create_backend(self, **params):
        backend = make_backend(**{"LOCATION": self.location} | params)
        self.addCleanup(backend.close)
        backend.flush()
        return backend


class SingleTests(RedisTestCase, ChannelBackendTests):
    pass


class OldServerTests(RedisTestCase, ChannelBackendTests):
    """Redis 6.2 has no LMPOP and BLMPOP."""

    @classmethod
    def start_servers(cls):
        return shared_redis(old=True).url

    def test_a_millisecond_is_not_for_ever(self):
        backend = self.create_backend()
        begun = time.monotonic()
        for timeout in (0.0001, 0.001, 0.0015):
            self.assertIsNone(backend.receive(["one"], timeout))
        self.assertLess(time.monotonic() - begun, 1)

    def test_a_server_that_does_not_tell_its_commands(self):
        backend = self.create_backend()
        (shard,) = backend.shards
        busy = mock.patch.object(
            shard.session, "call_each", lambda *commands: [BackendUnavailable()]
        )
        with busy:
            shard.prepare()
        backend.send("one", {"number": 1})
        self.assertEqual(backend.receive(["one"], 1), ("one", {"number": 1}))


class UnixSocketTests(RedisTestCase, ChannelBackendTests):
    @classmethod
    def start_servers(cls):
        return shared_redis().unix_url


class ShardedTests(RedisTestCase, ChannelBackendTests):
    @classmethod
    def start_servers(cls):
        return [shared_redis().url, shared_redis(old=True).url]


class SentinelTests(RedisTestCase, ChannelBackendTests):
    @classmethod
    def start_servers(cls):
        sentinels = cls.use(Sentinels())
        hosts = ",".join(f"{host}:{port}" for host, port in sentinels.addresses)
        return f"redis+sentinel://{hosts}/{sentinels.name}"

    def test_decoding_connections(self):
        backend = self.create_backend(LOCATION=f"{self.location}?decode_responses=true")
        backend.send("one", {"number": 1})
        self.assertEqual(backend.receive(["one"], 1), ("one", {"number": 1}))


class ClusterTests(RedisTestCase, ChannelBackendTests):
    @classmethod
    def start_servers(cls):
        cls.cluster = cls.use(Cluster())
        hosts = ",".join(f"{host}:{port}" for host, port in cls.cluster.addresses)
        return f"redis+cluster://{hosts}"

    def test_spreads_inboxes_over_the_cluster(self):
        backend = self.create_backend()
        for number in range(50):
            backend.send(f"inbox{number}!1", {})
        found = [len(shard.names("queue")) for shard in backend.shards]
        self.assertEqual(sum(found), 50)
        self.assertNotIn(0, found)

    def test_a_cluster_that_does_not_tell_its_hosts(self):
        setting = "cluster-preferred-endpoint-type"
        clients = [node.client() for node in self.cluster.nodes]
        if not clients[0].config_get(setting):
            self.skipTest("This server always tells its host.")
        for client in clients:
            client.config_set(setting, "unknown-endpoint")
            self.addCleanup(client.config_set, setting, "ip")
        backend = self.create_backend()
        for number in range(10):
            backend.send(f"inbox{number}!1", {})
        self.assertEqual(len(backend.depths()), 10)


class AccessTests(RedisTestCase):
    """Users, passwords and TLS."""

    def check(self, location, **params):
        backend = self.create_backend(LOCATION=location, **params)
        backend.send("one", {"key": 1})
        self.assertEqual(backend.receive(["one"], PATIENCE), ("one", {"key": 1}))

    def test_password(self):
        server = self.use(RedisServer(password="s:e/c@r?t"))
        self.check(server.url)
        self.check(server.unix_url)

    def test_user_who_may_do_no_more_than_needed(self):
        rules = "~django-channels:* +@all -@admin -@dangerous +client|id"
        server = self.use(RedisServer(user="site", password="secret", rules=rules))
        self.check(server.url)

    def test_wrong_password(self):
        server = self.use(RedisServer(password="secret"))
        backend = make_backend(LOCATION=server.url.replace("secret", "guess"))
        with self.assertRaisesMessage(BackendUnavailable, "cannot be reached"):
            backend.send("one", {})

    def test_tls(self):
        server = self.use(RedisServer(tls=True))
        self.check(server.url, OPTIONS={"CONNECTION": {"ssl_ca_certs": server.ca}})

    def test_tls_with_an_unknown_certificate(self):
        server = self.use(RedisServer(tls=True))
        backend = make_backend(LOCATION=server.url)
        with self.assertRaisesMessage(BackendUnavailable, "cannot be reached"):
            backend.send("one", {})


class StoreTests(RedisTestCase):
    """What lies in the store."""

    def keys(self):
        return sorted(key.decode() for key in shared_redis().client().keys("*"))

    def test_all_keys_begin_with_the_prefix_and_expire(self):
        shared_redis().client().flushall()
        backend = self.create_backend(OPTIONS={"PREFIX": "mine"})
        backend.send("one", {"text": "x" * 30_000})
        backend.send("inbox!1", {})
        backend.join("chat", "inbox!", ["inbox!1"])
        backend.announce("me", {"kind": "test"}, 10)
        keys = self.keys()
        self.assertEqual(
            [key for key in keys if not key.startswith("mine:body:")],
            [
                "mine:group:chat",
                "mine:members:chat:inbox!",
                "mine:process:me",
                "mine:processes:",
                "mine:queue:inbox!",
                "mine:queue:one",
            ],
        )
        self.assertEqual(len(keys), 7)
        for key in keys:
            with self.subTest(key=key):
                self.assertIn(shared_redis().client().ttl(key), range(1, 62))

    def test_sites_with_different_prefixes_share_a_server(self):
        one = self.create_backend(OPTIONS={"PREFIX": "one"})
        two = self.create_backend(OPTIONS={"PREFIX": "two"})
        one.send("channel", {"site": 1})
        self.assertIsNone(two.receive(["channel"]))
        two.flush()
        self.assertEqual(one.receive(["channel"]), ("channel", {"site": 1}))

    def test_a_prefix_is_no_pattern(self):
        one = self.create_backend(OPTIONS={"PREFIX": "a"})
        one.send("channel", {"site": 1})
        self.create_backend(OPTIONS={"PREFIX": "?"})
        self.assertEqual(one.depths(), {"channel": 1})

    def test_a_large_message_is_not_in_the_list(self):
        backend = self.create_backend()
        message = {"text": "x" * 1_000_000}
        backend.send("large", message)
        client = shared_redis().client()
        (entry,) = client.lrange("django-channels:queue:large", 0, -1)
        self.assertLess(len(entry), 300)
        self.assertEqual(backend.receive(["large"]), ("large", message))
        self.assertEqual(client.keys("django-channels:*"), [])

    def test_a_message_whose_body_is_gone_is_dropped(self):
        backend = self.create_backend()
        backend.send("large", {"text": "x" * 30_000})
        backend.send("large", {"number": 2})
        client = shared_redis().client()
        (body,) = client.keys("django-channels:body:*")
        client.delete(body)
        with self.assertLogs("django.channels.security", "WARNING"):
            self.assertEqual(backend.receive(["large"]), ("large", {"number": 2}))

    def test_a_body_that_cannot_be_had_takes_no_other_message_with_it(self):
        backend = self.create_backend()
        backend.send("one", {"text": "x" * 30_000})
        backend.send("one", {"number": 2})
        client = shared_redis().client()
        (body,) = client.keys("django-channels:body:*")
        client.delete(body)
        client.rpush(body, "This is no text.")
        with self.assertLogs("django.channels.backends", "WARNING") as logs:
            received = backend.receive_many(["one"], 1, 10)
        self.assertEqual(received, [("one", {"number": 2})])
        self.assertIn("A large message was lost", logs.output[0])

    def test_a_shorter_expiry_does_not_shorten_the_life_of_others(self):
        self.create_backend(EXPIRY=60).send("one", {})
        make_backend(LOCATION=self.location, EXPIRY=1).send("one", {})
        left = shared_redis().client().pttl("django-channels:queue:one")
        self.assertGreater(left, 55_000)

    def test_what_else_lies_in_a_queue_is_dropped(self):
        backend = self.create_backend()
        backend.send("one", {"number": 1})
        client = shared_redis().client()
        huge = b"1 " + b"9" * 400 + b" id one signature {}"
        for entry in [b"", b" ", b"x ", b"\xff\xfe", b"1 2", b"x " * 5, b"{}", huge]:
            client.lpush("django-channels:queue:one", entry)
        backend.send("one", {"number": 2})
        self.assertEqual(backend.receive(["one"]), ("one", {"number": 1}))
        self.assertEqual(backend.receive(["one"]), ("one", {"number": 2}))

    def test_a_burst_of_expired_messages_goes(self):
        backend = self.create_backend(EXPIRY=0.3)
        for number in range(50):
            backend.send("busy", {"number": number})
        lengths = []
        client = shared_redis().client()
        for number in range(20):
            client.pexpire("django-channels:queue:busy", 60_000)
            if number == 0:
                time.sleep(0.5)
            backend.send("busy", {"number": number})
            lengths.append(client.llen("django-channels:queue:busy"))
        self.assertEqual(lengths[-1], 20)

    def test_processes_tell_of_themselves(self):
        backend = self.create_backend()
        backend.announce("one", {"kind": "worker"}, 10)
        backend.announce("two", {"kind": "worker", "handled": 1}, 0.1)
        backend.announce("one", {"kind": "worker", "handled": 2}, 10)
        with self.subTest("gone"):
            backend.announce("three", {"kind": "worker"}, 10)
            backend.announce("three", {}, 0)
        time.sleep(0.3)
        self.assertEqual(backend.announced(), {"one": {"kind": "worker", "handled": 2}})


class ProcessTests(RedisTestCase):
    def test_a_fork_uses_connections_of_its_own(self):
        backend = self.create_backend()
        backend.send("parent", {"number": 1})

        def use_in_child():
            backend.send("child", {"pid": os.getpid()})
            return backend.receive(["parent"])[1]

        self.assertEqual(run_in_fork(use_in_child), {"number": 1})
        _, message = backend.receive(["child"], PATIENCE)
        self.assertNotEqual(message["pid"], os.getpid())

    def test_threads_leave_no_connection_behind(self):
        backend = self.create_backend()
        client = shared_redis().client()
        before = len(client.client_list())
        run_threads(*[lambda: backend.send("one", {})] * 5)
        backend.release()
        self.assertLessEqual(len(client.client_list()), before)

    def test_a_fork_has_an_inbox_of_its_own(self):
        backend = self.create_backend()

        def inbox():
            backend.cross({})
            return backend._local.inbox

        self.assertNotEqual(inbox(), run_in_fork(inbox))

    def test_a_thread_that_ends_hears_of_its_last_reply(self):
        backend = self.create_backend(CAPACITY=1)
        for number in (1, 2):
            with self.subTest(number), self.assertNoLogs("django.channels"):
                backend.reply(f"inbox{number}!1", {})
                backend.release()
        backend.reply("inbox1!1", {})
        with self.assertLogs("django.channels.backends", "WARNING") as logs:
            backend.release()
        self.assertIn("as many as CAPACITY", logs.output[0])

    def test_closing_while_threads_connect(self):
        (shard,) = self.create_backend().shards
        threads = threading.active_count()
        interval = sys.getswitchinterval()
        self.addCleanup(sys.setswitchinterval, interval)
        sys.setswitchinterval(1e-6)

        def connect():
            for _ in range(200):
                [shard.open_session() for _ in range(20)]

        opening = [threading.Thread(target=connect) for _ in range(3)]
        for thread in opening:
            thread.start()
        while threading.active_count() > threads:
            shard.close()

    def test_closing_ends_the_wait_of_another_thread(self):
        for location in (self.location, [self.location, shared_redis(old=True).url]):
            with self.subTest(location=location):
                backend = self.create_backend(LOCATION=location)
                raised = []

                def receive():
                    try:
                        backend.receive(["one"], 1)
                    except BackendUnavailable:
                        pass
                    except Exception as exc:
                        raised.append(exc)

                run_threads(receive, lambda: (time.sleep(0.2), backend.close()))
                self.assertEqual(raised, [])

    def test_only_what_was_refused_is_sent_to_another_server(self):
        session = self.create_backend().shards[0].session
        read, refusals = session._read, iter([False, True])

        def refuse():
            reply = read()
            return ResponseError("MOVED 1 a:1") if next(refusals, False) else reply

        keys = ["django-channels:first", "django-channels:second"]
        with mock.patch.object(session, "_read", refuse):
            session.call(*(("INCR", key) for key in keys))
        # The second was not refused, in truth.
        self.assertEqual(session.call(("MGET", *keys)), [[b"1", b"2"]])

    def test_without_redis_py_the_error_names_the_package(self):
        code = (
            "import sys; sys.modules['redis'] = None\n"
            "from django.conf import settings\n"
            "settings.configure(CHANNELS={'default': {'BACKEND': sys.argv[1]}})\n"
            "import django; django.setup()\n"
            "from django.channels import channels\n"
            "channels['default']\n"
        )
        ran = run_script(code, BACKEND)
        self.assertEqual(ran.returncode, 1)
        self.assertIn('python -m pip install "Django[redis]"', ran.stderr)

    def test_works_without_hiredis(self):
        code = (
            "import sys; sys.modules['hiredis'] = None\n"
            "from django.conf import settings\n"
            "settings.configure(SECRET_KEY='x' * 50, CHANNELS={'default': "
            "{'BACKEND': sys.argv[1], 'LOCATION': sys.argv[2]}})\n"
            "import django; django.setup()\n"
            "from django.channels import Channel, channels\n"
            "Channel('without.hiredis').send({'key': 1})\n"
            "print(channels['default'].receive(['without.hiredis'], 5))\n"
        )
        ran = run_script(code, BACKEND, self.location)
        self.assertEqual(ran.stdout, "('without.hiredis', {'key': 1})\n", ran.stderr)


class SettingTests(SimpleTestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        shared_redis()

    def test_refuses_bad_locations(self):
        for location in [
            "localhost:6379",
            "http://localhost",
            7,
            ["redis://a", None],
            "redis://host:port/0",
            ["redis://a:1", "redis://a:1"],
        ]:
            with (
                self.subTest(location=location),
                self.assertRaisesMessage(
                    InvalidChannelBackend, "CHANNELS['default']['LOCATION']"
                ),
            ):
                make_backend(LOCATION=location)

    def test_an_error_does_not_tell_the_password(self):
        with self.assertRaises(InvalidChannelBackend) as caught:
            make_backend(LOCATION="redis://user:secret@host:port/0")
        self.assertNotIn("secret", str(caught.exception))

    def test_describes_itself_without_the_password(self):
        backend = make_backend(LOCATION="redis://user:secret@host:6380/0")
        self.assertEqual(backend.describe(), "redis (host:6380)")

    def test_uses_the_local_server_by_default(self):
        self.assertEqual(make_backend().describe(), "redis (127.0.0.1:6379)")

    def test_refuses_unknown_arguments_of_connections(self):
        with self.assertRaisesMessage(InvalidChannelBackend, "'time_out'"):
            make_backend(OPTIONS={"CONNECTION": {"time_out": 3}})

    def test_a_shorter_timeout_shortens_what_a_pop_blocks(self):
        for timeout, block in ((None, 2), (10, 2), (3, 2), (1.5, 0.75), (0.5, 0.25)):
            with self.subTest(timeout=timeout):
                options = {"CONNECTION": {"socket_timeout": timeout}}
                (shard,) = make_backend(OPTIONS=options).shards
                self.assertEqual(shard.server.block, block)

    def test_refuses_unknown_options(self):
        with self.assertRaisesMessage(InvalidChannelBackend, "'SHARD'"):
            make_backend(OPTIONS={"SHARD": 3})

    def test_a_missing_server_is_a_clear_error(self):
        backend = make_backend(LOCATION="redis://127.0.0.1:1/0")
        with self.assertRaisesMessage(BackendUnavailable, "Redis cannot be reached"):
            backend.send("one", {})
        with self.assertRaises(BackendUnavailable):
            backend.receive(["one"], 1)


class ShardingTests(RedisTestCase):
    @classmethod
    def start_servers(cls):
        cls.servers = [cls.use(RedisServer()) for _ in range(3)]
        return [server.url for server in cls.servers]

    def tearDown(self):
        for server in self.servers:
            if not server.is_running():
                server.start()

    def test_inboxes_are_spread_and_stay_where_they_are(self):
        backend = self.create_backend()
        for number in range(60):
            backend.send(f"inbox{number}!1", {})
        used = [server.client().dbsize() for server in self.servers]
        self.assertNotIn(0, used)
        smaller = make_backend(LOCATION=self.location[:2])
        self.addCleanup(smaller.close)
        found = sum(
            smaller.receive([f"inbox{number}!"]) is not None for number in range(60)
        )
        self.assertEqual(found, used[0] + used[1])

    def test_request_channels_are_spread_over_senders(self):
        backend = self.create_backend()
        run_threads(*[lambda: backend.send("requests", {})] * 30)
        used = [
            server.client().llen("django-channels:queue:requests")
            for server in self.servers
        ]
        self.assertEqual(sum(used), 30)
        self.assertGreater(len([n for n in used if n]), 1)
        received = [backend.receive(["requests"], 1) for _ in range(30)]
        self.assertNotIn(None, received)

    def test_without_a_shard_requests_go_to_another(self):
        backend = self.create_backend()
        self.servers[0].kill()
        for number in range(10):
            run_threads(lambda: backend.send("requests", {"number": number}))
        received = [backend.receive(["requests"], 1) for _ in range(10)]
        self.assertNotIn(None, received)

    def test_a_shard_that_does_not_answer_is_left_out_by_senders(self):
        backend = self.create_backend()
        shards = backend._shards_for("requests")
        refusing = mock.patch.object(
            shards[0].session, "call", side_effect=NotSent("away")
        )
        with refusing as call:
            for _ in range(5):
                backend.send("requests", {})
        self.assertEqual(call.call_count, 1)
        self.assertEqual(backend.depths(), {"requests": 5})

    def test_without_any_shard_it_says_so(self):
        backend = self.create_backend()
        for server in self.servers:
            server.kill()
        with self.assertRaises(BackendUnavailable):
            backend.send("requests", {})
        with self.assertRaises(BackendUnavailable):
            for _ in range(3):
                backend.receive(["requests"], 0.1)
        looking = mock.patch.object(backend._receiver, "_look", lambda *args: [])
        with looking, self.assertRaises(BackendUnavailable):
            backend.receive(["requests"], 0.1)

    def test_without_a_shard_a_group_message_comes_to_the_others(self):
        backend = self.create_backend()
        self.servers[0].kill()
        inboxes = [f"inbox{number}!" for number in range(20)]
        with self.assertRaises(BackendUnavailable):
            backend.push_group("chat", inboxes, "{}")
        heard = []
        for name in inboxes:
            with suppress(BackendUnavailable):
                heard.append(backend.receive([name]))
        self.assertGreater(len(heard), 0)
        self.assertNotIn(None, heard)

    def test_without_the_shard_of_a_group_its_members_are_answered(self):
        backend = self.create_backend(EXPIRY=3)
        inbox = Inbox(backend, "test.client")
        channel, home = inbox.open(), backend._ranked(inbox.name)[0]
        group = next(
            name
            for name in map(str, range(100))
            if backend._ranked(name)[0] is not home
        )
        backend.send(channel, {"join": group})
        self.assertIsNone(inbox.receive(channel, 0))
        self.servers[backend.shards.index(backend._ranked(group)[0])].kill()
        inbox.memberships._due = 0
        backend.send(channel, {"content": "hello"})
        self.assertEqual(inbox.receive(channel, 1), {"content": "hello"})

    def test_what_comes_on_several_shards_at_once_is_received_once(self):
        backend = self.create_backend()
        received = []

        def receive():
            while len(received) < 60:
                if (item := backend.receive(["requests", "other"], 0.5)) is not None:
                    received.append(item[1]["number"])

        def send(numbers):
            for number in numbers:
                backend.send("requests", {"number": number})

        run_threads(
            receive, *[lambda n=n: send(range(n, n + 10)) for n in range(0, 60, 10)]
        )
        self.assertEqual(sorted(received), list(range(60)))

    def receive_early(self, backend):
        """Send a message to each shard, and receive one when all have come."""
        for number, shard in enumerate(backend.shards):
            with mock.patch.object(backend, "_shards_for", lambda _: [shard]):
                backend.send("requests", {"text": "x" * 30_000, "number": number})
        # It finds nothing at first, and then something on each shard.
        with mock.patch.object(backend._receiver, "_look", lambda *args: []):
            _, first = backend.receive(["requests"], PATIENCE)
        self.assertEqual(backend.depths(), {})
        return first

    def test_what_comes_early_expires(self):
        backend = self.create_backend(EXPIRY=0.5)
        self.receive_early(backend)
        time.sleep(0.6)
        self.assertIsNone(backend.receive(["requests"]))

    def test_what_a_thread_does_not_come_to_take_is_put_back(self):
        backend = self.create_backend()
        first = self.receive_early(backend)
        backend.release()
        self.assertEqual(backend.depths(), {"requests": 2})
        rest = [backend.receive(["requests"])[1] for _ in range(2)]
        numbers = [message["number"] for message in [first, *rest]]
        self.assertEqual(sorted(numbers), [0, 1, 2])
