"""Tests of assemble, check, refresh, bump and export."""

import unittest

from fork.base import pinned_version

from .checkout import (
    COMMITS,
    PATCHES,
    Checkout,
    shared_checkout,
    upstream_lines,
)


class SeriesTestCase(unittest.TestCase):
    """Each test finds the shared checkout as make_series() left it."""

    @classmethod
    def setUpClass(cls):
        cls.checkout = shared_checkout()

    def setUp(self):
        patches, path = self.checkout.patches(), self.checkout.path
        self.addCleanup(self.checkout.script, "assemble", "--force")
        self.addCleanup(self.checkout.restore, patches)
        self.patches, self.tree = patches, path / "build/tree"

    def write_overlay(self, name, text):
        self.checkout.write(name, text)
        self.addCleanup((self.checkout.path / name).unlink)

    def assertSucceeds(self, script, *arguments):
        status, output = self.checkout.script(script, *arguments)
        self.assertEqual(status, 0, output)
        return output

    def assertFails(self, script, *arguments, saying):
        status, output = self.checkout.script(script, *arguments)
        self.assertEqual(status, 1, output)
        self.assertIn(saying, output)
        self.assertNotIn("Traceback", output)


class AssembleTests(SeriesTestCase):
    def test_patches_are_commits_on_upstream(self):
        subjects = self.checkout.git("log", "--format=%s").splitlines()
        self.assertEqual(subjects[:2], ["Marked the asgi.", "Marked the wsgi."])
        self.assertRegex(subjects[2], r"^Django \d+\.\d+")
        self.assertEqual(len(subjects), 3)

    def test_overlay_is_linked(self):
        self.assertTrue((self.tree / "django/toys").is_symlink())
        self.assertTrue((self.tree / "django/core/toy.py").is_symlink())
        self.assertTrue((self.tree / "tests/toys").is_symlink())
        self.assertFalse((self.tree / "django/core").is_symlink())
        self.assertEqual(self.checkout.git("status", "--porcelain"), "")

    def test_links_follow_the_overlay(self):
        self.checkout.write("django/core/brick.py", "")
        self.assertSucceeds("assemble")
        self.assertTrue((self.tree / "django/core/brick.py").is_symlink())
        (self.checkout.path / "django/core/brick.py").unlink()
        self.assertSucceeds("assemble")
        self.assertFalse((self.tree / "django/core/brick.py").is_symlink())

    def test_edits_are_kept(self):
        self.checkout.edit("build/tree/django/core/wsgi.py", "# A mark", "# Mine")
        self.assertFails("assemble", saying="scripts/refresh")
        self.assertIn("# Mine", self.checkout.read("build/tree/django/core/wsgi.py"))
        self.assertSucceeds("assemble", "--force")
        self.assertIn("# A mark", self.checkout.read("build/tree/django/core/wsgi.py"))

    def test_commits_are_kept(self):
        self.checkout.git("commit", "--quiet", "--allow-empty", "-m", "Mine.")
        self.assertFails("assemble", saying="Mine. is new")

    def test_changed_series_is_applied(self):
        self.checkout.write("patches/series", f"{PATCHES[0]}\n")
        self.assertSucceeds("assemble")
        self.assertEqual(self.checkout.git("log", "-1", "--format=%s")[-5:], "wsgi.")

    def test_broken_series_leaves_the_tree(self):
        self.checkout.edit(f"patches/{PATCHES[1]}", "\n+# A mark", "\n+# A\n+# mark")
        self.assertFails("assemble", saying=PATCHES[1])
        self.assertEqual(self.checkout.git("log", "-1", "--format=%s")[-5:], "asgi.")


class CheckTests(SeriesTestCase):
    def test_good_series(self):
        self.assertIn("2 patches", self.assertSucceeds("check"))

    def test_patch_touched_by_hand(self):
        self.checkout.edit(f"patches/{PATCHES[0]}", "\n+# A mark", "\n+# A mork")
        self.assertFails("check", saying=f"patches/{PATCHES[0]}")

    def test_message_touched_by_hand(self):
        self.checkout.edit(f"patches/{PATCHES[0]}", "Bug: none\n\n", "Bug: none\n\n\n")
        self.assertFails("check", saying=f"patches/{PATCHES[0]}")

    def test_moved_hunk(self):
        self.checkout.edit(f"patches/{PATCHES[0]}", "@@ -1,", "@@ -2,")
        self.assertFails("check", saying=f"patches/{PATCHES[0]}")

    def test_patch_missing_from_the_series(self):
        self.checkout.write("patches/series", f"{PATCHES[0]}\n")
        self.assertFails("check", saying=f"patches/{PATCHES[1]} is missing")

    def test_patch_that_does_not_exist(self):
        (self.checkout.folder / PATCHES[1]).unlink()
        self.assertFails("check", saying=f"{PATCHES[1]}, which does not exist")

    def test_patch_named_twice(self):
        self.checkout.write("patches/series", "\n".join([*PATCHES, PATCHES[0]]))
        self.assertFails("check", saying=f"names {PATCHES[0]} 2 times")

    def test_renamed_patch(self):
        (self.checkout.folder / PATCHES[0]).rename(self.checkout.folder / "a.patch")
        self.checkout.write("patches/series", f"a.patch\n{PATCHES[1]}\n")
        self.assertFails("check", saying=f"should be called {PATCHES[0]}")

    def test_missing_trailer(self):
        for trailer in ("Forwarded: no\n", "Bug: none\n"):
            with self.subTest(trailer=trailer):
                self.checkout.restore(self.patches)
                self.checkout.edit(f"patches/{PATCHES[0]}", trailer, "")
                name = trailer.split()[0]
                self.assertFails("check", saying=f"lacks the trailer {name}")

    def test_missing_reason(self):
        reason = "A comment cannot be added from outside.\n\n"
        self.checkout.edit(f"patches/{PATCHES[0]}", reason, "")
        self.assertFails("check", saying="does not say why")

    def test_large_patch(self):
        text = self.checkout.read("build/tree/django/core/wsgi.py")
        self.checkout.write("build/tree/django/core/wsgi.py", "# x\n" * 41 + text)
        self.assertSucceeds("refresh")
        self.assertFails("check", saying="more than 40")

    def test_overlay_file_that_upstream_has(self):
        self.write_overlay("django/core/cache/utils.py", "")
        self.assertFails("check", saying="django/core/cache/utils.py exists upstream")

    def test_overlay_file_that_repeats_upstream(self):
        copy = upstream_lines("django/core/paginator.py", 20)
        self.write_overlay("django/toys/copied.py", f"import os\n\n{copy}")
        self.assertFails("check", saying="of upstream's django/core/paginator.py")


class RefreshTests(SeriesTestCase):
    def test_nothing_to_do(self):
        self.assertIn("0 patches", self.assertSucceeds("refresh"))
        self.assertEqual(self.checkout.patches(), self.patches)

    def test_edit_is_folded_into_the_patch_of_the_file(self):
        self.checkout.edit("build/tree/django/core/wsgi.py", "# A mark", "# Another")
        self.assertSucceeds("refresh")
        self.assertIn("+# Another", self.checkout.read(f"patches/{PATCHES[0]}"))
        self.assertEqual(self.checkout.patches()[PATCHES[1]], self.patches[PATCHES[1]])
        self.assertSucceeds("check")
        self.assertSucceeds("assemble")

    def test_commits_become_patches(self):
        text = self.checkout.read("build/tree/django/core/signing.py")
        self.checkout.write("build/tree/django/core/signing.py", f"# A mark.\n{text}")
        self.assertFails("refresh", saying="No patch touches django/core/signing.py")
        message = "Marked it.\n\nBecause.\n\nForwarded: no\nBug: none"
        self.checkout.git("commit", "--quiet", "-a", "-m", message)
        self.assertSucceeds("refresh")
        self.assertEqual(
            self.checkout.read("patches/series").split(),
            [*PATCHES, "Marked-it.patch"],
        )
        self.assertSucceeds("check")

    def test_stale_patches_are_removed(self):
        self.checkout.git("reset", "--hard", "--quiet", "HEAD~1")
        self.assertSucceeds("refresh")
        self.assertEqual(set(self.checkout.patches()), {"series", PATCHES[0]})

    def test_new_file_belongs_to_the_overlay(self):
        self.checkout.write("build/tree/django/core/brick.py", "")
        self.assertFails("refresh", saying="django/core/brick.py django/core/brick.py")

    def test_patches_changed_meanwhile(self):
        self.checkout.write("patches/series", f"{PATCHES[0]}\n")
        self.assertFails("refresh", saying="changed after")


class ExportTests(SeriesTestCase):
    def test_commits(self):
        self.assertSucceeds("export", "--branch", "proposal")
        log = self.checkout.git("log", "--format=%s", "proposal", tree="build/export")
        subjects = log.splitlines()[::-1]
        self.assertRegex(subjects[0], r"^Django \d")
        self.assertEqual(subjects[1:], ["Added toys.", "Marked modules."])
        message = self.checkout.git(
            "log", "-1", "--format=%B", "proposal", tree="build/export"
        )
        reason = "A comment cannot be added from outside."
        self.assertEqual(message, f"Marked modules.\n\n{reason}\n\n{reason}")
        files = self.checkout.git("ls-files", "django", tree="build/export")
        self.assertIn("django/toys/data/colours.txt", files.splitlines())

    def test_patch_that_does_not_apply(self):
        self.checkout.edit(f"patches/{PATCHES[1]}", "\n+# A mark", "\n+# A\n+# mark")
        sentence = f"patches/{PATCHES[1]} does not apply where scripts/commits.txt has"
        self.assertFails("export", saying=sentence)

    def test_file_without_a_commit(self):
        self.checkout.edit("scripts/commits.txt", "    docs/\n", "")
        self.addCleanup(self.checkout.write, "scripts/commits.txt", COMMITS)
        self.assertFails("export", saying="docs/topics/toys.txt is in no commit.")

    def test_other_folders_are_left_alone(self):
        self.checkout.write("build/mine/file", "")
        self.assertFails("export", "--dir", "build/mine", saying="is not empty")


class BumpTests(unittest.TestCase):
    """These need the sdist of another release from the package index."""

    @classmethod
    def setUpClass(cls):
        cls.checkout = Checkout(share_upstream=False)
        cls.checkout.make_series()
        cls.series = cls.checkout.patches()
        cls.pinned = pinned_version()
        *series, micro = cls.pinned.split(".")
        cls.earlier = ".".join([*series, str(int(micro) - 1)])

    def state(self):
        return self.checkout.patches(), self.checkout.read("pyproject.toml")

    def test_bump_and_back(self):
        before = self.state()
        status, output = self.checkout.script("bump", self.earlier)
        self.assertEqual(status, 0, output)
        line = f'"Django=={self.earlier}"'
        self.assertIn(line, self.checkout.read("pyproject.toml"))
        status, output = self.checkout.script("bump", self.pinned)
        self.assertEqual(status, 0, output)
        self.assertEqual(self.state(), before)

    def test_conflict_changes_nothing(self):
        # The line that names the version differs between any two releases.
        self.checkout.script("assemble", "--force")
        self.checkout.edit("build/tree/django/__init__.py", "VERSION = ", "VERSION =  ")
        self.checkout.git("commit", "--quiet", "-a", "-m", "Spaced the version.")
        self.checkout.script("refresh")
        before = self.state()
        self.addCleanup(self.checkout.restore, self.series)
        status, output = self.checkout.script("bump", self.earlier)
        self.assertEqual(status, 1, output)
        name = "patches/Spaced-the-version.patch"
        self.assertIn(f"{name} conflicts in django/__init__.py", output)
        self.assertEqual(self.state(), before)
