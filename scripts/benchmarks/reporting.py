"""Results as a table and as JSON."""

import json
import platform

from fork.base import say

COLUMNS = [
    ("", 42),
    ("patched", 9),
    ("unpatched", 9),
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
    """Prints a row as soon as its result is there, and the head before the first."""

    def __init__(self):
        self.started = False

    def print_row(self, result):
        if not self.started:
            say(row([name for name, _ in COLUMNS]))
            say(row(["-" * width for _, width in COLUMNS]))
            self.started = True
        bound = result.measure.bound
        patched, unpatched = (show_figure(figure) for figure in result.figures)
        spread = "..".join(bound.show(value) for value in result.spread)
        cells = [result.measure.title, patched, unpatched, result.measure.unit]
        cells += [bound.show(result.value), spread, str(bound)]
        say(row([*cells, "ok" if result.holds else "FAILS"]))


def show_figure(figure):
    return f"{figure:.1f}" if figure < 1000 else f"{figure:,.0f}"


def as_dict(result):
    """Return a result with all of its samples as JSON values."""
    measure, bound = result.measure, result.measure.bound
    patched, unpatched = result.figures
    return {
        "key": measure.key,
        "title": measure.title,
        "unit": measure.unit,
        "patched": patched,
        "unpatched": unpatched,
        "bound": {"of": bound.of, "at_most": bound.at_most, "at_least": bound.at_least},
        "value": result.value,
        "spread": result.spread,
        "holds": result.holds,
        "rounds": [
            {"patched": ours, "unpatched": theirs}
            for ours, theirs in zip(result.patched, result.unpatched, strict=True)
        ],
    }


def write_json(path, sides, results):
    """Write results to a file, with what they were measured on."""
    content = {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "django": {side.name: side.version for side in sides},
        "results": [as_dict(result) for result in results],
    }
    text = json.dumps(content, indent=2, ensure_ascii=False)
    path.write_text(f"{text}\n", encoding="utf-8")
