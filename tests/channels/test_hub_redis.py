"""The Redis backend of an interface process, which must not keep its hub waiting."""

from django.channels.backends.contract import PATIENCE
from django.channels.exceptions import BackendUnavailable
from django.test import SimpleTestCase

from .redis_servers import RedisServer, skip_without

try:
    import gevent

    from django.channels.interfaces.server.stores import HubRedisBackend, attempt
except ImportError:
    gevent = None


class HubRedisTests(SimpleTestCase):
    # Keyword arguments of the server.
    options = {}

    def setUp(self):
        if gevent is None:
            skip_without("The packages gevent, gevent-websocket and websockets")
        self.server = RedisServer(**self.options)
        self.server.start()
        self.addCleanup(self.server.stop)
        self.backend = self.make_backend(self.make_options())
        self.addCleanup(self.backend.close)

    def make_options(self):
        return {}

    def make_backend(self, options):
        params = {"LOCATION": self.server.url, "OPTIONS": options}
        return HubRedisBackend("default", params)

    def in_greenlet(self, function, *args):
        """Return what a function returns that runs in a greenlet of its own."""
        greenlet = gevent.spawn(attempt, lambda: function(*args))
        greenlet.join(PATIENCE)
        self.assertTrue(greenlet.ready())
        value, error = greenlet.value
        if error is not None:
            raise error
        return value

    def test_others_run_while_one_waits_for_a_message(self):
        waiting = gevent.spawn(self.backend.receive, ["tests.one"], PATIENCE)
        # By turns with the one that waits.
        for _ in range(20):
            gevent.sleep(0.001)
        self.assertFalse(waiting.ready())
        self.in_greenlet(self.backend.send, "tests.one", {"number": 1})
        waiting.join(PATIENCE)
        self.assertEqual(waiting.value, ("tests.one", {"number": 1}))

    def test_large_messages(self):
        message = {"content": "x" * 300_000}
        self.in_greenlet(self.backend.send, "tests.one", message)
        received = self.in_greenlet(self.backend.receive, ["tests.one"])
        self.assertEqual(received, ("tests.one", message))

    def test_server_that_does_not_answer(self):
        self.server.kill()
        with self.assertRaisesMessage(BackendUnavailable, "cannot be reached"):
            self.in_greenlet(self.backend.send, "tests.one", {})


class TlsHubRedisTests(HubRedisTests):
    options = {"tls": True}

    def make_options(self):
        return {"CONNECTION": {"ssl_ca_certs": self.server.ca}}

    def test_unknown_certificate(self):
        backend = self.make_backend({})
        self.addCleanup(backend.close)
        with self.assertRaisesMessage(BackendUnavailable, "cannot be reached"):
            self.in_greenlet(backend.send, "tests.one", {})

    def test_options_of_tls(self):
        connection = {
            "ssl_ca_certs": self.server.ca,
            "ssl_min_version": 771,  # TLS 1.2.
            "ssl_ciphers": "ECDHE+AESGCM",
        }
        backend = self.make_backend({"CONNECTION": connection})
        self.addCleanup(backend.close)
        self.in_greenlet(backend.send, "tests.one", {"number": 1})
        received = self.in_greenlet(backend.receive, ["tests.one"])
        self.assertEqual(received, ("tests.one", {"number": 1}))
