"""The examples of guides, whose files are those of the page."""

import http.client
import json
import threading

from django.channels.backends.contract import PATIENCE

from .pages import files
from .test_interface import InterfaceTestCase
from .utils import MEMORY, wait_until

SETTINGS = """
SECRET_KEY = "tests"
ALLOWED_HOSTS = ["127.0.0.1"]
ROOT_URLCONF = "site_urls"
INSTALLED_APPS = ["app", {app!r}]
DATABASES = {{
    "default": {{"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3"}},
}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
EMAIL_FILE_PATH = "mails"
MANAGERS = [("Manager", "manager@example.com")]
"""

# For the guide on server-sent events: others publish the stories.
URLS = """
from django.http import HttpResponse
from django.urls import path

from mysite.urls import urlpatterns
from news.models import Story

def publish(request):
    story = Story.objects.create(title=request.GET["title"])
    story.save()
    return HttpResponse(str(story.pk))

urlpatterns = [*urlpatterns, path("publish/", publish)]
"""


class GuideTestCase(InterfaceTestCase):
    """A site with the files of `page`, of which `app` is one, in one process."""

    workers = 0
    page = None
    app = None
    urls = "from mysite.urls import urlpatterns"

    def make_backend(self):
        return {"BACKEND": MEMORY}

    def start_interface(self):
        self.write("site_settings.py", SETTINGS.format(app=self.app))
        self.write("site_urls.py", self.urls)
        for name, text in files(self.page).items():
            self.write(name, text)
        code, output = self.run_command("migrate", "--run-syncdb")
        self.assertEqual(code, 0, output)
        super().start_interface()


class LongPollingTests(GuideTestCase):
    page = "howto/channels-long-polling"
    app = "chat"

    def poll(self, after):
        """Return the texts of the messages of the answer, and the last id."""
        response, content = self.get(f"/chat/lobby/?after={after}")
        self.assertEqual(response.status, 200)
        messages = json.loads(content)["messages"]
        last = messages[-1]["id"] if messages else after
        return [message["text"] for message in messages], last

    def say(self, text):
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        response, _ = self.get("/chat/lobby/say/", "POST", f"text={text}", headers)
        self.assertEqual(response.status, 204)

    def follow(self, texts):
        """Ask again and again, as the script of the page does, and add to `texts`."""
        after = 0
        while len(texts) < 3:
            new, after = self.poll(after)
            texts += new

    def test_page_misses_nothing(self):
        texts = []
        self.say("One")
        page = threading.Thread(target=self.follow, args=[texts], daemon=True)
        page.start()
        wait_until(lambda: texts)
        self.say("Two")
        self.say("Three")
        page.join(PATIENCE)
        self.assertEqual(texts, ["One", "Two", "Three"])


class ServerSentEventsTests(GuideTestCase):
    page = "howto/channels-sse"
    app = "news"
    urls = URLS

    def listen(self, last):
        """Return the response to a page that has seen the event `last`."""
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        self.addCleanup(client.close)
        client.request("GET", "/news/events/", headers={"Last-Event-ID": last})
        response = client.getresponse()
        self.assertEqual(response.headers["Content-Type"], "text/event-stream")
        self.assertEqual(self.next_event(response), {"retry": "2000"})
        return response

    def next_event(self, response):
        """Return what the lines of the next event say, as a dict."""
        lines = iter(lambda: response.readline().decode().rstrip("\n"), "")
        return dict(line.split(": ", 1) for line in lines)

    def publish(self, title):
        response, content = self.get(f"/publish/?title={title}")
        self.assertEqual(response.status, 200)
        return content.decode()

    def test_pages_and_managers_hear_of_stories(self):
        stream = self.listen(last="0")
        first = self.publish("First")
        event = {"id": first, "data": '{"title": "First"}'}
        # Found in the database, or told of: then the page is a member for certain.
        self.assertEqual(self.next_event(stream), event)
        second = self.publish("Second")
        expected = {"id": second, "data": '{"title": "Second"}'}
        while event["id"] == first:
            event = self.next_event(stream)
        self.assertEqual(event, expected)
        # A page that comes again has seen the first.
        self.assertEqual(self.next_event(self.listen(last=first)), expected)
        wait_until(lambda: len(self.subjects()) == 4)
        self.assertEqual(self.subjects(), [*["New story"] * 2, *["Story changed"] * 2])

    def subjects(self):
        """Return what has been mailed to the managers, in alphabetical order."""
        texts = [path.read_text() for path in (self.directory / "mails").glob("*")]
        return sorted(
            line.partition("] ")[2]
            for text in texts
            for line in text.splitlines()
            if line.startswith("Subject: ")
        )

    def test_command_that_keeps_streams_open(self):
        code, output = self.run_command("help", "heartbeat")
        self.assertEqual(code, 0, output)
        self.assertIn("Keeps the streams of news open.", output)
