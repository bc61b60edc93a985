from unittest import mock

from django.channels.backends.shared import SharedBackend
from django.channels.envelopes import Envelopes
from django.channels.exceptions import InvalidChannelBackend, InvalidEnvelope
from django.core.exceptions import ImproperlyConfigured
from django.test import SimpleTestCase


class EnvelopeTests(SimpleTestCase):
    def test_version_that_this_release_does_not_know(self):
        envelopes = Envelopes((), 60)
        with mock.patch("django.channels.envelopes.VERSION", "99"):
            envelope = envelopes.seal("tests.one", "{}", 100)
        msg = "An envelope in 'tests.one' has the version '99', which this release"
        with self.assertRaisesMessage(InvalidEnvelope, msg):
            envelopes.open(envelope, "tests.one", 90)

    def test_encryption_needs_a_package(self):
        msg = "ENCRYPTION_KEYS of a channel backend needs the package cryptography: "
        with (
            mock.patch.dict("sys.modules", {"cryptography.fernet": None}),
            self.assertRaisesMessage(ImproperlyConfigured, msg),
        ):
            Envelopes(("a key",), 60)


class SharedBackendTests(SimpleTestCase):
    def test_keys_that_are_no_list(self):
        for keys in ["a key", [b"a key"]]:
            msg = "'ENCRYPTION_KEYS' in CHANNELS['default']['OPTIONS'] must be a list"
            with (
                self.subTest(keys=keys),
                self.assertRaisesMessage(InvalidChannelBackend, msg),
            ):
                SharedBackend("default", {"OPTIONS": {"ENCRYPTION_KEYS": keys}})

    def test_each_refusal_is_logged_once_a_second(self):
        backend = SharedBackend("default", {})
        with self.assertLogs("django.channels.security", "WARNING") as logs:
            for envelope in ["nonsense", "nonsense", "other nonsense"]:
                self.assertIsNone(backend.open(envelope, "tests.one", 0))
        self.assertLess(len(logs.output), 3)
        self.assertEqual(backend.drops["refused"], 3)

    def test_what_is_remembered_of_refusals_has_a_bound(self):
        backend = SharedBackend("default", {})
        with self.assertLogs("django.channels.security", "WARNING"):
            for number in range(500):
                backend.open("nonsense", f"tests.{number}", 0)
        self.assertLess(len(backend._refusals), 200)
