"""Virtual environments for the tests of the packaging."""

import atexit
import shutil
import subprocess
import tempfile
import venv
from pathlib import Path

from fork.venvs import PIP, environment


class Environment:
    """A temporary virtual environment with nothing but pip in it."""

    def __init__(self):
        self.path = Path(tempfile.mkdtemp(prefix="environment-"))
        atexit.register(shutil.rmtree, self.path, ignore_errors=True)
        venv.create(self.path, with_pip=True)

    def python(self, *arguments):
        """Run its Python and return (status, all that it printed)."""
        result = subprocess.run(
            [self.path / "bin/python", *arguments],
            cwd=self.path,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        return result.returncode, result.stdout

    def pip(self, *arguments):
        """Run its pip, which has to succeed."""
        status, output = self.python(*PIP, *arguments)
        assert status == 0, output
        return output

    def metadata(self, name):
        """Return the metadata of an installed distribution as its text."""
        code = (
            "from importlib.metadata import distribution;"
            f"print(distribution({name!r}).read_text('METADATA'))"
        )
        status, output = self.python("-I", "-c", code)
        assert status == 0, output
        return output
