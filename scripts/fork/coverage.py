"""
What the tests cover of the overlay's modules, measured by coverage.py.

Each process of the test environment that is started while CHANNELS_COVERAGE is set
measures itself, by a .pth file. So workers and servers that tests start are
measured as well, and nothing has to know of it.

The .pth file that the package itself brings is removed. It would have all that
upstream's tests start measured always, as their runtests.py sets the variable that
it looks at.
"""

import os
import re
import shutil
from contextlib import contextmanager
from pathlib import Path

from . import suites
from .base import BUILD, ROOT, Problem, run
from .venvs import environment

# The least percentage of lines and branches together.
GOAL = 97

PLACE = BUILD / "coverage"

VARIABLE = "CHANNELS_COVERAGE"  # The path of the configuration.

START = f"""
path = os.environ.get("{VARIABLE}")
if path:
    os.environ["COVERAGE_PROCESS_START"] = path
    import coverage
    coverage.process_startup()
"""
# Python runs the lines of such files that begin with "import".
PTH = "channels_coverage.pth", f"import os; exec({START!r})\n"

# The interface server has greenlets, the rest has threads. Test processes and
# some of their children are forks, which end by os._exit(), and servers end by
# SIGTERM. The links of the assembled tree are followed, so that the names are
# those of the overlay.
CONFIG = """\
[run]
branch = true
parallel = true
source = {overlay}
data_file = {place}/data
concurrency = thread, greenlet
patch = _exit, execv, fork, subprocess
sigterm = true
disable_warnings = no-data-collected, module-not-imported, trace-changed

[report]
include_namespace_packages = true
show_missing = true
skip_covered = true
precision = 2
exclude_also =
    raise NotImplementedError
"""


def prepare(python):
    """Let the processes of an environment measure themselves when they are told to."""
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    packages = Path(run(python, "-I", "-c", code))
    for other in packages.glob("*coverage*.pth"):
        if other.name != PTH[0]:
            other.unlink()
    (packages / PTH[0]).write_text(PTH[1])


@contextmanager
def measuring(overlay=ROOT / "django", place=PLACE):
    """
    Let the processes that are started in the context note what they run of
    `overlay`, in files at `place`.
    """
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    config = place / "config"
    config.write_text(CONFIG.format(overlay=overlay, place=place), encoding="utf-8")
    before = os.environ.copy()
    os.environ[VARIABLE] = str(config)
    try:
        yield
    finally:
        os.environ.pop(VARIABLE)
        os.environ.update(before)


def report(python, place=PLACE):
    """
    Print what was not run of each module, and return the percentage of lines and
    branches that was.

    ``python`` is that of the test environment.
    """
    command = (python, "-m", "coverage")
    options = (f"--rcfile={place / 'config'}",)
    run(*command, "combine", "--quiet", *options, cwd=place, env=environment())
    _, printed = suites.stream(
        *command, "report", *options, cwd=ROOT, env=environment()
    )
    return total(printed)


def total(printed):
    """Return the percentage in the last line of a report."""
    found = re.search(r"^TOTAL .* ([\d.]+)%$", printed, re.MULTILINE)
    if not found:
        raise Problem("coverage.py could not tell what was covered.")
    return float(found[1])
