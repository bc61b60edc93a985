"""Paths, errors and subprocesses."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
BUILD = ROOT / "build"
CACHE = BUILD / "cache"
OVERLAY = ("django", "tests", "docs")

WHO = ("AUTHOR", "COMMITTER")
IDENTITY = {"NAME": "Django Channels", "EMAIL": "channels@example.com"}


class Problem(Exception):
    """An error that its message explains; the script prints it and exits with 1."""


def main(function):
    """Call a script's function and turn what it raises into an exit status."""
    try:
        sys.exit(function())
    except Problem as problem:
        sys.exit(f"{Path(sys.argv[0]).name}: {problem}")
    except KeyboardInterrupt:
        sys.exit(130)


def say(*words):
    """Print at once, so that the lines of subprocesses follow in order."""
    print(*words, flush=True)


def run(*command, cwd=None, env=None, check=True):
    """
    Run a command quietly and return its output, stripped at the end.

    Raise Problem with all that it printed if it fails and ``check`` is true;
    otherwise return None then.
    """
    command = [str(word) for word in command]
    try:
        result = subprocess.run(
            command,
            cwd=cwd,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="surrogateescape",
        )
    except FileNotFoundError:
        raise Problem(f"{command[0]} is not installed, and it is needed.") from None
    if not result.returncode:
        return result.stdout.rstrip()
    if not check:
        return None
    printed = (result.stdout + result.stderr).strip()
    raise Problem(f"'{' '.join(command)}' failed:\n{printed}")


def git_environment():
    """
    Return an environment in which git behaves the same for everybody: without
    the user's configuration, hooks, signing and the surrounding repository.
    """
    env = {key: value for key, value in os.environ.items() if key[:4] != "GIT_"}
    env |= {f"GIT_{who}_{key}": IDENTITY[key] for who in WHO for key in IDENTITY}
    env |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    # A collection in the background would outlive the script.
    env |= {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "gc.auto"}
    env["GIT_CONFIG_VALUE_0"] = "0"
    return env | {"GIT_EDITOR": "true", "GIT_SEQUENCE_EDITOR": "true", "LC_ALL": "C"}


def git(tree, *arguments, check=True, **env):
    """Run git in a tree; see run()."""
    return run("git", *arguments, cwd=tree, env=git_environment() | env, check=check)


def pinned_version():
    """Return the upstream version that pyproject.toml names."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    found = re.search(r'"Django==([^"]+)"', text)
    if not found:
        raise Problem("pyproject.toml does not name the upstream version.")
    return found[1]


def shown(path):
    """Return a path as a reader in the checkout would write it."""
    path = Path(path)
    return str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path)
