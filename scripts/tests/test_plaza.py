"""
The example site in a browser: its own tests of the pages, and a set-up as in
production, whose workers are killed while people chat.
"""

import json
import os
import shutil
import signal
import sys
import tempfile
import unittest

from fork import screenshots
from fork.base import ROOT
from fork.plaza import MANAGE, PATIENCE, SITE, production, site_environment
from fork.suites import run_unittest

from .browser import BrowserTestCase, needs_browser, wait_until


class PictureTests(unittest.TestCase):
    def test_each_page_has_pictures(self):
        names = {path.stem for path in screenshots.FOLDER.glob("*.png")}
        pages = "admin chat login room signups status visits".split()
        sizes = screenshots.SIZES
        self.assertEqual(names, {f"{page}-{size}" for page in pages for size in sizes})

    def test_documentation_shows_them(self):
        for name, image in screenshots.IMAGES.items():
            picture = (screenshots.FOLDER / f"{name}.png").read_bytes()
            self.assertEqual((ROOT / image).read_bytes(), picture, image)


@needs_browser
class PlazaTests(BrowserTestCase):
    def setUp(self):
        self.folder = self.enter(tempfile.TemporaryDirectory())

    def test_pages(self):
        env = site_environment(self.folder) | {"PLAZA_BROWSER": "chrome"}
        # Selenium would ask hosts beyond the machine where it is.
        env["SE_CHROMEDRIVER"] = shutil.which("chromedriver")
        command = (sys.executable, MANAGE, "test", "plaza", "--noinput")
        result = run_unittest(*command, cwd=SITE, env=env)
        self.assertTrue(result.ok, result)
        self.assertGreater(result.passed, 0)

    def test_chat_outlives_its_workers(self):
        self.site = self.enter(production(self.folder))
        browser = self.start_browser()
        ada = self.enter_room(browser, "ada", "127.0.0.1")
        grace = self.enter_room(browser, "grace", "localhost")
        self.say(ada, grace, "Hello")
        wait_until(lambda: len(self.workers()) == 2, PATIENCE)
        killed = self.workers()
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
        self.say(ada, grace, "Are you there?")
        self.say(grace, ada, "I am.")
        wait_until(lambda: len(self.workers() - killed) == 2, PATIENCE)
        for window in (ada, grace):
            data = window.data("#room")
            self.assertEqual((data["state"], data["connections"]), ("open", "1"))
            self.assertEqual(window.find("#people").text.split(), ["ada", "grace"])
        self.check_status(grace, self.workers() - killed)

    def enter_room(self, browser, name, host):
        """Return a window of a user in a room."""
        window = self.site.window(browser, host)
        window.log_in(name, name)
        window.open("/chat/fountain/")
        window.wait_for_data("#room", state="open")
        return window

    def workers(self):
        """Return the ids of the processes that have said that they work."""
        (about,) = json.loads(self.site.manage("channels", "--json"))["backends"]
        return {worker["pid"] for worker in about["workers"]}

    def say(self, speaker, listener, text):
        speaker.fill(text=text)
        speaker.submit("#say")
        listener.wait_for("#lines", text)

    def check_status(self, window, workers):
        """Look at the page that shows the staff these workers."""
        window.driver.delete_all_cookies()
        window.log_in("admin", "admin")
        window.open("/status/")
        for pid in workers:
            window.wait_for("#figures", str(pid))
