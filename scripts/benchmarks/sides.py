"""The two sides of a comparison: trees of Django and a Python to run them."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

from fork import trees
from fork.base import ROOT, Problem, run, say
from fork.venvs import Venv, environment

# What Django and the measurements need. Django itself comes from the trees.
PACKAGES = (
    "asgiref>=3.8.1,<4",
    "sqlparse>=0.3.1",
    "gunicorn>=23,<26",
    "pybase64>=1.4",
    "redis>=5.1",
    "hiredis>=3.0",
    "psycopg[binary]>=3.1.8",
    "gevent>=24.2",
    "gevent-websocket>=0.10.1",
    "websockets>=13.0",
)

PAYLOAD_SIZE = 10_000_000  # Bytes.

WHICH_DJANGO = """
import django, importlib.util, json
patched = importlib.util.find_spec("django.channels") is not None
print(json.dumps([django.__file__, django.get_version(), patched]))
"""


@dataclass(frozen=True)
class Side:
    """
    A tree of Django, and how to run it.

    ``scratch`` is the folder for files of the measurements, with ``payload``.
    """

    name: str
    tree: Path
    python: Path
    scratch: Path
    version: str = ""

    @property
    def payload(self):
        """Return the path of the file that is sent and received."""
        return self.scratch / "payload"

    def environment(self, middleware=False, serialize=False, **extra):
        """Return the environment of a process that runs the site on this side."""
        env = environment(
            # Bytecode stays out of the trees.
            PYTHONPYCACHEPREFIX=str(self.scratch / "bytecode"),
            PYTHONPATH=os.pathsep.join([str(self.tree), str(ROOT / "scripts")]),
            PYTHONHASHSEED="0",
            DJANGO_SETTINGS_MODULE="benchmarks.project.settings",
            BENCH_MIDDLEWARE="startproject" if middleware else "",
            BENCH_SERIALIZE="1" if serialize else "",
            BENCH_PAYLOAD=str(self.payload),
            **extra,
        )
        env.pop("PYTHONDONTWRITEBYTECODE", None)
        return env


def add_side_arguments(parser):
    """Add what all comparisons of two sides have in common."""
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write all samples to this file, too"
    )
    for name in ("patched", "unpatched"):
        parser.add_argument(
            f"--{name}",
            type=Path,
            metavar="DIR",
            help=f"a tree of the {name} Django instead of the one under build/",
        )


def find_sides(patched, unpatched, folder):
    """
    Return the patched and the unpatched Side.

    ``patched`` and ``unpatched`` are folders of trees, or None for those under
    build/. ``folder`` takes the environment that both use.
    """
    venv = Venv(folder.name, PACKAGES)
    if not venv.is_ready():
        venv.create()
        venv.pip("install", *PACKAGES)
        venv.finish()
    write_payload(folder / "payload")
    trees_by_name = {
        "patched": patched or trees.assemble(keep_edits=True).path,
        "unpatched": unpatched or trees.upstream(),
    }
    return tuple(
        make_side(name, tree.resolve(), venv.python, folder)
        for name, tree in trees_by_name.items()
    )


def make_side(name, tree, python, scratch):
    """Return a Side after a look whether its tree is what the name says."""
    side = Side(name, tree, python, scratch)
    output = run(python, "-c", WHICH_DJANGO, env=side.environment(), cwd=scratch)
    path, version, patched = json.loads(output)
    if not Path(path).is_relative_to(tree):
        raise Problem(f"{tree} holds no Django: {path} was imported instead.")
    if patched != (name == "patched"):
        raise Problem(f"{tree} is to be the {name} Django, and it is not.")
    say(f"{name}: Django {version}")
    return Side(name, tree, python, scratch, version)


def write_payload(path):
    """Make the file that is sent and received."""
    if not path.exists() or path.stat().st_size != PAYLOAD_SIZE:
        path.write_bytes(os.urandom(PAYLOAD_SIZE))
