"""Tests of setup.py: the wheel, its metadata, and what is refused."""

import tarfile
import unittest
import zipfile
from email import message_from_bytes, message_from_string

from fork.base import pinned_version
from fork.trees import upstream

from .checkout import PATCHES, shared_checkout
from .installer import Environment


def read_wheel(folder):
    """Return {name: content} of the one wheel in a folder."""
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


class PackagingTestCase(unittest.TestCase):
    """``builder`` holds the build requirements, ``wheel`` what pip built."""

    @classmethod
    def setUpClass(cls):
        if hasattr(PackagingTestCase, "wheel"):
            return
        checkout = shared_checkout()
        builder = Environment()
        builder.pip("install", f"Django=={pinned_version()}")
        builder.pip("install", "setuptools>=77", "patch-ng>=1.19,<2", "wheel")
        checkout.dist = checkout.path / "dist"
        builder.pip("wheel", "--no-deps", "-w", checkout.dist, checkout.path)
        PackagingTestCase.checkout = checkout
        PackagingTestCase.builder = builder
        PackagingTestCase.wheel = read_wheel(checkout.dist)
        PackagingTestCase.version = f"{pinned_version()}+channels.1"
        PackagingTestCase.info = f"django-{cls.version}.dist-info"

    def build(self, hook, argument):
        """Call a hook of the build backend without isolation, as pip would."""
        code = (
            f"import os; os.chdir({str(self.checkout.path)!r});"
            f"from setuptools import build_meta; build_meta.{hook}({argument!r})"
        )
        return self.builder.python("-c", code)


class WheelTests(PackagingTestCase):
    def metadata(self):
        return message_from_bytes(self.wheel[f"{self.info}/METADATA"])

    def test_upstream_files_overlay_and_patches(self):
        source = upstream() / "django"
        names = {
            path.relative_to(source.parent).as_posix()
            for path in source.rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        }
        added = {
            "django/toys/__init__.py",
            "django/toys/data/colours.txt",
            "django/core/toy.py",
        }
        built = {name for name in self.wheel if name.startswith("django/")}
        self.assertEqual(built, names | added)
        changed = {
            name
            for name in names
            if self.wheel[name] != (source.parent / name).read_bytes()
        }
        self.assertEqual(changed, {"django/core/wsgi.py", "django/core/asgi.py"})
        self.assertTrue(self.wheel["django/core/wsgi.py"].startswith(b"# A mark.\n"))

    def test_upstream_metadata(self):
        ours = self.metadata()
        text = self.builder.metadata("Django")
        theirs = message_from_string(text)
        self.assertEqual(ours["Version"], self.version)
        for name in set(theirs.keys()) - {"Version", "Dynamic", "License-File"}:
            with self.subTest(name=name):
                values = ours.get_all(name)
                self.assertLessEqual(set(theirs.get_all(name)), set(values))
                if name not in {"Requires-Dist", "Provides-Extra"}:
                    self.assertEqual(theirs.get_all(name), values)

    def test_extras(self):
        self.assertEqual(
            set(self.metadata().get_all("Provides-Extra")),
            {"argon2", "bcrypt", "redis", "gevent", "channels"},
        )
        needs = "".join(self.metadata().get_all("Requires-Dist"))
        for package in ("redis", "hiredis", "gevent", "gevent-websocket", "websockets"):
            with self.subTest(package=package):
                self.assertRegex(needs, rf'{package}>=[\d.]+; extra == "channels"')

    def test_console_script(self):
        scripts = self.wheel[f"{self.info}/entry_points.txt"].decode()
        self.assertIn("django-admin = django.core.management:execute", scripts)

    def test_licences(self):
        for name in self.metadata().get_all("License-File"):
            self.assertIn(f"{self.info}/licenses/{name}", self.wheel)
        for name in ("LICENSE", "LICENSE.python", "AUTHORS"):
            with self.subTest(name=name):
                carried = self.wheel[f"{self.info}/licenses/upstream/{name}"]
                self.assertEqual(carried, (upstream() / name).read_bytes())
        own = (self.checkout.path / "LICENSE").read_bytes()
        self.assertEqual(self.wheel[f"{self.info}/licenses/LICENSE"], own)

    def test_prepared_metadata_is_the_same(self):
        folder = self.checkout.path / "prepared"
        folder.mkdir()
        status, output = self.build("prepare_metadata_for_build_wheel", str(folder))
        self.assertEqual(status, 0, output)
        prepared = next(folder.glob("*.dist-info/METADATA")).read_bytes()
        self.assertEqual(prepared, self.wheel[f"{self.info}/METADATA"])

    def test_sdist_gives_the_same_wheel(self):
        folder = self.checkout.path / "sdist"
        status, output = self.build("build_sdist", str(folder))
        self.assertEqual(status, 0, output)
        sdist = next(folder.glob("*.tar.gz"))
        with tarfile.open(sdist) as archive:
            names = {name.partition("/")[2] for name in archive.getnames()}
        for name in ("patches/series", "scripts/test", "docs/topics/toys.txt"):
            self.assertIn(name, names)
        made = {name for name in names if name.startswith("build/")}
        self.assertEqual({name for name in made if "egg-info" not in name}, set())
        self.builder.pip("wheel", "--no-deps", "-w", folder, sdist)
        self.assertEqual(read_wheel(folder), self.wheel)

    def test_other_packages_keep_it(self):
        env = Environment()
        env.pip("install", next(self.checkout.dist.glob("*.whl")))
        env.pip("install", "django-filter")
        env.pip("check")
        self.assertIn(f"Version: {self.version}\n", env.metadata("Django"))
        status, output = env.python("-m", "django", "--version")
        self.assertEqual(status, 0, output)


class RefusalTests(PackagingTestCase):
    def refused(self, saying, hook="build_wheel"):
        status, output = self.build(hook, str(self.checkout.path / "refused"))
        self.assertNotEqual(status, 0, output)
        self.assertIn(saying, output)

    def change(self, name, old, new):
        text = self.checkout.read(name)
        self.addCleanup(self.checkout.write, name, text)
        self.checkout.edit(name, old, new)

    def test_editable_install(self):
        self.refused("run scripts/assemble", hook="build_editable")

    def test_patched_build_environment(self):
        # The patched version satisfies the requirement: only force replaces it.
        command = ("install", "--no-deps", "--force-reinstall")
        pristine = f"Django=={pinned_version()}"
        self.addCleanup(self.builder.pip, *command, pristine)
        wheel = next(self.checkout.dist.glob("*.whl"))
        self.builder.pip("install", "--no-deps", wheel)
        self.refused(f"holds Django {self.version}, which is patched already")

    def test_other_upstream_version(self):
        self.change("pyproject.toml", f"Django=={pinned_version()}", "Django==5.2.1")
        self.refused("pyproject.toml names Django==5.2.1")

    def test_overlay_file_that_upstream_has(self):
        self.checkout.write("django/core/cache/utils.py", "")
        self.addCleanup((self.checkout.path / "django/core/cache/utils.py").unlink)
        self.refused("django/core/cache/utils.py exists upstream")

    def test_hunk_that_fails(self):
        self.change(f"patches/{PATCHES[0]}", "\n import", "\n xmport")
        self.refused(f"patches/{PATCHES[0]} does not apply")

    def test_hunk_at_another_line(self):
        self.change(f"patches/{PATCHES[0]}", "@@ -1,", "@@ -2,")
        self.refused(f"patches/{PATCHES[0]} does not apply")

    def test_patch_for_another_content(self):
        self.change(f"patches/{PATCHES[0]}", "\nindex ", "\nindex 0")
        self.refused(f"patches/{PATCHES[0]}")

    def test_patch_that_makes_a_file(self):
        self.change(f"patches/{PATCHES[0]}", "\nindex ", "\nnew file mode 0\nindex ")
        self.refused(f"patches/{PATCHES[0]} does more than change files")
