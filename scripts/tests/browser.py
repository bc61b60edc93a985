"""Sites in processes of their own, in a browser."""

import shutil
import unittest
from contextlib import ExitStack

from fork import browsing
from fork.browsing import wait_until
from fork.system import in_ci

__all__ = ["BrowserTestCase", "needs_browser", "wait_until"]

needs_browser = unittest.skipUnless(
    (browsing.webdriver and shutil.which("chromedriver")) or in_ci(),
    "Needs selenium, Chromium and its driver.",
)


class BrowserTestCase(unittest.TestCase):
    """A test that serves a site with serve(), and looks at it with `browser`."""

    free_port = staticmethod(browsing.free_port)

    def enter(self, context):
        """Enter a context until the end of the test, and return what it gives."""
        stack = ExitStack()
        self.addCleanup(stack.close)
        return stack.enter_context(context)

    def serve(self, command, url, seconds, **options):
        """Run a command until the end of the test. Return when `url` is there."""
        self.enter(browsing.serving(command, url, seconds, **options))

    def start_browser(self):
        """Return a browser, until the end of the test."""
        return self.enter(browsing.browser())
