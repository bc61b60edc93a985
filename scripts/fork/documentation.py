"""Upstream's documentation with the project's pages, built by Sphinx."""

import hashlib
import json
import os
import re

from .base import BUILD, pinned_version, run, say
from .venvs import Venv, environment


def sphinx_venv(upstream):
    """Return the environment that upstream's docs/requirements.txt asks for."""
    needs = (upstream / "docs/requirements.txt").read_text()
    env = Venv("docs-venv", needs)
    if not env.is_ready():
        env.create()
        env.pip("install", "-r", upstream / "docs/requirements.txt")
        env.finish()
    return env


def build(env, tree, target):
    """Build a tree's docs as HTML and return the set of warnings."""
    warnings = target.with_suffix(".warnings")
    target.mkdir(parents=True, exist_ok=True)
    # With -Q, which prints nothing, it would write no warnings to the file either.
    run(
        env.python,
        *("-m", "sphinx", "-b", "html", "-q", "--fresh-env", "--no-color"),
        *("-j", os.cpu_count() or 1, "-w", warnings, tree / "docs", target),
        cwd=tree / "docs",
        env=environment(PYTHONPATH=str(tree)),
    )
    text = warnings.read_text(encoding="utf-8").replace(f"{tree}/", "")
    # Lines move where a patch changes a page, the warning stays the same.
    return {re.sub(r"(\.txt):\d+:", r"\1:", line) for line in text.splitlines()}


def new_warnings(upstream, tree):
    """
    Return the warnings that the tree's docs give and upstream's do not.

    Without access to the sites that upstream's pages refer to, upstream's
    own docs give warnings; these are measured once and kept.
    """
    env = sphinx_venv(upstream)
    found = build(env, tree, BUILD / "docs/patched")
    if not found:
        return []
    key = json.dumps([pinned_version(), env.packages()])
    digest = hashlib.sha256(key.encode()).hexdigest()[:16]
    kept = BUILD / "docs" / f"unpatched-{digest}.json"
    if not kept.exists():
        say("There are warnings; building upstream's docs to compare.")
        known = build(env, upstream, BUILD / "docs/unpatched")
        kept.write_text(json.dumps(sorted(known)))
    known = set(json.loads(kept.read_text()))
    say(f"{len(found & known)} warnings come up with upstream's own docs, too.")
    return sorted(found - known)
