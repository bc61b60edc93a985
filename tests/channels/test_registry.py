import sys
from unittest import mock

from django.apps import apps
from django.channels import consumer
from django.channels.registry import Consumer, Registry, registry
from django.core.exceptions import ImproperlyConfigured
from django.core.handlers.channel import RequestConsumer
from django.test import SimpleTestCase
from django.test.utils import override_settings


def first(**message):
    pass


def second(**message):
    pass


class ConsumerTests(SimpleTestCase):
    def setUp(self):
        self.enterContext(registry.isolate())

    def test_registers_for_several_channels(self):
        self.assertIs(consumer("tests.one", "tests.two")(first), first)
        self.assertIs(registry.get("tests.one").func, first)
        self.assertIs(registry.get("tests.two").func, first)
        self.assertIsNone(registry.get("tests.three"))

    def test_second_consumer_is_an_error_that_names_both(self):
        consumer("tests.one")(first)
        msg = (
            "The channel 'tests.one' has the consumer channels.test_registry.first, "
            "so channels.test_registry.second cannot be registered for it."
        )
        with self.assertRaisesMessage(ImproperlyConfigured, msg):
            consumer("tests.two", "tests.one")(second)
        self.assertIsNone(registry.get("tests.two"))

    def test_backends_have_consumers_of_their_own(self):
        consumer("tests.one")(first)
        consumer("tests.one", backend="other")(second)
        self.assertIs(registry.get("tests.one").func, first)
        self.assertIs(registry.get("tests.one", "other").func, second)
        self.assertEqual(registry.channels("other"), ["tests.one"])

    def test_decorator_without_names(self):
        for use in [lambda: consumer(first), lambda: consumer()(first)]:
            with self.assertRaisesMessage(
                ImproperlyConfigured, "@consumer needs the names of its channels"
            ):
                use()

    def test_channel_of_an_inbox(self):
        with self.assertRaisesMessage(ImproperlyConfigured, "'tests.inbox!1' belongs"):
            consumer("tests.inbox!1")(first)

    def test_is_called_with_the_keys_and_the_channel(self):
        calls = []
        Consumer(lambda **kwargs: calls.append(kwargs))("tests.one", {"key": 1})
        self.assertEqual(calls, [{"key": 1, "channel": "tests.one"}])

    def test_coroutine_function(self):
        calls = []

        async def coroutine(key, **kwargs):
            calls.append(key)

        Consumer(coroutine)("tests.one", {"key": 1})
        self.assertEqual(calls, [1])

    def test_site_consumer_replaces_the_built_in_one(self):
        self.assertIsInstance(registry.get("django.wsgi.request"), RequestConsumer)
        consumer("django.wsgi.request")(first)
        self.assertIs(registry.get("django.wsgi.request").func, first)
        self.assertIsInstance(registry.built_in("django.wsgi.request"), RequestConsumer)

    def test_count(self):
        before = registry.count()
        consumer("tests.one", "tests.two")(first)
        consumer("tests.three")(second)
        self.assertEqual(registry.count(), before + 2)

    def test_isolate_forgets_what_was_registered(self):
        with registry.isolate():
            consumer("tests.one")(first)
        self.assertIsNone(registry.get("tests.one"))


class AutodiscoveryTests(SimpleTestCase):
    def setUp(self):
        # What these apps register is not for other tests.
        self.enterContext(registry.isolate())
        self.enterContext(mock.patch.dict(sys.modules))
        for name in [name for name in sys.modules if name.startswith("channels.apps.")]:
            del sys.modules[name]

    def test_imports_the_consumers_of_installed_apps(self):
        fresh = Registry()
        self.assertFalse(fresh.discovered)
        with override_settings(INSTALLED_APPS=["channels.apps.good"]):
            fresh.autodiscover()
        self.assertIn("channels.apps.good.consumers", sys.modules)
        self.assertTrue(fresh.discovered)

    def test_waits_until_apps_are_ready(self):
        fresh = Registry()
        with mock.patch.object(apps, "ready", False):
            self.assertIsNone(fresh.get("tests.one"))
        self.assertFalse(fresh.discovered)

    def test_error_in_consumers_is_raised_each_time(self):
        fresh = Registry()
        with override_settings(INSTALLED_APPS=["channels.apps.broken"]):
            for _ in range(2):
                with self.assertRaisesMessage(ImportError, "no_such_module"):
                    fresh.get("tests.one")
        self.assertFalse(fresh.discovered)

    def test_consumers_may_look_up_consumers_while_they_are_imported(self):
        fresh = Registry()
        with (
            override_settings(INSTALLED_APPS=["channels.apps.curious"]),
            mock.patch("django.channels.registry.registry", fresh),
        ):
            fresh.autodiscover()
        self.assertIsNone(sys.modules["channels.apps.curious.consumers"].found)
        self.assertTrue(fresh.discovered)
