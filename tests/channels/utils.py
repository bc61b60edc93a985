import json
import os
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from unittest import mock

import django
from django.channels.backends.contract import PATIENCE

MEMORY = "django.channels.backends.memory.MemoryBackend"

# For tests that have workers of their own beside them.
with_workers = mock.patch("django.channels.background.background.alone", False)


def wait_until(condition):
    """Return once `condition()` is true. Raise AssertionError if it does not become."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"Not true within {PATIENCE} seconds.")
        time.sleep(0.005)


def is_measured():
    """Return whether processes note what they run, which those killed cannot."""
    return "CHANNELS_COVERAGE" in os.environ


def end(process):
    """End a process that a test has started."""
    if is_measured() and process.poll() is None:
        for _ in range(2):
            # The second signal ends it whatever it is waiting for.
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(2)
    process.kill()


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
