"""What the tests need beyond pip's packages."""

import glob
import os
import shutil
from functools import cache

from .base import Problem, run, say

# Where Debian keeps servers, which are not on everybody's PATH.
SERVERS = ("/usr/sbin", "/usr/local/sbin", "/usr/lib/postgresql/*/bin")


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


def find(*commands):
    """Return the path of the first of these commands that is there, or None."""
    folders = [os.environ.get("PATH", os.defpath)]
    for pattern in SERVERS:
        folders += sorted(glob.glob(pattern), reverse=True)
    path = os.pathsep.join(folders)
    return next(
        filter(None, (shutil.which(name, path=path) for name in commands)), None
    )


def require(command, *packages, without, instead=()):
    """
    Make sure that a command is there, from these system packages if need be.

    ``instead`` are commands that do as well where it is not and cannot be
    installed; ``without`` is the sentence on what happens then without them.
    """
    if find(command) or (install(*packages) and find(command)) or find(*instead):
        return True
    missing(
        f"{command} is not installed (packages on Debian: {', '.join(packages)}; "
        f"apt-get needs root): {without}"
    )
    return False
