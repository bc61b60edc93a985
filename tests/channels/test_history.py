"""
Many senders and receivers, in threads of several processes, while things fail.

A history is what they saw. Nothing in it comes twice, messages of one sender
are in order, and what is lost is what was on its way to a receiver.
"""

import itertools
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import django
from django.channels.backends.contract import PATIENCE
from django.test import override_settings

from .fault_proxy import FaultProxy
from .redis_servers import RedisServer, Sentinels
from .test_redis import BACKEND, RedisTestCase, make_backend
from .test_redis_faults import send

PROCESSES, THREADS, MESSAGES = 2, 3, 400


class History:
    """Runs the processes, and tells what they saw."""

    def __init__(self, location):
        channels = {"default": {"BACKEND": BACKEND, "LOCATION": location}}
        self.settings = json.dumps({"CHANNELS": channels})
        self.receivers = [
            self.start("receive", f"receiver{number}") for number in range(PROCESSES)
        ]
        self.senders = [
            self.start("send", f"sender{number}", MESSAGES)
            for number in range(PROCESSES)
        ]

    def start(self, role, name, *arguments):
        root, tests = Path(django.__file__).parent.parent, Path(__file__).parent.parent
        arguments = [self.settings, role, name, THREADS, *arguments]
        return subprocess.Popen(
            [sys.executable, "-m", "channels.history", *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=tests,
            env={**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{tests}"},
        )

    def begin(self):
        """Let all senders go on at once, when each has sent its first messages."""
        for sender in self.senders:
            sender.stdout.readline()
        for sender in self.senders:
            sender.stdin.write("\n")
            sender.stdin.flush()

    def is_sending(self):
        return any(sender.poll() is None for sender in self.senders)

    def finish(self, backend):
        """Let the receivers end when they have all, and return what was seen."""
        unknown = [
            tuple(item)
            for sender in self.senders
            for thread in json.loads(sender.communicate(timeout=60)[0])
            for item in thread
        ]
        deadline = time.monotonic() + PATIENCE
        while backend.depths() and time.monotonic() < deadline:
            time.sleep(0.05)
        received = [
            [tuple(item) for item in thread]
            for receiver in self.receivers
            for thread in json.loads(self.end(receiver, backend))
        ]
        while backend.receive(["history.end"], 0):
            pass
        return unknown, received

    def end(self, receiver, backend):
        """Tell a receiver to end until it does, and return what it has printed."""
        deadline = time.monotonic() + 60
        while True:
            # A fault may take what one is told, and another receiver, too.
            for _ in range(PROCESSES * THREADS):
                send(backend, "history.end", {})
            try:
                return receiver.communicate(timeout=0.5)[0]
            except subprocess.TimeoutExpired:
                if time.monotonic() > deadline:
                    raise

    def kill(self):
        for process in [*self.senders, *self.receivers]:
            if process.poll() is None:
                process.kill()
            process.communicate()


# As in the processes.
@override_settings(SECRET_KEY="history")
class HistoryTests(RedisTestCase):
    def check(self, location, backend, fault, pause):
        """Run a history while `fault()` is called every `pause` seconds."""
        history, faults = History(location), 0
        self.addCleanup(history.kill)
        history.begin()
        deadline = time.monotonic() + 60
        while history.is_sending() and time.monotonic() < deadline:
            time.sleep(pause)
            if history.is_sending():
                fault()
                faults += 1
        unknown, received = history.finish(backend)
        everything = list(itertools.chain.from_iterable(received))
        sent = {
            (f"sender{process}.{thread}", number)
            for process in range(PROCESSES)
            for thread in range(THREADS)
            for number in range(MESSAGES)
        }
        self.assertEqual(len(everything), len(set(everything)), "received twice")
        self.assertLessEqual(set(everything), sent)
        for thread in received:
            for sender in {sender for sender, _ in thread}:
                numbers = [number for name, number in thread if name == sender]
                self.assertEqual(numbers, sorted(numbers), "out of order")
        lost = sent - set(everything) - set(unknown)
        self.assertLessEqual(len(lost), faults * PROCESSES * THREADS)
        self.assertGreater(len(everything), len(sent) / 2)
        self.assertEqual(backend.depths(), {})
        return lost, faults

    def test_without_faults_nothing_is_lost(self):
        with RedisServer() as server:
            backend = make_backend(LOCATION=server.url)
            lost, _ = self.check(server.url, backend, lambda: None, 0.2)
            backend.close()
        self.assertEqual(lost, set())

    def test_connections_that_fail(self):
        with RedisServer() as server, FaultProxy(server.port) as proxy:
            backend = make_backend(LOCATION=server.url)
            faults = itertools.cycle(
                [
                    proxy.cut,
                    lambda: proxy.drop_reply(b"BLMPOP"),
                    lambda: proxy.drop_reply(b"EVALSHA"),
                    lambda: proxy.cut(reset=True),
                    lambda: proxy.drop_request(b"EVALSHA"),
                ]
            )
            location = server.url_at(proxy.port)
            _, faults = self.check(location, backend, lambda: next(faults)(), 0.15)
            backend.close()
        self.assertGreater(faults, 1)

    def test_failover(self):
        with Sentinels() as sentinels:
            hosts = ",".join(f"{host}:{port}" for host, port in sentinels.addresses)
            location = f"redis+sentinel://{hosts}/{sentinels.name}"
            backend = make_backend(LOCATION=location)
            fault = iter([sentinels.failover])
            self.check(location, backend, lambda: next(fault, lambda: None)(), 0.1)
            backend.close()
