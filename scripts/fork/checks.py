"""What has to hold for the series and the overlay."""

import re
from collections import Counter

from . import series
from .base import BUILD, ROOT, Problem, git
from .trees import clone, overlay_files, remove, upstream

MAX_ADDED = 40
# So many lines in a row that an upstream file has too are a copy.
MAX_REPEATED = 6
TRAILERS = ("Forwarded", "Bug")


def check():
    """Return a list of sentences on what is wrong with the series and overlay."""
    source = upstream()
    problems = names() or [*messages(), *sizes(), *round_trip(source)]
    return [*problems, *conflicts(source), *copies(source)]


def names():
    """Check that patches/series and the files in patches/ name each other."""
    listed = Counter(series.read())
    present = {path.name for path in series.PATCHES.glob("*") if path != series.SERIES}
    problems = [
        f"patches/series names {name} {count} times."
        for name, count in listed.items()
        if count > 1
    ]
    problems += [
        f"patches/series names {name}, which does not exist."
        for name in listed
        if name not in present
    ]
    problems += [
        f"patches/{name} is missing from patches/series."
        for name in sorted(present - set(listed))
    ]
    return problems


def messages():
    """Check that each patch says why it is needed, with its trailers."""
    problems = []
    for path in series.files():
        _, body = series.message(path.read_bytes())
        lines = body.splitlines()
        for trailer in TRAILERS:
            if not any(re.match(rf"{trailer}: \S", line) for line in lines):
                problems.append(f"patches/{path.name} lacks the trailer {trailer}:.")
        if all(re.match(r"[\w-]+: |\s*$", line) for line in lines):
            problems.append(f"patches/{path.name} does not say why it is needed.")
    return problems


def sizes():
    """Check that patches are seams: few lines, in files that upstream has."""
    problems = []
    for path in series.files():
        content = path.read_bytes()
        added = sum(line.startswith("+") for line in series.diff_lines(content))
        if added > MAX_ADDED:
            problems.append(
                f"patches/{path.name} adds {added} lines, more than {MAX_ADDED}: move "
                "what it does into the overlay."
            )
        if re.search(rb"^(new|deleted) file mode|^rename from", content, re.M):
            problems.append(
                f"patches/{path.name} makes, moves or deletes a file: new files "
                "belong to the overlay."
            )
    return problems


def round_trip(source):
    """Check that the series applies, and exports again to the same bytes."""
    tree = clone(source, BUILD / "check", only=series.touched() or ["LICENSE"])
    base = git(tree, "rev-parse", "HEAD")
    try:
        series.apply(tree)
        exported = series.export(tree, base)
    except Problem as problem:
        return [str(problem)]
    finally:
        remove(tree)
    problems = []
    for path, name in zip(series.files(), exported, strict=True):
        if path.name != name:
            problems.append(f"patches/{path.name} should be called {name}.")
        elif path.read_bytes() != exported[name]:
            problems.append(
                f"patches/{name} is not what git writes for its commit; was it edited "
                "by hand? Edit the assembled tree and run scripts/refresh."
            )
    return problems


def conflicts(source):
    """Check that no file of the overlay exists upstream."""
    return [
        f"{name} exists upstream: the overlay only adds files; change upstream's by a "
        "patch."
        for name in overlay_files()
        if (source / name).exists()
    ]


def significant_lines(path):
    """
    Return (line number, text) of the lines that can tell a copy: no blank
    lines, imports, comments, lines without a word, or names in a list.
    """
    lines, in_import = [], False
    text = path.read_text(encoding="utf-8", errors="replace")
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if in_import:
            in_import = ")" not in line
        elif re.match(r"(from \S+ )?import ", line):
            in_import = "(" in line and ")" not in line
        elif not re.match(r"""#|\W*$|["'][\w.]+["'],?$""", line):
            lines.append((number, line))
    return lines


def runs(lines):
    """Yield each run of lines that is long enough to be a copy, with its number."""
    for start in range(len(lines) - MAX_REPEATED + 1):
        part = lines[start : start + MAX_REPEATED]
        yield tuple(text for _, text in part), part[0][0]


def copies(source):
    """Check that no file of the overlay repeats lines of upstream's files."""
    ours = {}
    for name in overlay_files():
        if name.endswith(".py"):
            for run, number in runs(significant_lines(ROOT / name)):
                ours.setdefault(run, []).append((name, number))
    first = {run[0] for run in ours}
    found = {}
    for path in sorted(source.rglob("*.py")) if ours else ():
        # Most files share no line with the overlay.
        text = path.read_text(encoding="utf-8", errors="replace")
        if first.isdisjoint(map(str.strip, text.splitlines())):
            continue
        for run, number in runs(significant_lines(path)):
            for name, at in ours.get(run, ()):
                where = f"{path.relative_to(source)}:{number}"
                found.setdefault(name, (at, where))
    return [
        f"{name}:{at} repeats {MAX_REPEATED} lines or more of upstream's {where}: "
        "import or subclass it."
        for name, (at, where) in sorted(found.items())
    ]
