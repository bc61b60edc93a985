"""Runs of unittest suites: what they print becomes a Result."""

import codecs
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field

from . import servers
from .venvs import environment


@dataclass
class Layer:
    """
    A channel layer to run the tests on: settings and environment variables.

    ``wire`` says whether requests and responses cross as text, so that the
    tests which the docs list as not to hold then are no defects. ``server``
    names what has to run beside the tests, see servers.py. ``site`` is what the
    example site calls the layer.
    """

    name: str
    settings: str = "test_sqlite"
    site: str = "memory"
    env: dict = field(default_factory=dict)
    wire: bool = False
    server: str = ""


LAYERS = [
    Layer("memory"),
    Layer(
        "memory with SERIALIZE",
        settings="serialize_settings",
        site="serialize",
        wire=True,
    ),
    Layer("redis", settings="redis_settings", site="redis", wire=True, server="redis"),
]

# Upstream's suite does not run on this one: it has more to do with databases than
# a layer that is meant for development should have to stand.
DATABASE = Layer("database", settings="database_settings", site="database", wire=True)


@dataclass
class Result:
    """What a run of tests came to. ``failed`` holds the labels of tests."""

    ran: int = 0
    failed: list = field(default_factory=list)
    skipped: int = 0
    complete: bool = True

    @property
    def passed(self):
        return max(0, self.ran - len(self.failed) - self.skipped)

    @property
    def ok(self):
        return self.complete and not self.failed


HEADING = re.compile(
    r"^={70}\n(?:FAIL|ERROR|UNEXPECTED SUCCESS): (\S+) \(([\w.]+)\)", re.MULTILINE
)


def label(name, place):
    """
    Return the label of a test from its heading, "name (place)".

    Python 3.10 names the class as the place, later ones name the test again.
    """
    if place.startswith("unittest.loader._FailedTest"):
        return name
    if name in {"setUpClass", "tearDownClass", "setUpModule", "tearDownModule"}:
        return place
    return place if place.endswith(f".{name}") else f"{place}.{name}"


def parse(output):
    """Return the Result that a run of unittest printed."""
    failed = dict.fromkeys(label(*found) for found in HEADING.findall(output))
    ran = re.findall(r"^Ran (\d+) tests? in ", output, re.MULTILINE)
    ends = re.findall(r"^(?:OK|FAILED|NO TESTS RAN)(?: \((.*)\))?$", output, re.M)
    skipped = re.search(r"skipped=(\d+)", ends[-1]) if ends else None
    return Result(
        ran=int(ran[-1]) if ran else 0,
        failed=list(failed),
        skipped=int(skipped[1]) if skipped else 0,
        complete=bool(ran and ends),
    )


def stream(*command, cwd=None, env=None):
    """Run a command, pass on what it prints as it comes; return (status, output)."""
    process = subprocess.Popen(
        [str(word) for word in command],
        cwd=cwd,
        env=env or environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    output = []
    try:
        with process.stdout as pipe:
            while data := os.read(pipe.fileno(), 65536):
                output.append(decoder.decode(data))
                sys.stdout.write(output[-1])
                sys.stdout.flush()
        status = process.wait()
    except KeyboardInterrupt:
        process.wait()
        raise
    return status, "".join(output)


def run_unittest(*command, cwd=None, env=None):
    """Run a command that prints as unittest does and return its Result."""
    status, output = stream(*command, cwd=cwd, env=env)
    result = parse(output)
    if status and not result.failed:
        result.complete = False
    return result


def run_tests(python, tree, labels, layer, parallel):
    """Run upstream's runtests.py in a tree for these labels on a layer."""
    with servers.beside(layer, python) as variables:
        return run_unittest(
            python,
            "runtests.py",
            f"--settings={layer.settings}",
            f"--parallel={parallel}",
            "--noinput",
            *labels,
            cwd=tree / "tests",
            env=environment(PYTHONPATH=str(tree), **layer.env, **variables),
        )


def run_site_tests(python, tree, layer):
    """Run the tests of the example site, those in its folders, on a layer."""
    with (
        servers.beside(layer, python) as variables,
        tempfile.TemporaryDirectory() as folder,
    ):
        return run_unittest(
            python,
            *("manage.py", "test", "--noinput"),
            cwd=tree / "docs/examples/plaza",
            env=environment(
                PYTHONPATH=str(tree),
                PLAZA_DATABASE=f"{folder}/db.sqlite3",
                PLAZA_LAYER=layer.site,
                PLAZA_REDIS=variables.get("CHANNELS_TEST_REDIS", ""),
            ),
        )


def apps(tests):
    """Return the names of the test apps in a tests/ folder, as runtests.py does."""
    skipped = {"gis_tests", "import_error_package", "test_runner_apps"}
    if not tests.is_dir():
        return []
    return sorted(
        path.name
        for path in tests.iterdir()
        if (path / "__init__.py").exists() and path.name not in skipped
    )
