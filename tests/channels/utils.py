import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from unittest import mock

import django
from django.channels.backends.contract import PATIENCE
from django.channels.background import background

MEMORY = "django.channels.backends.memory.MemoryBackend"

# For tests that have workers of their own beside them.
with_workers = mock.patch.object(background, "alone", False)


def wait_until(condition):
    """Return once `condition()` is true. Raise AssertionError if it does not become."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"Not true within {PATIENCE} seconds.")
        time.sleep(0.005)


def run_in_fork(function):
    """Return what `function` returns in a fork of this process, as JSON has it."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(write, json.dumps(function()).encode())
        finally:
            os._exit(0)
    os.close(write)
    try:
        if not select.select([read], [], [], PATIENCE)[0]:
            os.kill(pid, signal.SIGKILL)
        return json.loads(os.read(read, 65536) or b"null")
    finally:
        os.close(read)
        os.waitpid(pid, 0)


def run_script(source, *arguments, timeout=PATIENCE):
    """Run Python source in a process of its own. Return the CompletedProcess."""
    root, tests = Path(django.__file__).parent.parent, Path(__file__).parent.parent
    return subprocess.run(
        [sys.executable, "-c", source, *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        env={**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{tests}"},
    )


def in_ci():
    """Return whether nothing that a test needs may be missing."""
    return bool(os.environ.get("CI"))
