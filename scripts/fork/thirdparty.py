"""The wheel beside a package that requires Django: djangorestframework."""

import shutil
import tarfile
import xml.etree.ElementTree as ElementTree

from .base import BUILD, Problem, pinned_version, run, say
from .suites import Result, stream
from .venvs import Venv, environment, wheel

PACKAGE = "djangorestframework"
PLACE = BUILD / "packaging"
OUTCOMES = ("failure", "error", "skipped")


def installed_version(env, name):
    """Return the version of a distribution in an environment."""
    code = f"from importlib.metadata import version; print(version({name!r}))"
    return run(env.python, "-I", "-c", code)


def install_beside(name, django):
    """
    Return an environment with a Django, the package beside it, and its tests.

    Raise Problem if installing the package changed Django, or if what is
    installed does not fit together.
    """
    env = Venv(f"packaging/{name}")
    env.create()
    env.pip("install", django)
    env.pip("check")
    before = installed_version(env, "Django")
    env.pip("install", PACKAGE)
    sources = fetch_sdist(env)
    env.pip("install", "--upgrade", "pip")
    env.pip("install", "--group", f"{sources / 'pyproject.toml'}:test")
    env.pip("check")
    after = installed_version(env, "Django")
    if before != after:
        raise Problem(f"Installing {PACKAGE} replaced Django {before} by {after}.")
    say(f"{PACKAGE} {installed_version(env, PACKAGE)} beside Django {after}.")
    return env, sources


def fetch_sdist(env):
    """Return the folder of the sdist of the package's installed version."""
    version = installed_version(env, PACKAGE)
    target = env.path / f"{PACKAGE}-{version}"
    command = ("download", "--no-deps", "--no-binary", ":all:")
    env.pip(*command, f"{PACKAGE}=={version}", "--dest", env.path)
    with tarfile.open(next(env.path.glob(f"{PACKAGE}-*.tar.gz"))) as archive:
        safely = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
        archive.extractall(env.path, **safely)
    return target


def run_pytest(env, sources):
    """Run the package's own tests and return {test: outcome}."""
    report = env.path / "report.xml"
    stream(
        env.python,
        *("-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}"),
        cwd=sources,
        env=environment(),
    )
    if not report.exists():
        raise Problem(f"The tests of {PACKAGE} did not come to their end.")
    outcomes = {}
    for case in ElementTree.parse(report).iter("testcase"):
        name = f"{case.get('classname')}.{case.get('name')}"
        kinds = [child.tag for child in case if child.tag in OUTCOMES]
        outcomes[name] = kinds[0] if kinds else "passed"
    return outcomes


def compare():
    """Return (Result on the patched Django, sentences on differences)."""
    shutil.rmtree(PLACE, ignore_errors=True)
    built = wheel(PLACE / "dist")
    patched = run_pytest(*install_beside("patched", built))
    plain = run_pytest(*install_beside("plain", f"Django=={pinned_version()}"))
    differences = [
        f"{name}: {patched.get(name, 'missing')}, on unpatched Django "
        f"{plain.get(name, 'missing')}."
        for name in sorted({*patched, *plain})
        if patched.get(name) != plain.get(name)
    ]
    bad = [name for name in patched if patched[name] in {"failure", "error"}]
    known = [name for name in bad if plain.get(name) == patched[name]]
    for name in known:
        say(f"fails also on unpatched Django: {name}")
    skipped = list(patched.values()).count("skipped")
    failed = [name for name in bad if name not in known]
    return Result(len(patched) - len(known), failed, skipped), differences
