"""Screenshots of the example site."""

import shutil
import tempfile
from contextlib import contextmanager

from .base import ROOT, say, shown
from .browsing import browser
from .plaza import SITE, production

FOLDER = SITE / "screenshots"

# Width and height of the window, and how it is named in files.
SIZES = {"phone": (390, 844), "desk": (1280, 800)}

# What the documentation shows.
IMAGES = {
    "room-desk": "docs/topics/_images/channels-plaza-room.png",
    "status-desk": "docs/topics/_images/channels-plaza-status.png",
}

# People who have been there before.
PAST = """
from chat.models import Line, Room
from django.contrib.auth.models import User
from signups.models import Signup
from visits.models import Stats

for number, count in enumerate([31, 18, 9, 4, 2, 1], 1):
    Stats.objects.create(ip_address=f"192.0.2.{number}", count=count)
names = "Grace Ada Edsger Barbara Alan Katherine Donald".split()
for name in names:
    Signup.objects.create(name=name, email=f"{name.lower()}@example.com")
room = Room.objects.get(slug="fountain")
for author, text in [
    ("grace", "Good morning! Is the water running yet?"),
    ("ada", "Since sunrise. The market people were here first."),
]:
    author = User.objects.get(username=author)
    Line.objects.create(room=room, author=author, text=text)
"""

TALK = [
    ("grace", "Then I bring the bread. Who comes to the feast tonight?"),
    ("ada", "Seven have signed up so far, the page says."),
    ("grace", "Eight. I just saw the next one appear."),
    ("ada", "Without loading it again?"),
    ("grace", "It told itself. So does this room, come to think of it."),
]


def take_all():
    """Take all screenshots."""
    with (
        tempfile.TemporaryDirectory() as folder,
        production(folder) as site,
        browser() as driver,
    ):
        site.manage("shell", "-v", "0", "-c", PAST)
        # Not before there is something to take.
        shutil.rmtree(FOLDER, ignore_errors=True)
        FOLDER.mkdir()
        Session(site, driver).take_all()
    for name, image in IMAGES.items():
        (ROOT / image).parent.mkdir(exist_ok=True)
        shutil.copy(FOLDER / f"{name}.png", ROOT / image)
    size = sum(path.stat().st_size for path in FOLDER.iterdir())
    say(f"{shown(FOLDER)}: {len(list(FOLDER.iterdir()))} pictures, {size:,} bytes.")


class Session:
    """A visit to a Site by ada, grace, the admin and somebody else."""

    def __init__(self, site, driver):
        self.site = site
        self.driver = driver

    def take_all(self):
        self.show_public_pages()
        ada, grace = self.person("ada", "127.0.0.1"), self.person("grace", "localhost")
        self.show_chat(ada, grace)
        self.show_staff_pages(grace)

    def person(self, name, host):
        """Return a window of a user, who has a host for herself."""
        window = self.site.window(self.driver, host)
        window.log_in(name, name)
        return window

    def show_public_pages(self):
        window = self.site.window(self.driver)
        for name, path in {"visits": "/", "login": "/login/"}.items():
            window.open(path)
            window.wait_for("h1", "")
            self.take(name, window)
        window.open("/signups/")
        window.wait_for_data("#news", state="stream")
        self.take("signups", window)

    def show_chat(self, ada, grace):
        for window in (ada, grace):
            window.open("/chat/fountain/")
            window.wait_for_data("#room", state="open")
        speakers = {"ada": ada, "grace": grace}
        ada.wait_for("#lines", "grace came in")
        for name, text in TALK:
            speakers[name].fill(text=text)
            speakers[name].submit("#say")
            for window in (ada, grace):
                window.wait_for("#lines", text)
        self.take("room", ada)
        # Not before her WebSocket is known to be gone.
        ada.open("/chat/")
        grace.wait_for("#lines", "ada left")
        ada.open("/chat/")
        self.take("chat", ada)

    def show_staff_pages(self, window):
        window.driver.delete_all_cookies()
        window.log_in("admin", "admin")
        window.open("/status/")
        # Some figures of a calm hour first.
        window.wait(lambda: self.samples(window) > 4, "figures")
        window.submit(".controls form")
        window.wait_for_data("#status", state="open")
        # Until the chores are done, and for some time after that.
        window.wait(lambda: self.samples(window) > 14, "a curve")
        self.take("status", window)
        window.open("/admin/")
        self.take("admin", window)

    def samples(self, window):
        return int(window.data("#plot").get("samples", 0))

    def take(self, name, window):
        """Take a page, as it is, at each size."""
        for size, (width, height) in SIZES.items():
            window.look()
            with self.emulating(width, height, size == "phone"):
                self.driver.save_screenshot(str(FOLDER / f"{name}-{size}.png"))

    @contextmanager
    def emulating(self, width, height, mobile):
        self.driver.execute_cdp_cmd("Emulation.setScrollbarsHidden", {"hidden": True})
        metrics = {"width": width, "height": height, "mobile": mobile}
        metrics["deviceScaleFactor"] = 1
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        try:
            yield
        finally:
            self.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
