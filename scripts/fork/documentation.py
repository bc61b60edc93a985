"""
Upstream's documentation with the project's pages, checked as upstream checks its
own: built by Sphinx, its words looked up, its links followed, its code formatted.
"""

import builtins
import json
import os
import re
import shutil
import sys
from functools import cache

from . import links, series, system
from .base import BUILD, ROOT, run
from .venvs import Venv, environment

# The names that are right and in no dictionary: upstream's, and the project's.
WORD_LISTS = "spelling_wordlist,channels_wordlist"

# What a spelling checker is made of, on Debian.
SPELLING = ("libenchant-2-2", "hunspell-en-us")

TARGET = re.compile(r"py:\w+ reference target not found: ([\w.]+)")


def sphinx_venv(upstream):
    """Return the environment that upstream's docs/requirements.txt asks for."""
    needs = (upstream / "docs/requirements.txt").read_text()
    env = Venv("docs-venv", needs)
    if not env.is_ready():
        env.create()
        env.pip("install", "-r", upstream / "docs/requirements.txt")
        env.finish()
    return env


def own_pages():
    """Return the names of the project's own pages, below docs/."""
    docs = ROOT / "docs"
    pages = (path.relative_to(docs) for path in docs.rglob("*.txt"))
    return sorted(str(page) for page in pages if page.parts[0] != "examples")


class Docs:
    """
    The docs/ of a tree. What Sphinx makes of it goes to ``target``, and ``names``
    are those of the pages that are looked at one by one.
    """

    def __init__(self, env, tree, target, names):
        self.env = env
        self.tree = tree
        self.target = target
        self.names = names
        self.pages = [tree / "docs" / name for name in names]

    def sphinx(self, builder, *options, pages=()):
        """
        Run a builder and return the set of its warnings. Builders that are run one
        after the other read the pages once.
        """
        target = self.target / builder
        warnings = self.target / f"{builder}.warnings"
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        warnings.unlink(missing_ok=True)
        # The tag is for conf.py, which looks for the word in the command line: with
        # other extensions the pages would be read anew.
        settings = ("-t", "spelling", "-D", f"spelling_word_list_filename={WORD_LISTS}")
        # With typographic apostrophes the checker finds no contractions.
        settings += ("-D", "smartquotes=0")
        # With -Q, which prints nothing, it would write no warnings to the file either.
        run(
            self.env.python,
            *("-m", "sphinx", "-b", builder, "-q", "--no-color", *settings, *options),
            *("-j", os.cpu_count() or 1, "-d", self.target / "doctrees"),
            *("-w", warnings, self.tree / "docs", target, *pages),
            cwd=self.tree / "docs",
            env=environment(PYTHONPATH=str(self.tree), LC_ALL="C.UTF-8"),
            # That of links fails if one is broken.
            check=builder != "linkcheck",
        )
        text = warnings.read_text(encoding="utf-8") if warnings.exists() else ""
        return set(text.replace(f"{self.tree}/", "").splitlines())

    def warnings(self):
        """Build all pages as HTML, as nitpicky as upstream is; return the warnings."""
        return self.sphinx("html", "--fresh-env", "-n")

    def misspellings(self):
        """Return a sentence for each word of the pages that is in no list."""
        self.sphinx("spelling", pages=self.pages)
        lines = []
        # Sphinx looks at pages whose tables of contents have these as well.
        for name in self.names:
            path = (self.target / "spelling" / name).with_suffix(".spelling")
            if path.exists():
                lines += path.read_text(encoding="utf-8").splitlines()
        return [f"Spelling: docs/{line.strip()}" for line in lines]

    def followed_links(self):
        """Return (failures, notes) on the links of the pages that lead elsewhere."""
        self.sphinx("linkcheck", *links.OPTIONS, pages=self.pages)
        path = self.target / "linkcheck/output.json"
        lines = path.read_text(encoding="utf-8").splitlines()
        results = map(json.loads, lines)
        return links.judge(one for one in results if one["filename"] in self.names)

    def unformatted(self):
        """Return the pages whose code black would change."""
        command = self.env.python.with_name("blacken-docs")
        options = ("--check", "--rst-literal-blocks")
        found = [
            page
            for page in self.pages
            if run(command, *options, page, check=False) is None
        ]
        names = [page.relative_to(self.tree) for page in found]
        return [f"{name}: blacken-docs would change it." for name in names]


def own_warnings(docs):
    """
    Return (warnings on the project's own doing, number of others).

    Without access to the sites that upstream's pages refer to, upstream's own docs
    give warnings.
    """
    found = docs.warnings()
    own = sorted(line for line in found if is_own(line) and not is_pythons(line))
    return own, len(found) - len(own)


def is_own(warning):
    """
    Return whether a warning is about a page of the project or one that a patch
    changes, or mentions channels, as one does about a name that is there twice.
    """
    names = [*own_pages(), *patched_pages(), "channel"]
    return any(name in warning for name in names)


@cache
def patched_pages():
    """Return the names of upstream's pages that patches change, below docs/."""
    patches = [(ROOT / "patches" / name).read_text() for name in series.read()]
    return re.findall(r"^diff --git a/docs/(\S+)", "".join(patches), re.MULTILINE)


def is_pythons(warning):
    """
    Return whether a warning is about a reference to Python's documentation, whose
    inventory may be out of reach.
    """
    found = TARGET.search(warning)
    root = found[1].partition(".")[0] if found else ""
    return root in sys.stdlib_module_names or hasattr(builtins, root)


def has_dictionary(env):
    """Return whether words can be looked up; install what it takes if possible."""
    code = "import enchant; enchant.Dict('en_US')"

    def works():
        return run(env.python, "-c", code, check=False) is not None

    return works() or (system.install(*SPELLING) and works())


def check(upstream, tree):
    """Return (failures, notes) on the documentation of a tree."""
    env = sphinx_venv(upstream)
    # A copy, as Sphinx resolves links when it's given the names of pages.
    source = BUILD / "docs/source"
    shutil.rmtree(source, ignore_errors=True)
    shutil.copytree(tree / "docs", source / "docs")
    (source / "django").symlink_to(tree / "django")
    docs = Docs(env, source, BUILD / "docs/patched", own_pages())
    failures, others = own_warnings(docs)
    notes = [f"{others} warnings are not about channels."] if others else []
    failures += docs.unformatted()
    if has_dictionary(env):
        failures += docs.misspellings()
    else:
        missing = " and ".join(SPELLING)
        notes.append(f"The spelling was not checked: {missing} are not installed.")
    broken, unknown = docs.followed_links()
    return failures + broken, notes + unknown
