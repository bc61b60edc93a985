"""Tests of serving sites in processes of their own."""

import shutil
import signal
import subprocess
import sys
import unittest
from unittest import mock

from fork import browsing
from fork.base import Problem

SERVER = f"{sys.executable} -m http.server --bind 127.0.0.1"


@unittest.skipUnless(shutil.which("sh"), "Needs a shell.")
class ServingTests(unittest.TestCase):
    def serve(self, script):
        port = browsing.free_port()
        command = ["sh", "-c", script.format(server=f"{SERVER} {port}")]
        return browsing.serving(command, f"http://127.0.0.1:{port}/", 60)

    def test_server_ends_with_the_context(self):
        with self.serve("exec {server}") as process:
            self.assertIsNone(process.poll())
        self.assertEqual(process.poll(), -signal.SIGTERM)

    def test_server_that_does_not_end_is_killed(self):
        with (
            self.assertRaises(subprocess.TimeoutExpired),
            self.serve("trap '' TERM; exec {server}") as process,
        ):
            self.enterContext(mock.patch.object(browsing, "PATIENCE", 0.1))
        self.assertEqual(process.poll(), -signal.SIGKILL)

    def test_server_that_fails(self):
        with self.assertRaisesRegex(Problem, "The server has ended: no port"):
            self.serve("echo no port; exit 1").__enter__()
