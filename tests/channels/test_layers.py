import threading

from django.channels import InvalidChannelBackend, channels
from django.channels.backends.memory import MemoryBackend
from django.channels.layers import ChannelLayerHandler
from django.test import SimpleTestCase, override_settings

MEMORY = "django.channels.backends.memory.MemoryBackend"


class ChannelLayerHandlerTests(SimpleTestCase):
    def test_memory_is_the_default(self):
        self.assertIsInstance(channels["default"], MemoryBackend)

    def test_all_threads_share_a_backend(self):
        seen = []
        thread = threading.Thread(target=lambda: seen.append(channels["default"]))
        thread.start()
        thread.join()
        self.assertIs(seen[0], channels["default"])

    def test_params_reach_the_backend(self):
        handler = ChannelLayerHandler({"other": {"BACKEND": MEMORY, "EXPIRY": 5}})
        self.assertEqual(handler["other"].alias, "other")
        self.assertEqual(handler["other"].expiry, 5)

    def test_unknown_alias(self):
        msg = "There is no CHANNELS['missing'] in the settings."
        with self.assertRaisesMessage(InvalidChannelBackend, msg):
            channels["missing"]

    def test_no_backend(self):
        msg = "There is no CHANNELS['default']['BACKEND'] in the settings."
        with self.assertRaisesMessage(InvalidChannelBackend, msg):
            ChannelLayerHandler({"default": {}})["default"]

    def test_backend_that_cannot_be_imported(self):
        msg = "The channel backend 'no.such.Backend' of CHANNELS['default'] cannot be"
        with self.assertRaisesMessage(InvalidChannelBackend, msg):
            ChannelLayerHandler({"default": {"BACKEND": "no.such.Backend"}})["default"]

    def test_all(self):
        handler = ChannelLayerHandler(
            {"default": {"BACKEND": MEMORY}, "other": {"BACKEND": MEMORY}}
        )
        self.assertEqual(handler.all(initialized_only=True), [])
        handler["other"]
        self.assertEqual(handler.all(initialized_only=True), [handler["other"]])
        self.assertEqual([b.alias for b in handler.all()], ["default", "other"])

    def test_a_changed_setting_makes_new_backends(self):
        before = channels["default"]
        with override_settings(CHANNELS={"default": {"BACKEND": MEMORY, "EXPIRY": 7}}):
            self.assertEqual(channels["default"].expiry, 7)
        self.assertEqual(channels["default"].expiry, 60)
        self.assertIsNot(channels["default"], before)

    def test_backends_can_be_replaced_and_removed(self):
        handler = ChannelLayerHandler({"default": {"BACKEND": MEMORY}})
        replacement = MemoryBackend("default", {})
        handler["default"] = replacement
        self.assertIs(handler["default"], replacement)
        del handler["default"]
        self.assertIsNot(handler["default"], replacement)
