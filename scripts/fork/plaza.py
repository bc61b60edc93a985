"""The example site docs/examples/plaza, ready to be served."""

import runpy
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .base import ROOT, run
from .browsing import free_port, serving
from .servers import redis_server
from .trees import assemble
from .venvs import environment

SITE = ROOT / "docs/examples/plaza"
MANAGE = SITE / "manage.py"

PATIENCE = 60  # Seconds until the site is there.

# Each has the name for a password.
MAKE_USERS = """
from django.contrib.auth.models import User

for name in ("admin", "ada", "grace"):
    if not User.objects.filter(username=name).exists():
        is_admin = name == "admin"
        user = User(username=name, is_staff=is_admin, is_superuser=is_admin)
        user.set_password(name)
        user.save()
"""


def prepare(python, env):
    """
    Bring the site's database up to date, with the superuser admin and the users ada
    and grace.
    """
    for arguments in (["migrate", "--noinput"], ["shell", "-v", "0", "-c", MAKE_USERS]):
        run(python, MANAGE, *arguments, cwd=SITE, env=env)


def site_environment(folder):
    """
    Return an environment in which this Python runs the site on the assembled tree, with
    its database in a folder.
    """
    return environment(
        PYTHONPATH=str(assemble(keep_edits=True).path),
        PLAZA_DATABASE=str(Path(folder) / "plaza.sqlite3"),
        PLAZA_LAYER="",
        PLAZA_REDIS="",
    )


@dataclass
class Site:
    """The site that is served at a port of this machine, in an environment."""

    port: int
    env: dict

    def manage(self, *arguments):
        """Run a management command and return what it printed."""
        return run(sys.executable, MANAGE, *arguments, cwd=SITE, env=self.env)

    def window(self, driver, host="127.0.0.1"):
        """Return a Window of the site, as its own tests use them."""
        module = runpy.run_path(str(SITE / "plaza/windows.py"))
        return module["Window"](driver, f"http://{host}:{self.port}", PATIENCE)


@contextmanager
def production(folder):
    """
    Serve the site on a Redis server of its own, by runinterface and two workers. Yield
    the Site.
    """
    with redis_server(sys.executable) as variables:
        (location,) = variables.values()
        site = Site(free_port(), site_environment(folder) | {"PLAZA_REDIS": location})
        prepare(sys.executable, site.env)
        address = f"127.0.0.1:{site.port}"
        command = (sys.executable, MANAGE, "runinterface", address, "--workers", "2")
        login = f"http://{address}/login/"
        with serving(command, login, PATIENCE, cwd=SITE, env=site.env):
            yield site
