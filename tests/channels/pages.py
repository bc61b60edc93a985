"""The code that pages of the documentation have, as their readers would take it."""

import re
import textwrap
from pathlib import Path
from typing import NamedTuple

DOCS = Path(__file__).resolve().parent.parent.parent / "docs"

# A directive at the beginning of a line, and what is indented below it.
BLOCK = re.compile(
    r"^\.\. (?P<directive>code-block|console)::(?: (?P<language>\S+))?\n"
    r"(?:    :caption: (?P<caption>.+)\n)?"
    r"\n"
    r"(?P<text>(?:(?:    .*)?\n)+)",
    re.MULTILINE,
)


class Block(NamedTuple):
    """
    A block of code. `language` is what the directive names, "console" for commands,
    and `caption` is "" if it has none.
    """

    language: str
    caption: str
    text: str


def blocks(name):
    """Return the Blocks of the page docs/<name>.txt, in their order."""
    return parse((DOCS / f"{name}.txt").read_text(encoding="utf-8"))


def parse(text):
    """Return the Blocks in the text of a page."""
    return [
        Block(
            found["language"] or found["directive"],
            found["caption"] or "",
            textwrap.dedent(found["text"]).strip("\n") + "\n",
        )
        for found in BLOCK.finditer(text)
    ]


def files(name):
    """
    Return {path: text} of the files of a site that a page shows: those blocks whose
    caption is a path between double backquotes.
    """
    return {
        block.caption.strip("`"): block.text
        for block in blocks(name)
        if re.fullmatch(r"``[\w./-]+``", block.caption)
    }
