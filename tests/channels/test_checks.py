import sys
from pathlib import Path
from unittest import mock

from django.channels import channels, checks, consumer
from django.channels.registry import registry
from django.channels.routing import path, route_requests, route_websockets
from django.channels.websockets import WebSocketConsumer
from django.core.checks import Error, Warning, run_checks
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.test import SimpleTestCase, modify_settings, override_settings
from django.utils import autoreload

from .utils import MEMORY, run_script

REDIS = "django.channels.backends.redis.RedisBackend"
DATABASE = "django.channels.backends.database.DatabaseBackend"

THIS_FILE = Path(__file__)


def consume(**message):
    pass


def ids(messages):
    return [message.id for message in messages]


class BackendTests(SimpleTestCase):
    def check(self, setting):
        with self.settings(CHANNELS=setting):
            return checks.check_backends()

    def assertFault(self, setting, fault, number):
        (error,) = self.check(setting)
        self.assertIsInstance(error, Error)
        self.assertEqual(error.id, number)
        self.assertIn(fault, error.msg)
        return error

    def test_setting_that_is_in_order(self):
        for params in [{}, {"EXPIRY": 10, "OPTIONS": {"SERIALIZE": True}}]:
            setting = {"default": {"BACKEND": MEMORY, **params}}
            self.assertEqual(self.check(setting), [])

    def test_setting_of_another_type(self):
        for setting in [None, MEMORY, ["default"], {"default": MEMORY}]:
            with self.subTest(setting=setting):
                fault = "CHANNELS must be a dictionary of dictionaries."
                error = self.assertFault(setting, fault, "channels.E001")
                self.assertIn(MEMORY, error.hint)

    def test_no_default(self):
        setting = {"other": {"BACKEND": MEMORY}}
        fault = "There is no CHANNELS['default'] in the settings."
        self.assertFault(setting, fault, "channels.E002")

    def test_backends_that_cannot_be_made(self):
        for params, fault in [
            ({}, "There is no CHANNELS['default']['BACKEND'] in the settings."),
            ({"BACKEND": "no.such.Backend"}, "'no.such.Backend'"),
            ({"BACKEND": 7}, "CHANNELS['default'] cannot be used: AttributeError"),
            ({"BACKEND": "builtins.dict"}, "cannot be used: TypeError"),
            ({"BACKEND": MEMORY, "EXPIRY": 0}, "'EXPIRY' in CHANNELS['default']"),
            ({"BACKEND": MEMORY, "EXPRIY": 9}, "has the key 'EXPRIY'"),
            ({"BACKEND": MEMORY, "OPTIONS": []}, "must be a dict"),
        ]:
            with self.subTest(params=params):
                self.assertFault({"default": params}, fault, "channels.E003")

    def test_hint_names_the_backends_of_django(self):
        setting = {"default": {"BACKEND": "no.such.Backend"}}
        error = self.assertFault(setting, "cannot be imported", "channels.E003")
        for backend in (MEMORY, REDIS, DATABASE):
            self.assertIn(backend, error.hint)

    def test_each_alias_is_checked(self):
        setting = {"default": {"BACKEND": MEMORY}, "work": {"BACKEND": "no.Backend"}}
        self.assertFault(setting, "CHANNELS['work']", "channels.E003")

    def test_database_that_is_not_there(self):
        setting = {"default": {"BACKEND": DATABASE, "LOCATION": "nowhere"}}
        with modify_settings(INSTALLED_APPS={"append": "django.channels"}):
            fault = "DATABASES has no 'nowhere'"
            self.assertFault(setting, fault, "channels.E003")

    def test_database_without_the_app(self):
        with modify_settings(INSTALLED_APPS={"remove": "django.channels"}):
            setting = {"default": {"BACKEND": DATABASE}}
            fault = "add 'django.channels' to INSTALLED_APPS"
            self.assertFault(setting, fault, "channels.E003")

    def test_package_that_is_missing(self):
        modules = {"redis": None}
        with mock.patch.dict(sys.modules, modules):
            for name in list(sys.modules):
                if name.startswith("django.channels.backends.redis"):
                    del sys.modules[name]
            setting = {"default": {"BACKEND": REDIS}}
            fault = 'python -m pip install "Django[redis]"'
            self.assertFault(setting, fault, "channels.E004")


class SettingsTests(SimpleTestCase):
    def test_defaults(self):
        self.assertEqual(checks.check_settings(), [])

    def test_values_that_are_in_order(self):
        for setting in [
            {"CHANNELS_LIMITS": {"SILENCE": 300, "CONNECTIONS": None}},
            {"CHANNELS_MAX_BODY_SIZE": 0},
            {"CHANNELS_MAX_BODY_SIZE": 2**30},
            {"CHANNELS_ALLOWED_ORIGINS": ["*"]},
            {"CHANNELS_ALLOWED_ORIGINS": ("https://a.org:8000", "http://*.b.org")},
            {"CHANNELS_META_KEYS": {"REMOTE_USER"}},
        ]:
            with self.subTest(setting=setting), self.settings(**setting):
                self.assertEqual(checks.check_settings(), [])

    def test_values_that_are_not(self):
        for name, value, fault in [
            ("CHANNELS_LIMITS", ["SILENCE"], "must be a dictionary"),
            ("CHANNELS_LIMITS", {"SILENCE": 0}, "must be a number above 0"),
            ("CHANNELS_LIMITS", {"SILENT": 1}, "has the key 'SILENT'"),
            ("CHANNELS_MAX_BODY_SIZE", "1MB", "must be a number of bytes or None"),
            ("CHANNELS_MAX_BODY_SIZE", -1, "must be a number of bytes or None"),
            ("CHANNELS_MAX_BODY_SIZE", True, "must be a number of bytes or None"),
            ("CHANNELS_ALLOWED_ORIGINS", "https://a.org", "must be a list"),
            ("CHANNELS_ALLOWED_ORIGINS", ["a.org"], "has 'a.org'"),
            ("CHANNELS_ALLOWED_ORIGINS", ["https://a.org/"], "without a path"),
            ("CHANNELS_ALLOWED_ORIGINS", [None], "has None"),
            ("CHANNELS_META_KEYS", "REMOTE_USER", "must be a list of strings"),
            ("CHANNELS_META_KEYS", [7], "must be a list of strings"),
        ]:
            with self.subTest(name=name, value=value), self.settings(**{name: value}):
                (error,) = checks.check_settings()
                self.assertEqual(error.id, "channels.E005")
                self.assertIn(name, error.msg)
                self.assertIn(fault, error.msg)


class ConsumerTests(SimpleTestCase):
    def setUp(self):
        self.enterContext(registry.isolate())
        self.enterContext(override_settings(CHANNELS={"default": {"BACKEND": MEMORY}}))

    def assertFault(self, fault, number):
        (error,) = checks.check_consumers()
        self.assertEqual(error.id, number)
        self.assertIn(fault, error.msg)
        return error

    def test_consumers_that_are_in_order(self):
        consumer("tests.one")(consume)
        self.assertEqual(checks.check_consumers(), [])

    def test_consumer_of_a_backend_that_is_not_there(self):
        consumer("tests.one", backend="work")(consume)
        error = self.assertFault(
            "The consumer channels.test_checks.consume of 'tests.one' is registered "
            "for the channel backend 'work', which CHANNELS does not have.",
            "channels.E007",
        )
        self.assertRegex(error.hint, rf"^See .*{THIS_FILE.name}, line \d+\.$")

    @override_settings(CHANNELS=None)
    def test_setting_that_another_check_tells_of(self):
        consumer("tests.one", backend="work")(consume)
        self.assertEqual(checks.check_consumers(), [])

    def test_route_of_websockets_without_consumer(self):
        route_websockets([path("chat/", "tests.chat"), path("news/", "tests.news")])
        consumer("tests.news.receive")(consume)
        with mock.patch.object(checks, "PACKAGES", ()):
            error = self.assertFault(
                "The URL pattern 'chat/' leads to 'tests.chat', but there is no "
                "consumer of tests.chat.connect or tests.chat.receive or "
                "tests.chat.disconnect.",
                "channels.E008",
            )
        self.assertRegex(error.hint, rf"^See .*{THIS_FILE.name}, line \d+\.$")

    def test_route_of_requests_without_consumer(self):
        route_requests([path("upload/", "tests.upload")])
        self.assertFault("leads to 'tests.upload'", "channels.E008")
        consumer("tests.upload")(consume)
        self.assertEqual(checks.check_consumers(), [])

    def test_websockets_without_the_packages_that_serve_them(self):
        WebSocketConsumer.register()
        with mock.patch.object(checks, "PACKAGES", ("sys", "no_such_package")):
            (warning,) = checks.check_consumers()
        self.assertEqual(
            warning,
            Warning(
                "'django.websocket.connect' has a consumer, but WebSockets cannot be "
                "served here: no_such_package cannot be imported.",
                hint='python -m pip install "Django[gevent]"',
                id="channels.W001",
            ),
        )
        with mock.patch.object(checks, "PACKAGES", ("sys",)):
            self.assertEqual(checks.check_consumers(), [])

    def test_packages_are_not_missed_without_websockets(self):
        consumer("tests.one")(consume)
        with mock.patch.object(checks, "PACKAGES", ("no_such_package",)):
            self.assertEqual(checks.check_consumers(), [])


class DiscoveryTests(SimpleTestCase):
    """What happens while the consumers of installed apps are imported."""

    def setUp(self):
        self.enterContext(registry.isolate())
        self.enterContext(mock.patch.dict(sys.modules))
        for name in [name for name in sys.modules if name.startswith("channels.apps.")]:
            del sys.modules[name]
        self.enterContext(mock.patch.object(registry, "discovered", False))
        self.enterContext(mock.patch.object(autoreload, "_error_files", []))
        # A setting that others cannot have touched, with what is in the apps alone.
        self.enterContext(mock.patch.object(registry, "_registry", {}))

    @override_settings(INSTALLED_APPS=["channels.apps.good", "channels.apps.twice"])
    def test_two_consumers_of_a_channel(self):
        (error,) = checks.check_consumers()
        self.assertEqual(error.id, "channels.E006")
        self.assertIn(
            "The channel 'tests.apps.good' has the consumer "
            "channels.apps.good.consumers.good, so channels.apps.twice.consumers.twice "
            "cannot be registered for it.",
            error.msg,
        )
        folder = THIS_FILE.parent / "apps"
        places = [folder / name / "consumers.py" for name in ("good", "twice")]
        self.assertEqual(
            error.hint, f"See {places[0]}, line 4 and {places[1]}, line 4."
        )
        # So the development server knows what to watch.
        self.assertIn(str(places[1]), autoreload._error_files)

    @override_settings(INSTALLED_APPS=["channels.apps.good", "channels.apps.twice"])
    def test_they_are_told_of_each_time(self):
        for _ in range(2):
            self.assertEqual(ids(checks.check_consumers()), ["channels.E006"])
        self.assertEqual(checks.check_production(), [])

    @override_settings(INSTALLED_APPS=["channels.apps.unfit"])
    def test_other_faults_of_consumers(self):
        (error,) = checks.check_consumers()
        self.assertEqual(error.id, "channels.E006")
        self.assertIn("@consumer needs the names of its channels", error.msg)
        file = THIS_FILE.parent / "apps" / "unfit" / "consumers.py"
        self.assertEqual(error.hint, f"See {file}, line 4.")

    @override_settings(INSTALLED_APPS=["channels.apps.misnamed"])
    def test_names_that_no_channel_can_have(self):
        (error,) = checks.check_consumers()
        self.assertEqual(error.id, "channels.E006")
        self.assertIn("'tests misnamed' is not a valid name", error.msg)
        file = THIS_FILE.parent / "apps" / "misnamed" / "consumers.py"
        self.assertEqual(error.hint, f"See {file}, line 4.")
        self.assertEqual(checks.check_production(), [])

    @override_settings(INSTALLED_APPS=["channels.apps.broken"])
    def test_module_that_cannot_be_imported_shows_its_traceback(self):
        # As a URLconf does.
        with self.assertRaisesMessage(ImportError, "no_such_module"):
            checks.check_consumers()


class ProductionTests(SimpleTestCase):
    def setUp(self):
        self.enterContext(registry.isolate())
        self.enterContext(mock.patch.object(registry, "_registry", {}))

    def check(self, **setting):
        with self.settings(CHANNELS=setting):
            return checks.check_production()

    def test_consumers_on_a_layer_of_one_process(self):
        memory = {"BACKEND": MEMORY}
        self.assertEqual(self.check(default=memory), [])
        consumer("tests.one")(consume)
        (warning,) = self.check(default=memory, other=memory)
        self.assertEqual(warning.id, "channels.W002")
        self.assertIn("CHANNELS['default'] keeps messages and groups", warning.msg)
        self.assertIn(REDIS, warning.hint)

    def test_requests_need_no_other_process(self):
        consumer("django.wsgi.request")(consume)
        self.assertEqual(self.check(default={"BACKEND": MEMORY}), [])

    @modify_settings(INSTALLED_APPS={"append": "django.channels"})
    def test_database(self):
        with self.assertLogs("django.channels.backends", "WARNING"):
            (warning,) = self.check(default={"BACKEND": DATABASE})
        self.assertEqual(warning.id, "channels.W003")
        self.assertIn("database (for development and tests)", warning.msg)

    def test_backend_that_cannot_be_made_is_told_of_by_others(self):
        self.assertEqual(self.check(default={"BACKEND": "no.Backend"}), [])
        with self.settings(CHANNELS=None):
            self.assertEqual(checks.check_production(), [])


class CommandTests(SimpleTestCase):
    """The checks belong to each project."""

    @override_settings(CHANNELS={"default": {"BACKEND": "no.such.Backend"}})
    def test_check(self):
        with self.assertRaisesMessage(SystemCheckError, "(channels.E003)"):
            call_command("check")
        with self.assertRaisesMessage(SystemCheckError, "(channels.E003)"):
            call_command("check", tags=["channels"])

    @override_settings(CHANNELS={"default": {"BACKEND": MEMORY}})
    def test_those_for_production_run_on_request(self):
        with registry.isolate(), mock.patch.object(registry, "_registry", {}):
            consumer("tests.one")(consume)
            found = run_checks(tags=["channels"])
            self.assertEqual(ids(found), [])
            found = run_checks(tags=["channels"], include_deployment_checks=True)
            self.assertEqual(ids(found), ["channels.W002"])

    def test_project_that_does_not_use_channels(self):
        result = run_script(
            "from django.conf import settings\n"
            "settings.configure()\n"
            "import django\n"
            "django.setup()\n"
            "from django.core.management import call_command\n"
            "call_command('check', deploy=True)\n"
        )
        self.assertNotIn("channels.", result.stderr)
        self.assertEqual(result.returncode, 0, result.stderr)

    def test_backends_are_those_that_the_process_uses(self):
        with self.settings(CHANNELS={"default": {"BACKEND": MEMORY}}):
            checks.check_backends()
            made = channels["default"]
            checks.check_backends()
            self.assertIs(channels["default"], made)
