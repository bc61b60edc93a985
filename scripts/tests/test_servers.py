"""Tests of the servers that a run of the tests needs beside it."""

import os
import subprocess
import sys
import time
import unittest
from pathlib import Path

from fork import servers, system

SCRIPT = """
import sys, time
from fork import servers

with servers.redis_server(sys.executable) as variables:
    print(variables["CHANNELS_TEST_REDIS"], flush=True)
    time.sleep(60)
"""


@unittest.skipUnless(os.name == "posix", "Needs Unix sockets.")
class RedisServerTests(unittest.TestCase):
    def setUp(self):
        if not system.find("redis-server", "valkey-server") and not system.in_ci():
            self.skipTest("Needs redis-server.")

    def test_nothing_is_left_when_the_script_is_killed(self):
        root = Path(servers.__file__).parent.parent
        script = subprocess.Popen(
            [sys.executable, "-c", SCRIPT],
            env={**os.environ, "PYTHONPATH": str(root)},
            stdout=subprocess.PIPE,
            text=True,
        )
        with script:
            url = script.stdout.readline()
            script.kill()
        folder = Path(url.removeprefix("unix://").partition("/socket")[0])
        deadline = time.monotonic() + servers.PATIENCE
        while folder.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        self.assertFalse(folder.exists())

    def test_nothing_is_left_at_the_end(self):
        with servers.redis_server(sys.executable) as variables:
            path = Path(variables["CHANNELS_TEST_REDIS"].split("://")[1].split("?")[0])
            self.assertTrue(path.is_socket())
        self.assertFalse(path.parent.exists())
