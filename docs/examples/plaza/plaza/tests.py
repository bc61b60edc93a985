"""
The pages in a browser, and the tests of the site as a whole.

PLAZA_BROWSER=chrome has the browser started. It needs the package selenium, and the
driver of the browser.
"""

import os
import shutil
from threading import Event
from unittest import mock

from chat.models import Room

from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.contrib.staticfiles.testing import StaticLiveServerTestCase
from django.test.channels import ChannelsLiveServerTestCase
from django.test.selenium import SeleniumTestCase, SeleniumTestCaseBase
from django.urls import reverse

SeleniumTestCaseBase.browsers = os.environ.get("PLAZA_BROWSER", "").split()
SeleniumTestCaseBase.headless = True

# Containers have neither room nor rights for more.
ARGUMENTS = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
ARGUMENTS += ["--disable-background-networking", "--disable-component-update"]


class PlazaTests(
    ChannelsLiveServerTestCase, StaticLiveServerTestCase, SeleniumTestCase
):
    host = "127.0.0.1"
    implicit_wait = 0

    @classmethod
    def create_options(cls):
        options = SeleniumTestCaseBase.create_options(cls)
        if cls.browser == "chrome":
            options.binary_location = shutil.which("chromium") or ""
            for argument in ARGUMENTS:
                options.add_argument(argument)
        return options

    def window(self, name=None, host="127.0.0.1", **fields):
        """Return a window of a new user `name`, or of nobody."""
        from .windows import Window

        window = Window(self.selenium, f"http://{host}:{self.server_thread.port}")
        if name:
            User.objects.create_user(name, password=name, **fields)
            window.log_in(name, name)
        return window

    def tearDown(self):
        # Pages that are open would go on asking while the next test begins.
        first, *others = self.selenium.window_handles
        for handle in others:
            self.selenium.switch_to.window(handle)
            self.selenium.close()
        self.selenium.switch_to.window(first)
        self.run_consumers()

    def test_two_people_chat(self):
        room = Room.objects.create(name="Garden", slug="garden")
        ada = self.window("ada")
        grace = self.window("grace", host="localhost")
        ada.open(room.get_absolute_url())
        # Or she is told of both at once, and nobody came in.
        ada.wait_for("#people", "ada")
        grace.open(room.get_absolute_url())
        for window in (ada, grace):
            window.wait_for("#people", "ada")
            window.wait_for("#people", "grace")
        ada.wait_for("#lines", "grace came in")
        ada.fill(text="Are <b>you</b> here?")
        ada.submit("#say")
        grace.wait_for("#lines", "Are <b>you</b> here?")
        grace.fill(text="I am.")
        grace.submit("#say")
        ada.wait_for("#lines", "I am.")
        grace.open(reverse("chat:lobby"))
        ada.wait_for("#lines", "grace left")
        self.assertNotIn("grace", ada.find("#people").text)

    def test_lost_connection_loses_no_line(self):
        room = Room.objects.create(name="Garden", slug="garden")
        ada = self.window("ada")
        ada.open(room.get_absolute_url())
        ada.wait_for_data("#room", state="open", connections="1")
        # Nobody is told of the lines, so that the page has to ask for them.
        room.lines.create(author=User.objects.get(), text="Lost on the way")
        ada.fill(text="Heard")
        ada.submit("#say")
        ada.wait_for("#lines", "Heard")
        room.lines.create(author=User.objects.get(), text="Said meanwhile")
        room.group.send({"close": 1012})
        ada.fill(text="Typed meanwhile")
        ada.submit("#say")
        ada.wait_for_data("#room", state="open", connections="2")
        texts = ["Lost on the way", "Heard", "Said meanwhile", "Typed meanwhile"]
        ada.wait(lambda: self.lines(ada) == texts, "all lines")
        self.assertEqual(list(room.lines.values_list("text", flat=True)), texts)

    def lines(self, window):
        """Return what is said in a room, also above what can be seen."""
        found = window.find("#lines").find_elements("css selector", "p")
        return [line.get_property("textContent") for line in found]

    def test_one_who_was_logged_out_keeps_the_text(self):
        room = Room.objects.create(name="Garden", slug="garden")
        ada = self.window("ada")
        ada.open(room.get_absolute_url())
        ada.wait_for("#people", "ada")
        Session.objects.all().delete()
        ada.fill(text="Typed in vain")
        for _ in range(2):
            ada.submit("#say")
            ada.wait_for_data("#room", state="refused")
            self.assertEqual(ada.find("#text").get_property("value"), "Typed in vain")
        self.assertIn("Log in", ada.find("#error").text)

    def test_signups_appear_by_stream_and_by_poll(self):
        window = self.window()
        for number, mode in enumerate(["stream", "poll"]):
            with self.subTest(mode):
                window.open(reverse("signups:home"))
                window.find(f"#modes [value={mode}]").click()
                window.wait_for_data("#news", state=mode)
                other = self.window()
                other.open(reverse("signups:home"))
                other.fill(name=f"Ada <{number}>", email=f"{number}@example.com")
                other.submit("form.form")
                other.wait_for(".success", f"See you there, Ada <{number}>!")
                window.wait_for("#names", f"Ada <{number}>")
                window.wait_for("#total", str(number + 1))

    @mock.patch("status.views.CHORES", 400)
    def test_status_is_drawn(self):
        # They take 20 seconds, or until there is a curve.
        seen = Event()
        patch = mock.patch("status.consumers.time", sleep=seen.wait)
        self.enterContext(patch)
        window = self.window("admin", is_staff=True)
        window.open(reverse("status:home"))
        window.wait_for_data("#status", state="open")
        window.submit(".controls form")
        window.wait_for(".success", "400 chores are handed out.")
        window.wait(self.is_drawn(window), "a curve")
        seen.set()
        self.assertIn("status.chore", window.find("#figures").text)

    def is_drawn(self, window):
        """Return a function that tells whether the plot rises above zero."""
        return lambda: (
            int(window.data("#plot").get("samples", 0)) > 1
            and int(window.find("#highest").text) > 0
        )
