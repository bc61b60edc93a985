"""Autobahn's cases of the WebSocket protocol, against a site that echoes."""

import json
import socket
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from . import servers, system
from .base import Problem, run, say
from .suites import Result
from .venvs import Venv, environment

# Autobahn's own runner needs Python 2. fuzzing_client.py leans on this release.
RUNNER = "kosoku==0.1.0"
CLIENT = Path(__file__).with_name("fuzzing_client.py")

PATIENCE = 20  # Seconds for the start and for the end of a server.

PASSED = {"OK", "NON-STRICT", "INFORMATIONAL"}


@dataclass
class Node:
    """
    A channel layer with the management command, less its port, that serves the
    site on it. ``server`` names what has to run beside it, see servers.py.
    """

    layer: str
    command: tuple
    server: str = ""


NODES = [
    Node("memory", ("runserver", "--noreload")),
    Node("redis", ("runinterface", "--workers=1"), server="redis"),
]

# Some cases send messages of 16 MB, or in 16,000 fragments, or 1,000 at once.
SITE = {
    "autobahn_settings.py": """
import os

SECRET_KEY = "autobahn"
ALLOWED_HOSTS = ["127.0.0.1"]
ROOT_URLCONF = "autobahn_urls"
INSTALLED_APPS = ["autobahn_app"]
# Warnings and errors only.
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "loggers": {
        name: {"level": "WARNING"} for name in ("django.channels", "django.server")
    },
}
CHANNELS_LIMITS = {
    "COMPRESSION": True,
    "MESSAGE_SIZE": 2**25,
    "FRAGMENTS": 100_000,
    "UNSENT_MESSAGES": 100_000,
    "UNSENT_SIZE": 2**28,
}
if location := os.environ.get("CHANNELS_TEST_REDIS"):
    CHANNELS = {
        "default": {
            "BACKEND": "django.channels.backends.redis.RedisBackend",
            "LOCATION": location,
        }
    }
""",
    "autobahn_urls.py": "urlpatterns = []",
    "autobahn_app/__init__.py": "",
    "autobahn_app/consumers.py": """
from django.channels import Channel, consumer

@consumer("django.websocket.receive")
def echo(send_channel, data, **message):
    Channel(send_channel).send(data)
""",
}


def runner():
    """Return the environment of the runner, or None where it cannot be installed."""
    env = Venv("autobahn", RUNNER)
    if not env.is_ready():
        env.create()
        if env.pip("install", RUNNER, check=False) is None:
            system.missing(f"{RUNNER} could not be installed: no case of Autobahn ran.")
            return None
        env.finish()
    return env


def results(python, tree, parallel):
    """
    Return (layer, Result) for each node: none where there is no runner.

    ``python`` is that of the test environment. The nodes are tested at the same
    time, with ``parallel`` cases at a time each, as a case keeps no core busy.
    """
    env = runner()
    if env is None:
        return []

    def on(node):
        with serving(node, python, tree) as port:
            report = run_cases(env, port, parallel)
        say(f"{len(report['results'])} cases have run on the layer {node.layer}.")
        return node.layer, result(report)

    with ThreadPoolExecutor(len(NODES)) as threads:
        return list(threads.map(on, NODES))


@contextmanager
def serving(node, python, tree):
    """Serve the site. Yield the port on 127.0.0.1."""
    with servers.beside(node, python) as variables:
        folder = Path(tempfile.mkdtemp(prefix="autobahn-"))
        for name, content in SITE.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(content)
        port = free_port()
        process = subprocess.Popen(
            [python, "-m", "django", *node.command, str(port)],
            cwd=folder,
            env=environment(
                PYTHONPATH=f"{tree}:{folder}",
                DJANGO_SETTINGS_MODULE="autobahn_settings",
                **variables,
            ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        with servers.ending(process, folder):
            wait_for_port(port, process)
            yield port


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def wait_for_port(port, process):
    """Return once a server takes connections."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        try:
            return socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            time.sleep(0.05)
    raise Problem("The site for Autobahn's cases did not start.")


def run_cases(env, port, parallel, cases=()):
    """Return what fuzzing_client.py prints on these cases, or on all."""
    printed = run(env.python, CLIENT, port, parallel, *cases, env=environment())
    return json.loads(printed)


def result(report):
    """
    Return the Result of a report. The run is complete if each case that the
    runner knows has a verdict.
    """
    ran = report["results"]
    failed = [case for case in ran if not {case["behavior"], case["closing"]} <= PASSED]
    return Result(
        ran=len(ran),
        failed=[
            f"{case['id']}: {case['behavior']}, closing {case['closing']}. "
            f"{case['why']}"
            for case in failed
        ],
        complete={case["id"] for case in ran} == set(report["known"]),
    )
