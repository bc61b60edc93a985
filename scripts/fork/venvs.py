"""Virtual environments under build/, each with a stamp of what it was made from."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

from .base import BUILD, ROOT, Problem, run, say, shown

PIP = ("-m", "pip", "--disable-pip-version-check")


def environment(**extra):
    """Return os.environ without what would lead another Python astray."""
    dropped = ("PYTHONPATH", "PYTHONHOME", "DJANGO_SETTINGS_MODULE", "VIRTUAL_ENV")
    env = {key: value for key, value in os.environ.items() if key not in dropped}
    return env | extra


class Venv:
    """
    The virtual environment build/<name>.

    ``made_from`` is anything that JSON can hold; when it is not what the
    environment was made from, the environment is made anew.
    """

    def __init__(self, name, made_from=None):
        self.path = BUILD / name
        self.python = self.path / ("Scripts" if os.name == "nt" else "bin") / "python"
        self.stamp = self.path / "made-from.json"
        self.made_from = json.dumps([sys.version, sys.executable, made_from])

    def is_ready(self):
        """Return whether the environment is there and complete."""
        return self.stamp.exists() and self.stamp.read_text() == self.made_from

    def create(self):
        """Make an empty environment in place of the present one."""
        say(f"Making the environment {shown(self.path)} ...")
        shutil.rmtree(self.path, ignore_errors=True)
        try:
            venv.create(self.path, with_pip=True)
        except subprocess.CalledProcessError:
            raise Problem(
                "Python cannot make virtual environments here; on Debian and Ubuntu, "
                "install the package python3-venv."
            ) from None

    def finish(self):
        """Note that the environment is complete."""
        self.stamp.write_text(self.made_from)

    def pip(self, *arguments, check=True):
        """
        Run pip and return its output; see run().

        It runs outside of the checkout, where it would take an unpacked
        distribution for an installed one.
        """
        env = environment()
        command = (self.python, *PIP, *arguments)
        return run(*command, cwd=self.path, env=env, check=check)

    def packages(self):
        """Return the installed packages with their versions, a line each."""
        return self.pip("list", "--format=freeze")


def sources_digest():
    """Return a hash of all that the distribution is built from."""
    total = hashlib.sha256()
    paths = [ROOT / "setup.py", ROOT / "pyproject.toml"]
    for folder in ("django", "patches"):
        paths += sorted(path for path in (ROOT / folder).rglob("*") if path.is_file())
    for path in paths:
        if path.suffix not in {".pyc", ".pyo"}:
            total.update(str(path.relative_to(ROOT)).encode() + b"\0")
            total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


def checkout_venv(name, *packages, extra=""):
    """
    Return the environment build/<name> with this checkout installed into it, and what
    the extra of that name needs.
    """
    env = Venv(name, [packages, extra])
    if not env.is_ready():
        env.create()
        env.finish()
    installed, digest = env.path / "sources", sources_digest()
    if not installed.exists() or installed.read_text() != digest:
        say("Building and installing the patched Django ...")
        installed.unlink(missing_ok=True)
        env.pip("uninstall", "--yes", "Django")
        env.pip("install", f"{ROOT}[{extra}]" if extra else ROOT, *packages)
        installed.write_text(digest)
    return env


def wheel(folder, source=ROOT):
    """Build the wheel of a checkout or an sdist in a folder and return its path."""
    env = Venv("builder")
    if not env.is_ready():
        env.create()
        env.finish()
    shutil.rmtree(folder, ignore_errors=True)
    env.pip("wheel", "--no-deps", "--wheel-dir", folder, source)
    return next(Path(folder).glob("*.whl"))
