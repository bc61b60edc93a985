"""Sites in processes of their own, and a browser to look at them."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request
from contextlib import contextmanager, suppress

from .base import Problem

try:
    from selenium import webdriver
except ImportError:
    webdriver = None

# Seconds for an answer of a server, and for its end.
PATIENCE = 60

# Without these Chromium looks for hosts beyond the machine, or for a sandbox.
ARGUMENTS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


def free_port():
    """Return a port of 127.0.0.1 at which nobody listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def wait_until(condition, seconds):
    """Return once a function returns true. Raise AssertionError if it takes longer."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"Not true within {seconds} seconds.")
        time.sleep(0.1)


@contextmanager
def serving(command, url, seconds, **options):
    """
    Run a command, which is a server, within the context, which begins when `url` is
    there: within so many seconds. Raise Problem with what it printed if it ends.
    """
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            **options,
        )

        def is_served():
            if process.poll() is not None:
                output.seek(0)
                raise Problem(f"The server has ended: {output.read()}")
            try:
                return urllib.request.urlopen(url, timeout=PATIENCE).status == 200
            except OSError:
                return False

        try:
            wait_until(is_served, seconds)
            yield process
        finally:
            # A reloader's child as well.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                raise


@contextmanager
def browser():
    """Yield a browser, which ends with the context."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        for argument in (*ARGUMENTS, f"--user-data-dir={profile}"):
            options.add_argument(argument)
        service = webdriver.ChromeService(shutil.which("chromedriver"))
        driver = webdriver.Chrome(options, service)
        try:
            yield driver
        finally:
            driver.quit()
