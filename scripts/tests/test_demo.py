"""The example site as scripts/demo serves it, in a browser."""

import sys

from fork.base import ROOT

from .browser import BrowserTestCase, needs_browser, wait_until

try:
    from selenium.webdriver.common.by import By
except ImportError:
    By = None

PATIENCE = 300  # Seconds; the first run installs everything.


@needs_browser
class DemoTests(BrowserTestCase):
    def setUp(self):
        port = self.free_port()
        self.url = f"http://127.0.0.1:{port}/"
        command = [sys.executable, ROOT / "scripts/demo", "--port", str(port)]
        self.serve(command, f"{self.url}admin/login/", PATIENCE)
        self.browser = self.start_browser()

    def visits(self):
        """Load the page and return the count that it shows."""
        self.browser.get(self.url)
        # At once, as the script of the page puts a new element in its place.
        code = "return document.querySelector('.figures dd').textContent"
        return int(self.browser.execute_script(code).replace(",", ""))

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
        wait_until(lambda: "Site administration" in self.browser.page_source, 30)
        wait_until(self.visits_are_listed, 30)

    def visits_are_listed(self):
        self.browser.get(f"{self.url}admin/visits/stats/")
        return "127.0.0.1" in self.browser.page_source
