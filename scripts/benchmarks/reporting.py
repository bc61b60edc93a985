"""Results as a table and as JSON."""

import json
import platform

from fork.base import say

from .comparing import show_figure

SIDES = ("patched", "unpatched")

COLUMNS = [
    ("", 42),
    (SIDES[0], 9),
    (SIDES[1], 9),
    ("unit", 10),
    ("ratio", 7),
    ("spread", 15),
    ("bound", 8),
    ("", 5),
]


def row(cells):
    """Return a line of the table: the first column and units to the left."""
    padded = [
        f"{cell:<{width}}" if name in ("", "unit") else f"{cell:>{width}}"
        for cell, (name, width) in zip(cells, COLUMNS, strict=True)
    ]
    return "  ".join(padded).rstrip()


class Table:
    """
    Prints a row as soon as its result is there, and the head before the first.

    ``sides`` are the names of the sides.
    """

    def __init__(self, sides=SIDES):
        self.sides = dict(zip(SIDES, sides))
        self.started = False

    def print_row(self, result):
        if not self.started:
            say(row([self.sides.get(name, name) for name, _ in COLUMNS]))
            say(row(["-" * width for _, width in COLUMNS]))
            self.started = True
        bound = result.measure.bound
        patched, unpatched = (
            "" if figure is None else show_figure(figure) for figure in result.figures
        )
        spread = "..".join(bound.show(value) for value in result.spread)
        cells = [result.measure.title, patched, unpatched, result.measure.unit]
        cells += [bound.show(result.value), spread, str(bound)]
        say(row([*cells, verdict(result)]))


def verdict(result):
    """Return whether the bound holds as text, which is empty if there is none."""
    if not str(result.measure.bound):
        return ""
    return "ok" if result.holds else "FAILS"


def as_dict(result, names=SIDES):
    """
    Return a result with all of its samples as JSON values. ``names`` are those of
    the sides.
    """
    measure, bound = result.measure, result.measure.bound
    return {
        "key": measure.key,
        "title": measure.title,
        "unit": measure.unit,
        **dict(zip(names, result.figures, strict=True)),
        "bound": {"of": bound.of, "at_most": bound.at_most, "at_least": bound.at_least},
        "value": result.value,
        "spread": result.spread,
        "holds": result.holds,
        "rounds": [
            dict(zip(names, pairs, strict=True))
            for pairs in zip(result.patched, result.unpatched, strict=True)
        ],
    }


def write_json(path, sides, results, names=SIDES):
    """Write results to a file, with what they were measured on."""
    content = {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "django": {side.name: side.version for side in sides},
        "results": [as_dict(result, names) for result in results],
    }
    text = json.dumps(content, indent=2, ensure_ascii=False)
    path.write_text(f"{text}\n", encoding="utf-8")
