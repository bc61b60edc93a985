"""
Build the distribution Django from the upstream release that the build
environment holds, the overlay in django/ and the patches in patches/series.

The build hooks execute this file several times in one build. Only
``build_py`` changes anything beyond the copies of upstream's licence files.
"""

import hashlib
import logging
import re
import shutil
import sys
from importlib import metadata
from pathlib import Path

import patch_ng
from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.command.develop import develop
from setuptools.command.editable_wheel import editable_wheel

RELEASE = "channels.1"

ROOT = Path(__file__).resolve().parent
# Beside LICENSE, so that setuptools carries the files into the dist-info.
UPSTREAM_LICENCES = ROOT / "upstream"

EXTRAS = {
    "redis": ["redis>=5.1", "hiredis>=3.0", "pybase64>=1.4"],
    "gevent": ["gevent>=24.2", "gevent-websocket>=0.10.1", "websockets>=13.0"],
}
EXTRAS["channels"] = [need for needs in EXTRAS.values() for need in needs]

IGNORED = shutil.ignore_patterns("__pycache__", "*.py[co]", ".*")


def pinned_version():
    """Return the upstream version that pyproject.toml names."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    return re.search(r'"Django==([^"]+)"', text)[1]


def find_upstream():
    """
    Return the build environment's Django as an importlib.metadata.Distribution.

    Leave with a sentence if it is not the pinned release, unpatched.
    """
    wanted = pinned_version()
    # Without the checkout itself, where an earlier build may have left metadata.
    path = [entry for entry in sys.path if Path(entry).resolve() != ROOT]
    dist = next(metadata.distributions(name="Django", path=path), None)
    if dist is None:
        sys.exit(
            f"The build environment lacks Django=={wanted}: build with isolation, as "
            "'pip install .' does."
        )
    if "+" in dist.version:
        sys.exit(
            f"The build environment holds Django {dist.version}, which is patched "
            f"already: build from upstream's Django=={wanted}."
        )
    if dist.version != wanted:
        sys.exit(
            f"The build environment holds Django {dist.version}, but pyproject.toml "
            f"names Django=={wanted}."
        )
    return dist


def copy_licences(upstream):
    """Copy upstream's licence files into the checkout; return the names of all."""
    shutil.rmtree(UPSTREAM_LICENCES, ignore_errors=True)
    UPSTREAM_LICENCES.mkdir()
    names = ["LICENSE", "AUTHORS"]
    for name in upstream.metadata.get_all("License-File"):
        found = [f for f in upstream.files if f.match(f"*.dist-info/**/{name}")]
        shutil.copyfile(found[0].locate(), UPSTREAM_LICENCES / name)
        names.append(f"{UPSTREAM_LICENCES.name}/{name}")
    return names


def requirements(upstream):
    """Return upstream's requirements and its extras with the project's own."""
    needs, extras = [], {}
    for need in upstream.requires or []:
        base, marker, extra = need.partition("; extra == ")
        if marker:
            extras.setdefault(extra.strip("\"'"), []).append(base)
        else:
            needs.append(need)
    return needs, extras | EXTRAS


def upstream_metadata(upstream):
    """Return the arguments of setup() that repeat upstream's metadata."""
    about = upstream.metadata
    needs, extras = requirements(upstream)
    scripts = [
        f"{script.name} = {script.value}"
        for script in upstream.entry_points
        if script.group == "console_scripts"
    ]
    return {
        "description": about["Summary"],
        "long_description": about.get_payload(),
        "long_description_content_type": about["Description-Content-Type"],
        "author_email": about["Author-email"],
        "license_expression": about["License-Expression"],
        "classifiers": about.get_all("Classifier"),
        "project_urls": dict(
            url.split(", ", 1) for url in about.get_all("Project-URL")
        ),
        "python_requires": about["Requires-Python"],
        "install_requires": needs,
        "extras_require": extras,
        "entry_points": {"console_scripts": scripts},
    }


def lay_overlay(overlay, target):
    """Copy the overlay over upstream's package at target; refuse to replace files."""
    for source in sorted(path for path in overlay.rglob("*") if path.is_file()):
        name = source.relative_to(overlay)
        if IGNORED(None, name.parts):
            continue
        place = target / name
        if place.exists():
            sys.exit(
                f"django/{name.as_posix()} exists upstream: the overlay only adds "
                "files; change upstream's by a patch."
            )
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, place)


def blob_id(path):
    """Return the id that git gives to the content of the file at path."""
    data = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def patched_files(patch, text):
    """
    Return (name, id before, id after) of each django/ file that a patch changes.

    Leave with a sentence if the patch makes, moves or deletes a file.
    """
    files = re.findall(
        r"^diff --git a/(django/\S+) b/\1\nindex ([0-9a-f]{40})\.\.([0-9a-f]{40})",
        text,
        re.MULTILINE,
    )
    if len(files) != len(re.findall(r"^diff --git a/django/", text, re.MULTILINE)):
        sys.exit(
            f"patches/{patch.name} does more than change files that upstream has, or "
            "lacks their full ids: put new files into the overlay, and write patches "
            "by scripts/refresh."
        )
    return files


def apply_patch(patch, target):
    """
    Apply the django/ part of a patch to the tree at target.

    The patch names the id of each file before and after, so that nothing but
    the exact result passes: leave with a sentence that names the patch if a
    hunk fails, or would only fit with fuzz or at another line.
    """
    data = patch.read_bytes()
    files = patched_files(patch, data.decode())
    if not files:
        return
    for name, old, _ in files:
        if not (target / name).exists() or blob_id(target / name) != old:
            sys.exit(f"patches/{patch.name} does not apply to {name}.")
    hunks = patch_ng.fromstring(data)
    if hunks:
        names = {name.encode() for name, _, _ in files}
        hunks.items = [
            item for item in hunks.items if item.target.removeprefix(b"b/") in names
        ]
        hunks.apply(root=str(target))
    for name, _, new in files:
        if blob_id(target / name) != new:
            sys.exit(f"patches/{patch.name} does not apply cleanly to {name}.")


def read_series():
    """Return the paths of the patches in the order of patches/series."""
    series = ROOT / "patches" / "series"
    names = series.read_text(encoding="utf-8").split() if series.exists() else []
    return [ROOT / "patches" / name for name in names]


class BuildPatched(build_py):
    """Fill build_lib with upstream's package, the overlay and the patches."""

    def run(self):
        target = Path(self.build_lib).resolve()
        shutil.rmtree(target, ignore_errors=True)
        package = find_upstream().locate_file("django")
        shutil.copytree(package, target / "django", ignore=IGNORED)
        lay_overlay(ROOT / "django", target / "django")
        for patch in read_series():
            apply_patch(patch, target)

    def get_source_files(self):
        """Return nothing: MANIFEST.in lists what an sdist holds."""
        return []

    def get_outputs(self, include_bytecode=True):
        """Return the files that run() made."""
        built = Path(self.build_lib) / "django"
        return [str(path) for path in built.rglob("*") if path.is_file()]


def refuse_editable(self):
    """Leave with the way to work on the sources."""
    sys.exit(
        "An editable install cannot work, because the package is built from "
        "upstream's files: run scripts/assemble and work in build/tree."
    )


if __name__ == "__main__":
    logging.getLogger("patch_ng").addHandler(logging.StreamHandler())
    logging.getLogger("patch_ng").setLevel(logging.WARNING)
    upstream = find_upstream()
    (ROOT / "build").mkdir(exist_ok=True)
    setup(
        name="Django",
        version=f"{upstream.version}+{RELEASE}",
        packages=["django"],
        license_files=copy_licences(upstream),
        # Metadata in the checkout's root would be found by a Python started there.
        options={"egg_info": {"egg_base": "build"}},
        cmdclass={
            "build_py": BuildPatched,
            "develop": type("Develop", (develop,), {"run": refuse_editable}),
            "editable_wheel": type(
                "EditableWheel", (editable_wheel,), {"run": refuse_editable}
            ),
        },
        zip_safe=False,
        **upstream_metadata(upstream),
    )
