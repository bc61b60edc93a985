"""Windows of a browser, for tests and screenshots."""

from urllib.parse import urljoin

from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait


class Window:
    """
    A new window of `driver`, on the site whose URL is `site`.

    Somebody who is logged in at 127.0.0.1 is not at localhost, so that windows at the
    two are those of two people. `patience` is in seconds.
    """

    def __init__(self, driver, site, patience=20):
        self.driver = driver
        self.site = site
        self.patience = patience
        driver.switch_to.new_window("window")
        self.handle = driver.current_window_handle

    def open(self, path):
        self.look()
        self.driver.get(urljoin(self.site, path))

    def log_in(self, name, password):
        self.open("/login/")
        self.fill(username=name, password=password)
        self.submit("form.form")
        self.wait_for("nav .leave", "Log out")

    def look(self):
        """Switch to the window."""
        self.driver.switch_to.window(self.handle)

    def find(self, selector):
        """Return the first element for a selector of CSS."""
        self.look()
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def fill(self, **fields):
        """Type into the fields of these names or ids."""
        for name, text in fields.items():
            self.find(f"[name={name}], #{name}").send_keys(text)

    def submit(self, form):
        self.find(f"{form} button").click()

    def data(self, selector):
        """Return the data attributes of an element."""
        return self.driver.execute_script(
            "return {...arguments[0].dataset}", self.find(selector)
        )

    def wait_for(self, selector, text):
        """Wait until an element has `text` in it."""
        self.wait(lambda: text in self.find(selector).text, f"{text!r} in {selector}")

    def wait_for_data(self, selector, **expected):
        """Wait until an element has these data attributes."""
        self.wait(
            lambda: expected.items() <= self.data(selector).items(),
            f"{expected} of {selector}",
        )

    def wait(self, condition, what):
        """Wait until `condition` holds; if not, raise TimeoutException about `what`."""
        ignored = [StaleElementReferenceException]
        waiting = WebDriverWait(self.driver, self.patience, 0.1, ignored)
        waiting.until(lambda driver: condition(), what)
