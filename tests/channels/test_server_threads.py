"""The interface server on a thread of the process of a site."""

from unittest import mock

# First, as it skips this module where gevent is missing.
from .sockets import gevent  # NOQA: F401

# isort: split

import socket
import urllib.request

from django.channels.backends.contract import PATIENCE, run_threads
from django.channels.interfaces.server import threads
from django.channels.interfaces.server.threads import ServerThread
from django.channels.signals import worker_started
from django.test import SimpleTestCase, override_settings
from django.test.liveserver import LiveInterface


def hello(environ, start_response):
    start_response("200 OK", [("Content-Length", "5")])
    return [b"hello"]


class StopTests(SimpleTestCase):
    def setUp(self):
        self.atexit = self.enterContext(mock.patch.object(threads, "atexit"))

    def start(self):
        thread = ServerThread(("127.0.0.1", 0), hello)
        thread.start()
        self.addCleanup(thread.stop)
        return thread

    def assertEnded(self, thread):
        thread.join(PATIENCE)
        self.assertIs(thread.is_alive(), False)
        with self.assertRaises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", thread.port))

    @override_settings(ALLOWED_HOSTS=["127.0.0.1"])
    def test_serves_until_it_is_stopped(self):
        thread = self.start()
        url = f"http://127.0.0.1:{thread.port}/"
        with urllib.request.urlopen(url, timeout=PATIENCE) as response:
            self.assertEqual(response.read(), b"hello")
        self.atexit.register.assert_called_once_with(thread.stop)
        thread.stop()
        self.assertEnded(thread)
        self.atexit.unregister.assert_called_once_with(thread.stop)

    def test_several_threads_may_stop_it(self):
        thread = self.start()
        run_threads(*[thread.stop] * 4)
        self.assertEnded(thread)

    def test_one_may_stop_it_when_its_hub_has_just_ended(self):
        thread = self.start()
        thread.stop()
        thread._has_ended.clear()
        self.addCleanup(thread._has_ended.set)
        with mock.patch.object(thread, "wait") as wait:
            thread.stop()
        wait.assert_called_once_with()

    def test_end_of_the_process_stops_it_after_an_interrupt(self):
        thread = self.start()
        with (
            mock.patch.object(thread, "wait", side_effect=KeyboardInterrupt),
            self.assertRaises(KeyboardInterrupt),
        ):
            thread.stop()
        self.atexit.unregister.assert_not_called()
        thread.stop()
        self.assertEnded(thread)
        self.atexit.unregister.assert_called_once_with(thread.stop)


class FailureTests(SimpleTestCase):
    def test_server_that_cannot_start(self):
        class Server(threads.InterfaceServer):
            def start(self):
                get_hubs.append(threads.get_hub())
                raise OSError("No room.")

        get_hubs = []
        thread = ServerThread(("127.0.0.1", 0), hello, server_class=Server)
        with self.assertRaisesMessage(OSError, "No room."):
            thread.start()
        thread.join(PATIENCE)
        # Its descriptors are given back.
        self.assertIsNone(get_hubs[0].loop)

    def test_live_server_without_its_address_leaves_nothing_behind(self):
        taken = self.enterContext(socket.create_server(("127.0.0.1", 0)))
        receivers = worker_started.receivers[:]
        port = taken.getsockname()[1]
        server = LiveInterface("127.0.0.1", lambda app: app, {"default": None}, port)
        with self.assertRaises(OSError):
            server.start()
        self.assertEqual(worker_started.receivers, receivers)
