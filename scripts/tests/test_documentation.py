"""Tests of the checks of the documentation, on a small one."""

import tempfile
import unittest
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from fork import documentation, links
from fork.base import ROOT
from fork.trees import upstream
from fork.venvs import Venv

CONF = """
import sys

extensions = ["sphinxcontrib.spelling"] if "spelling" in sys.argv else []
source_suffix = {".txt": "restructuredtext"}
root_doc = "contents"
spelling_lang = "en_US"
spelling_warning = True
"""

CONTENTS = """
Contents
========

.. toctree::

   page

A mistake in a page of others is passed over: xqzwv.
"""

PAGE = """
Page
====

This line is right. The next one speaks of a plazaword and has a mistaek.

There is :class:`django.channels.Nothing`, and :class:`pathlib.Path`. Follow
{url}/there/, {url}/there/#place, {url}/there/#nowhere, {url}/gone/,
{url}/refused/ and http://127.0.0.1:1/.

::

    right = {{"a": 1}}

.. code-block:: python

    wrong = {{'a':1}}
"""


class Handler(BaseHTTPRequestHandler):
    """Has a page /there/ with the anchor "place"."""

    def do_GET(self):
        self.send_response({"/there/": 200, "/refused/": 403}.get(self.path, 404))
        self.end_headers()
        self.wfile.write(b'<p id="place">Here</p>')

    def log_message(self, *arguments):
        pass


class DocsTests(unittest.TestCase):
    """`docs` has a page with a mistake of each kind."""

    @classmethod
    def setUpClass(cls):
        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        cls.addClassCleanup(server.server_close)
        Thread(target=server.serve_forever, daemon=True).start()
        cls.addClassCleanup(server.shutdown)
        cls.url = f"http://127.0.0.1:{server.server_port}"
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        tree = Path(folder.name).resolve()
        for name, text in {
            "conf.py": CONF,
            "contents.txt": CONTENTS,
            "page.txt": PAGE.format(url=cls.url),
            "spelling_wordlist": "",
            "channels_wordlist": "plazaword\n",
        }.items():
            (tree / "docs").mkdir(exist_ok=True)
            (tree / "docs" / name).write_text(text)
        env = Venv("docs-venv")
        if not env.python.exists():
            env = documentation.sphinx_venv(upstream())
        cls.docs = documentation.Docs(env, tree, tree / "built", ["page.txt"])

    def test_references(self):
        found = self.docs.warnings()
        self.assertEqual(len(found), 2)
        (warning,) = [line for line in found if not documentation.is_pythons(line)]
        self.assertIn("target not found: django.channels.Nothing", warning)

    def test_spelling(self):
        if not documentation.has_dictionary(self.docs.env):
            self.skipTest("Needs libenchant with an English dictionary.")
        found = self.docs.misspellings()
        self.assertEqual(len(found), 1, found)
        self.assertIn("docs/page.txt:5: (mistaek)", found[0])

    def test_links(self):
        failures, notes = self.docs.followed_links()
        self.assertEqual(len(failures), 2)
        self.assertTrue(any(f"{self.url}/gone/" in line for line in failures))
        self.assertTrue(any("'nowhere' not found" in line for line in failures))
        self.assertEqual(len(notes), 2)
        self.assertIn("127.0.0.1 were not checked", notes[0])
        self.assertIn(f"{self.url}/refused/", notes[1])

    def test_format(self):
        (found,) = self.docs.unformatted()
        self.assertEqual(found, "docs/page.txt: blacken-docs would change it.")


class OwnPagesTests(unittest.TestCase):
    def test_pages_of_the_overlay(self):
        pages = documentation.own_pages()
        self.assertIn("topics/channels.txt", pages)
        self.assertTrue(all((ROOT / "docs" / page).is_file() for page in pages))
        self.assertFalse(any(page.startswith("examples") for page in pages))

    def test_word_list(self):
        """Its words are in alphabetical order, and those of no other list."""
        name = documentation.WORD_LISTS.split(",")[1]
        words = (ROOT / "docs" / name).read_text().split()
        self.assertEqual(words, sorted(set(words)))
        others = (upstream() / "docs/spelling_wordlist").read_text().split()
        self.assertEqual(set(words) & set(others), set())


class JudgeTests(unittest.TestCase):
    result = partial(dict, filename="a.txt", lineno=7, uri="https://example.com/a")

    def test_links_that_work(self):
        for status in ("working", "redirected", "ignored", "unchecked"):
            with self.subTest(status=status):
                result = self.result(status=status, info="")
                self.assertEqual(links.judge([result]), ([], []))

    def test_pages_that_are_gone(self):
        for info in ["404 Client Error: Not Found", "Anchor 'b' not found"]:
            with self.subTest(info=info):
                failures, notes = links.judge([self.result(status="broken", info=info)])
                where = "docs/a.txt:7: https://example.com/a"
                self.assertEqual(failures, [f"{where}: {info}"])
                self.assertEqual(notes, [])

    def test_hosts_without_an_answer(self):
        results = [
            self.result(status="broken", info="[Errno -2] Name or service not known"),
            self.result(status="timeout", info="timed out", uri="https://example.org/"),
        ]
        failures, (note,) = links.judge(results * 2)
        self.assertEqual(failures, [])
        self.assertIn("example.com, example.org were not checked", note)

    def test_address_without_a_host(self):
        results = [self.result(status="broken", info="", uri="/nowhere/")]
        (failure,), notes = links.judge(results)
        self.assertEqual(failure, "docs/a.txt:7: /nowhere/ leads nowhere.")
        self.assertEqual(notes, [])
