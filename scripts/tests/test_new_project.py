"""
What somebody does who has just installed this: a project, an app with ten lines of
consumers, and a WebSocket in a browser. Then the same on Redis, with workers.
"""

import sys

from fork.base import ROOT
from fork.servers import redis_server
from fork.venvs import environment

from .browser import BrowserTestCase, needs_browser
from .installer import Environment

PATIENCE = 60  # Seconds.

CONSUMERS = """\
from django.channels import Channel, consumer


@consumer("django.websocket.receive")
def echo(send_channel, data, **kwargs):
    Channel(send_channel).send({"content": f"echo: {data['content']}"})
"""

REDIS = """
CHANNELS = {{
    "default": {{
        "BACKEND": "django.channels.backends.redis.RedisBackend",
        "LOCATION": "{}",
    }}
}}
"""

# Calls its last argument with what comes back.
SAY_HELLO = """
const done = arguments[0];
const socket = new WebSocket(`ws://${location.host}/anywhere/`);
socket.onopen = () => socket.send("hello");
socket.onmessage = event => { done(event.data); socket.close(); };
socket.onclose = event => done(`closed with ${event.code}`);
"""


@needs_browser
class NewProjectTests(BrowserTestCase):
    def setUp(self):
        self.environment = Environment()
        self.environment.pip("install", f"{ROOT}[channels]")
        self.site = self.environment.path / "mysite"
        self.run_django("startproject", "mysite")
        self.run_django("startapp", "chat", "mysite/chat", make="mysite/chat")
        (self.site / "chat/consumers.py").write_text(CONSUMERS)
        self.edit_settings("INSTALLED_APPS = [", 'INSTALLED_APPS = [\n    "chat",')

    def run_django(self, *arguments, make=None):
        if make:
            (self.environment.path / make).mkdir()
        status, output = self.environment.python("-m", "django", *arguments)
        self.assertEqual(status, 0, output)

    def edit_settings(self, old, new):
        path = self.site / "mysite/settings.py"
        text = path.read_text()
        self.assertIn(old, text)
        path.write_text(text.replace(old, new, 1))

    def manage(self, *arguments):
        """Serve by a management command, and say hello from a page that it serves."""
        port = self.free_port()
        url = f"http://127.0.0.1:{port}/"
        command, *options = arguments
        python = self.environment.path / "bin/python"
        self.serve(
            [python, "manage.py", command, f"127.0.0.1:{port}", *options],
            url,
            PATIENCE,
            cwd=self.site,
            env=environment(),
        )
        browser = self.start_browser()
        browser.set_script_timeout(PATIENCE)
        browser.get(url)
        return browser.execute_async_script(SAY_HELLO)

    def test_echo_in_one_process_and_by_workers(self):
        self.assertLessEqual(len(CONSUMERS.splitlines()), 10)
        self.assertEqual(self.manage("runserver"), "echo: hello")
        with redis_server(sys.executable) as variables:
            (location,) = variables.values()
            with open(self.site / "mysite/settings.py", "a") as settings:
                settings.write(REDIS.format(location))
            said = self.manage("runinterface", "--workers", "2")
            # The server ends before Redis does.
            self.doCleanups()
        self.assertEqual(said, "echo: hello")
