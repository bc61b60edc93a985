"""The tutorial on channels, followed to the letter in a new environment."""

import os
import re
import shutil
import sys
import tempfile
import unittest
import urllib.request
from pathlib import Path

from fork import tutorial
from fork.base import ROOT, Problem
from fork.system import in_ci

from .browser import BrowserTestCase, needs_browser, wait_until

try:
    from selenium.webdriver.common.by import By
except ImportError:
    By = None

PATIENCE = 60  # Seconds.

pages = tutorial.load_pages()

# The test environment may have a Redis server where the system has none.
PATH = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"


@needs_browser
@unittest.skipUnless(
    shutil.which("redis-server", path=PATH) or in_ci(), "Needs redis-server."
)
class TutorialTests(BrowserTestCase):
    """`reader` follows the tutorial, and `browsers` are those of its two users."""

    def setUp(self):
        web, redis = self.free_port(), self.free_port()
        self.url = f"http://127.0.0.1:{web}"
        folder = Path(tempfile.mkdtemp(prefix="tutorial-"))
        self.addCleanup(shutil.rmtree, folder, ignore_errors=True)
        changes = {
            "/path/to/your/local/clone": ROOT,
            "127.0.0.1:6379": f"127.0.0.1:{redis}",
        }
        options = {
            "python manage.py runserver": f"127.0.0.1:{web}",
            "python manage.py runinterface": f"127.0.0.1:{web}",
            "redis-server": f"--port {redis} --save '' --dir {folder}",
        }
        variables = {"PATH": PATH, "PYTHONUNBUFFERED": "1"}
        self.reader = tutorial.Reader(folder, changes, options, **variables)
        self.addCleanup(self.reader.close)
        self.text = (pages.DOCS / f"{tutorial.PAGE}.txt").read_text()
        self.browsers = {}

    def test_chat_in_development_and_as_in_production(self):
        steps = tutorial.steps(pages.parse(self.text))
        served = 0
        for step in steps:
            result = self.reader.take(step)
            if not isinstance(step, tutorial.Command):
                continue
            if step.serves:
                self.wait_for(step, result)
            if step.serves_pages:
                served += 1
                self.chat(f"served by {step.line}")
            if step.line == "python manage.py test":
                self.assertRegex(
                    result, rf"(?s)Ran {self.count_tests(steps)} tests.*OK"
                )
        self.assertEqual(served, 2)
        self.chat("at the end")
        self.assertLess(len(self.reader.typed), tutorial.MOST_LINES)

    def count_tests(self, steps):
        (file,) = [
            step for step in steps if getattr(step, "name", "").endswith("tests.py")
        ]
        return file.text.count("def test_")

    def wait_for(self, step, server):
        """Wait until a server serves, and has printed what the page says."""

        def is_ready():
            printed = server.printed
            if not all(line in printed for line in step.printed):
                return False
            if not step.serves_pages:
                return bool(printed)
            try:
                login = f"{self.url}/admin/login/"
                return urllib.request.urlopen(login, timeout=PATIENCE).status == 200
            except OSError:
                return False

        try:
            wait_until(is_ready, PATIENCE)
        except AssertionError:
            self.fail(f"'{step.line}' is not ready. It has printed:\n{server.printed}")

    def chat(self, where):
        """Have the users speak, and hear each other."""
        if not self.browsers:
            for name in re.findall(r"createsuperuser --username (\w+)", self.text):
                self.browsers[name] = self.log_in(name)
        self.assertEqual(len(self.browsers), 2)
        for name in self.browsers:
            self.say(name, f"{name} speaks, {where}")

    def log_in(self, name):
        """Return a browser that shows the page of the chat to a user."""
        (address,) = set(re.findall(r"http://127\.0\.0\.1:8000(/\S+)", self.text))
        browser = self.start_browser()
        browser.get(f"{self.url}{address}")
        browser.find_element(By.NAME, "username").send_keys(name)
        browser.find_element(By.NAME, "password").send_keys(tutorial.PASSWORD)
        browser.find_element(By.CSS_SELECTOR, "[type=submit]").click()
        wait_until(lambda: browser.current_url == f"{self.url}{address}", PATIENCE)
        return browser

    def say(self, name, text):
        browser = self.browsers[name]
        field = browser.find_element(By.NAME, "text")
        field.send_keys(text)

        def is_said():
            # A page that has not connected again yet keeps the text.
            if field.get_property("value"):
                browser.find_element(By.TAG_NAME, "button").click()
            return not field.get_property("value")

        wait_until(is_said, PATIENCE)
        for other in self.browsers.values():
            log = other.find_element(By.CSS_SELECTOR, "[role=log]")
            wait_until(lambda: f"{name}: {text}" in log.text.splitlines(), PATIENCE)


class StepsTests(unittest.TestCase):
    def steps(self, text):
        return tutorial.steps(pages.parse(text))

    def test_commands_and_what_they_print(self):
        first, second = self.steps(
            ".. console::\n\n    $ first\n    $ redis-server\n\n"
            ".. code-block:: text\n\n    Ready\n    to go\n"
        )
        self.assertEqual(first, ("first", []))
        self.assertFalse(first.serves)
        self.assertEqual(second, ("redis-server", ["Ready", "to go"]))
        self.assertTrue(second.serves)
        self.assertFalse(second.serves_pages)

    def test_files(self):
        first, second = self.steps(
            ".. code-block:: python\n    :caption: ``chat/a.py``\n\n"
            "    def f():\n\n        pass\n\n\nText::\n\n    no step\n\n"
            ".. code-block:: python\n    :caption: ``b.py``, at the end\n\n    b = 1\n"
        )
        self.assertEqual(first, ("chat/a.py", "def f():\n\n    pass\n", False))
        self.assertEqual(second, ("b.py", "b = 1\n", True))

    def test_block_that_is_no_step(self):
        for text in [
            ".. code-block:: python\n\n    a = 1\n",
            ".. code-block:: python\n    :caption: The script\n\n    a = 1\n",
            ".. code-block:: text\n\n    printed by nothing\n",
            ".. console::\n\n    no prompt\n",
        ]:
            with self.subTest(text=text), self.assertRaises(Problem):
                self.steps(text)


@unittest.skipUnless(os.name == "posix", "Needs terminals.")
class ReaderTests(unittest.TestCase):
    def setUp(self):
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.reader = tutorial.Reader(self.folder, {"6379": 7000}, {"pwd": "-P"})

    def test_typed_lines(self):
        (self.folder / "a.py").write_text("import a\n\n# Here.\n")
        self.reader.take(tutorial.File("a.py", "import a\n\na.run()\n", False))
        self.reader.take(tutorial.File("a.py", "port = 6379\n", True))
        self.assertEqual(self.reader.typed, ["a.run()", "port = 6379"])
        text = (self.folder / "a.py").read_text()
        self.assertEqual(text, "import a\n\na.run()\n\nport = 7000\n")

    def test_commands_follow_each_other(self):
        for line in ["mkdir inner", "cd inner", "export NAME=value"]:
            self.reader.take(tutorial.Command(line, []))
        inner = str((self.folder / "inner").resolve())
        self.assertIn(inner, self.reader.take(tutorial.Command("pwd", [])))
        output = self.reader.take(tutorial.Command("echo $NAME", []))
        self.assertEqual(output.strip(), "value")

    def test_command_that_fails(self):
        with self.assertRaisesRegex(Problem, "(?s)'ls nowhere' failed:.*nowhere"):
            self.reader.take(tutorial.Command("ls nowhere", []))

    def test_answers(self):
        line = (
            "read -sp 'Password: ' a; read -sp 'Password (again): ' b; echo; echo $a$b"
        )
        output = self.reader.take(tutorial.Command(f"# createsuperuser\n{line}", []))
        self.assertIn(tutorial.PASSWORD * 2, output)
