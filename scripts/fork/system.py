"""What the tests need beyond pip's packages."""

import os
import shutil
from functools import cache

from .base import Problem, run, say


def in_ci():
    """Return whether a CI service runs the script: then nothing may be missing."""
    return bool(os.environ.get("CI"))


def missing(what):
    """Say what is missing and what that means; in CI raise Problem instead."""
    if in_ci():
        raise Problem(what)
    say(f"NOTE: {what}")


def can_install():
    return shutil.which("apt-get") and hasattr(os, "geteuid") and os.geteuid() == 0


@cache
def update_packages():
    say("Updating the list of system packages ...")
    run("apt-get", "update", "--quiet", check=False)


def install(*packages):
    """Try to install system packages and return whether that worked."""
    if not can_install():
        return False
    update_packages()
    say(f"Installing {' '.join(packages)} by apt-get ...")
    env = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    command = ("apt-get", "install", "--yes", "--quiet", "--no-install-recommends")
    return run(*command, *packages, env=env, check=False) is not None


def require(command, *packages, without):
    """
    Make sure that a command is there, from these system packages if need be.

    ``without`` is the sentence on what happens where it cannot be installed.
    """
    if shutil.which(command) or (install(*packages) and shutil.which(command)):
        return True
    missing(
        f"{command} is not installed (packages on Debian: {', '.join(packages)}; "
        f"apt-get needs root): {without}"
    )
    return False
