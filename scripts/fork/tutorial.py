"""The tutorial on channels, and somebody who follows it to the letter."""

import importlib.util
import re
from typing import NamedTuple

from .base import ROOT, Problem
from .shells import Shell

PAGE = "intro/channels-tutorial"

# Of what the reader has typed, on files and not on commands.
MOST_LINES = 60

# The captions of blocks that are files, or what is added to them.
CAPTION = re.compile(r"``(?P<name>[\w./-]+)``(?P<appended>, at the end)?")

# The commands that serve until they are interrupted, and those of them that browsers
# can look at.
WEB = re.compile(r"python manage\.py (runserver|runinterface)\b")
SERVERS = re.compile(rf"{WEB.pattern}|python manage\.py runworker\b|redis-server\b")

PASSWORD = "correct-horse-battery"
ANSWERS = [("Password: ", PASSWORD), ("Password (again): ", PASSWORD)]


def load_pages():
    """Return the module by which tests read the documentation."""
    path = ROOT / "tests/channels/pages.py"
    spec = importlib.util.spec_from_file_location("pages", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Command(NamedTuple):
    """A command, and the lines of which the page says that it prints them."""

    line: str
    printed: list

    @property
    def serves(self):
        return SERVERS.match(self.line)

    @property
    def serves_pages(self):
        return WEB.match(self.line)


class File(NamedTuple):
    """A file that the reader writes, or adds to at its end."""

    name: str
    text: str
    appended: bool


def steps(blocks):
    """
    Return the Commands and Files that Blocks of a page ask for, in order. Raise
    Problem if one is nothing that a reader could follow.
    """
    found = []
    for block in blocks:
        caption = CAPTION.fullmatch(block.caption)
        if block.language == "console":
            found += [command(line) for line in block.text.splitlines()]
        elif block.language == "text" and found and isinstance(found[-1], Command):
            found[-1].printed.extend(block.text.splitlines())
        elif caption:
            found.append(File(caption["name"], block.text, bool(caption["appended"])))
        else:
            raise Problem(f"The tutorial has a block that is no step:\n{block.text}")
    return found


def command(line):
    if not line.startswith("$ "):
        raise Problem(f"The tutorial has a command without a prompt: {line}")
    return Command(line.removeprefix("$ "), [])


class Reader:
    """
    Follows the tutorial in ``folder``, a new directory.

    ``changes`` is a dict of what is called differently here than in the page: the
    place of the sources, and ports. ``options`` has what is added to commands.
    """

    def __init__(self, folder, changes, options, **variables):
        self.shell = Shell(folder, **variables)
        self.changes = changes
        self.options = options
        # Lines that the reader has typed into files.
        self.typed = []
        # The server that browsers look at.
        self.site = None

    def change(self, text):
        for old, new in self.changes.items():
            text = text.replace(old, str(new))
        return text

    def take(self, step):
        """
        Take a step. Return what a command has printed, the Server of one that goes
        on, and None after a File.
        """
        if isinstance(step, File):
            return self.write(step)
        line = self.change(step.line)
        for begin, more in self.options.items():
            if line.startswith(begin):
                line += f" {more}"
        if not step.serves:
            asks = "createsuperuser" in line
            return self.shell.run(line, ANSWERS if asks else ())
        if step.serves_pages and self.site:
            self.site.interrupt()
        server = self.shell.start(line)
        if step.serves_pages:
            self.site = server
        return server

    def write(self, file):
        """Write a file, over what is there."""
        path = self.shell.folder / file.name
        path.parent.mkdir(parents=True, exist_ok=True)
        old = path.read_text() if path.exists() else ""
        known = set(old.splitlines())
        lines = [line for line in file.text.splitlines() if line.strip()]
        self.typed += [line for line in lines if file.appended or line not in known]
        begin = f"{old}\n" if file.appended else ""
        path.write_text(begin + self.change(file.text))

    def close(self):
        self.shell.close()
