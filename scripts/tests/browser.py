"""Sites in processes of their own, in a browser."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import unittest
import urllib.request

from fork.system import in_ci

try:
    from selenium import webdriver
except ImportError:
    webdriver = None

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

needs_browser = unittest.skipUnless(
    (webdriver and shutil.which("chromedriver")) or in_ci(),
    "Needs selenium, Chromium and its driver.",
)


def wait_until(condition, seconds):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"Not true within {seconds} seconds.")
        time.sleep(0.1)


class BrowserTestCase(unittest.TestCase):
    """A test that serves a site with serve(), and looks at it with `browser`."""

    def free_port(self):
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            return sock.getsockname()[1]

    def serve(self, command, url, seconds, **options):
        """Run a command until the end of the test. Return when `url` is there."""
        output = tempfile.TemporaryFile("w+")
        self.addCleanup(output.close)
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            **options,
        )
        # A reloader's child as well.
        self.addCleanup(process.wait, 60)
        self.addCleanup(os.killpg, process.pid, signal.SIGTERM)

        def is_served():
            if process.poll() is not None:
                output.seek(0)
                self.fail(f"The server has ended: {output.read()}")
            try:
                return urllib.request.urlopen(url).status == 200
            except OSError:
                return False

        wait_until(is_served, seconds)

    def start_browser(self):
        """Return a browser, until the end of the test."""
        options = webdriver.ChromeOptions()
        options.binary_location = shutil.which("chromium") or ""
        profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self.addCleanup(profile.cleanup)
        for argument in (*ARGUMENTS, f"--user-data-dir={profile.name}"):
            options.add_argument(argument)
        service = webdriver.ChromeService(shutil.which("chromedriver"))
        browser = webdriver.Chrome(options, service)
        self.addCleanup(browser.quit)
        return browser
