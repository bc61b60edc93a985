"""The example site as scripts/demo serves it, in a browser."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.request

from fork.base import ROOT
from fork.system import in_ci

try:
    from selenium import webdriver
    from selenium.webdriver.common.by import By
except ImportError:
    webdriver = None

PATIENCE = 300  # Seconds; the first run installs everything.
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
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def wait_until(condition, seconds):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"Not true within {seconds} seconds.")
        time.sleep(0.1)


@unittest.skipUnless(
    (webdriver and shutil.which("chromedriver")) or in_ci(),
    "Needs selenium, Chromium and its driver.",
)
class DemoTests(unittest.TestCase):
    def setUp(self):
        port = free_port()
        self.url = f"http://127.0.0.1:{port}/"
        output = tempfile.TemporaryFile("w+")
        self.addCleanup(output.close)
        self.process = subprocess.Popen(
            [sys.executable, ROOT / "scripts/demo", "--port", str(port)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        # The reloader's child as well.
        self.addCleanup(self.process.wait, 30)
        self.addCleanup(os.killpg, self.process.pid, signal.SIGTERM)
        wait_until(self.is_served, PATIENCE)
        self.browser = self.start_browser()
        self.addCleanup(self.browser.quit)

    def is_served(self):
        self.assertIsNone(self.process.poll(), "scripts/demo has ended.")
        try:
            return urllib.request.urlopen(f"{self.url}admin/login/").status == 200
        except OSError:
            return False

    def start_browser(self):
        options = webdriver.ChromeOptions()
        options.binary_location = shutil.which("chromium") or ""
        profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self.addCleanup(profile.cleanup)
        for argument in (*ARGUMENTS, f"--user-data-dir={profile.name}"):
            options.add_argument(argument)
        service = webdriver.ChromeService(shutil.which("chromedriver"))
        return webdriver.Chrome(options, service)

    def visits(self):
        """Load the page and return the count that it shows."""
        self.browser.get(self.url)
        total = self.browser.find_element(By.CSS_SELECTOR, ".figures dd").text
        return int(total.replace(",", ""))

    def test_visits_are_counted(self):
        first = self.visits()
        self.assertIn("Plaza", self.browser.title)
        wait_until(lambda: self.visits() > first + 1, 30)

    def test_admin_logs_in(self):
        self.visits()
        self.browser.get(f"{self.url}admin/")
        for name in ("username", "password"):
            self.browser.find_element(By.NAME, name).send_keys("admin")
        self.browser.find_element(By.CSS_SELECTOR, "[type=submit]").click()
        self.assertIn("Site administration", self.browser.page_source)
        self.browser.get(f"{self.url}admin/visits/stats/")
        self.assertIn("127.0.0.1", self.browser.page_source)
