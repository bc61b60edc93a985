import threading
from unittest import mock

from django.channels import BackendUnavailable, channels, consumer
from django.channels.backends.contract import PATIENCE
from django.channels.background import background
from django.channels.exceptions import Unhealthy
from django.channels.health import (
    PING_CHANNEL,
    HealthCheck,
    check_backend,
    check_worker,
    take_back,
)
from django.channels.registry import registry
from django.channels.worker import Worker
from django.test import SimpleTestCase, override_settings

from .utils import MEMORY, with_workers

REMOTE = "channels.remote.RemoteBackend"
BOTH = {"default": {"BACKEND": REMOTE}, "other": {"BACKEND": REMOTE}}


def away(backend):
    """Return a context in which the store of `backend` does not answer."""
    error = BackendUnavailable("No route to 10.0.0.1.")
    return mock.patch.multiple(
        backend,
        push=mock.Mock(side_effect=error),
        pop=mock.Mock(side_effect=error),
    )


@override_settings(CHANNELS=BOTH)
class CheckBackendTests(SimpleTestCase):
    def test_passes_and_leaves_nothing(self):
        for alias in BOTH:
            with self.subTest(alias=alias):
                check_backend(alias)
                self.assertEqual(channels[alias].queues(), {})

    def test_store_that_is_away(self):
        msg = "The channel backend 'other', remote, fails: No route to 10.0.0.1."
        with away(channels["other"]):
            with self.assertRaisesMessage(Unhealthy, msg):
                check_backend("other")
        check_backend("other")

    def test_store_that_loses_messages(self):
        msg = "The channel backend 'default' did not return a message within 0.1 sec"
        with mock.patch.object(channels["default"], "push"):
            with self.assertRaisesMessage(Unhealthy, msg):
                check_backend(timeout=0.1)

    def test_store_that_returns_something_else(self):
        with mock.patch.object(
            channels["default"], "receive", return_value=("other", {"token": "1"})
        ):
            with self.assertRaises(Unhealthy):
                check_backend()


@with_workers
@override_settings(CHANNELS=BOTH)
class CheckWorkerTests(SimpleTestCase):
    def setUp(self):
        self.enterContext(registry.isolate())
        self.addCleanup(background.stop)

    def start(self, alias, **options):
        worker = Worker(channels[alias], **options)
        thread = threading.Thread(target=worker.run, daemon=True)
        thread.start()
        self.addCleanup(thread.join, PATIENCE)
        self.addCleanup(worker.stop)

    def test_passes_and_leaves_nothing(self):
        for alias in BOTH:
            with self.subTest(alias=alias):
                self.start(alias)
                check_worker(alias, PATIENCE)
                self.assertEqual(channels[alias].queues(), {})

    def test_passes_with_a_worker_that_serves_other_channels(self):
        self.start("default", serves=lambda name: False)
        check_worker(timeout=PATIENCE)

    def test_no_worker(self):
        self.start("other")
        msg = (
            "No worker of the channel backend 'default' answered within 0.1 seconds: "
            "none runs, or all are busy."
        )
        with self.assertRaisesMessage(Unhealthy, msg):
            check_worker(timeout=0.1)
        self.assertEqual(channels["default"].queues(), {})

    def test_worker_that_is_busy(self):
        begun, release = threading.Event(), threading.Event()
        self.addCleanup(release.set)

        @consumer("tests.hold")
        def hold(**kwargs):
            begun.set()
            release.wait(PATIENCE)

        self.start("default")
        channels["default"].send("tests.hold", {})
        self.assertTrue(begun.wait(PATIENCE))
        with self.assertRaises(Unhealthy):
            check_worker(timeout=0.1)
        release.set()
        check_worker(timeout=PATIENCE)
        self.assertEqual(channels["default"].queues(), {})

    def test_store_that_is_away(self):
        with away(channels["default"]), self.assertRaises(Unhealthy):
            check_worker()

    def test_checks_without_a_worker_do_not_fill_the_store(self):
        """Those that have ended without taking their message back do not either."""
        backend = channels["default"]
        for number in range(5):
            backend.send(PING_CHANNEL, {"response_channel": f"gone!{number}"})
        for _ in range(3):
            with self.assertRaises(Unhealthy):
                check_worker(timeout=0.01)
        self.assertEqual(backend.queues(), {})

    def test_takes_back_nothing_of_another_check(self):
        backend = channels["default"]
        for name in ["first", "second", "third"]:
            backend.send(PING_CHANNEL, {"response_channel": f"{name}!1"})
        self.assertIs(take_back(backend, "second!"), True)
        self.assertIs(take_back(backend, "second!"), False)
        self.assertEqual(backend.depths(), {PING_CHANNEL: 1})
        _, message = backend.receive([PING_CHANNEL])
        self.assertEqual(message["response_channel"], "third!1")

    @override_settings(CHANNELS={"default": {"BACKEND": MEMORY}})
    def test_threads_of_this_process_answer_on_a_process_local_backend(self):
        check_worker(timeout=PATIENCE)
        self.assertEqual(channels["default"].queues(), {})


class PingConsumerTests(SimpleTestCase):
    def test_is_there_on_all_backends_but_only_for_who_asks(self):
        for alias in ["default", "other"]:
            with self.subTest(alias=alias):
                count = registry.count(alias)
                self.assertTrue(registry.get(PING_CHANNEL, alias).internal)
                self.assertIn(PING_CHANNEL, registry.channels(alias, internal=True))
                self.assertNotIn(PING_CHANNEL, registry.channels(alias))
                self.assertEqual(count, len(registry.channels(alias)))

    def test_a_consumer_of_the_site_takes_its_place(self):
        with registry.isolate():
            consumer(PING_CHANNEL)(lambda **kwargs: None)
            self.assertEqual(registry.channels(internal=True).count(PING_CHANNEL), 1)
            self.assertIn(PING_CHANNEL, registry.channels())
            self.assertNotIn(PING_CHANNEL, registry.channels("other"))


@with_workers
@override_settings(CHANNELS=BOTH)
class HealthCheckTests(SimpleTestCase):
    def setUp(self):
        self.addCleanup(background.stop)

    def get(self, url, method="GET", **options):
        """Return (status, headers, body) of a response of the middleware."""
        started = []

        def application(environ, start_response):
            start_response("200 OK", [])
            return [b"application"]

        def start_response(*arguments):
            started.append(arguments)

        environ = {"PATH_INFO": url, "REQUEST_METHOD": method}
        parts = HealthCheck(application, **options)(environ, start_response)
        ((status, headers),) = started
        return status, dict(headers), b"".join(parts)

    def test_healthy(self):
        status, headers, body = self.get("/healthz")
        self.assertEqual((status, body), ("200 OK", b"OK\n"))
        self.assertEqual(
            headers,
            {
                "Content-Type": "text/plain; charset=utf-8",
                "Content-Length": "3",
                "Cache-Control": "no-store",
            },
        )

    def test_store_that_is_away_is_logged_and_not_told(self):
        with (
            away(channels["default"]),
            self.assertLogs("django.channels.health", "WARNING") as logs,
        ):
            for path in ["/healthz", "/healthz/worker"]:
                status, _, body = self.get(path)
                self.assertEqual(status, "503 Service Unavailable")
                self.assertEqual(body, b"No messages.\n")
        self.assertIn("No route to 10.0.0.1", logs.output[0])

    def test_no_worker(self):
        with self.assertLogs("django.channels.health", "WARNING"):
            status, _, body = self.get("/healthz/worker", timeout=0.1)
        self.assertEqual(
            (status, body), ("503 Service Unavailable", b"No worker answers.\n")
        )
        self.assertEqual(self.get("/healthz")[0], "200 OK")

    @override_settings(CHANNELS={"default": {"BACKEND": MEMORY}})
    def test_worker_of_the_process(self):
        self.assertEqual(self.get("/healthz/worker")[0], "200 OK")

    def test_head(self):
        status, headers, body = self.get("/healthz", "HEAD")
        self.assertEqual((status, body), ("200 OK", b""))
        self.assertEqual(headers["Content-Length"], "3")

    def test_other_methods(self):
        status, headers, _ = self.get("/healthz", "POST")
        self.assertEqual(status, "405 Method Not Allowed")
        self.assertEqual(headers["Allow"], "GET, HEAD")

    def test_other_paths_go_to_the_application(self):
        for path in ["/", "/healthz/", "/healthz/worker/1", "/other", ""]:
            with self.subTest(path=path):
                self.assertEqual(self.get(path)[2], b"application")

    def test_paths_can_be_chosen_and_left_out(self):
        options = {"path": "/live", "worker_path": None, "alias": "other"}
        self.assertEqual(self.get("/live", **options)[2], b"OK\n")
        self.assertEqual(self.get("/healthz", **options)[2], b"application")
        self.assertEqual(self.get("/healthz/worker", **options)[2], b"application")
        with away(channels["other"]), self.assertLogs("django.channels.health"):
            self.assertEqual(self.get("/live", **options)[0], "503 Service Unavailable")
