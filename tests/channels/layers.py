"""
The channel layer of tests that hold on any: the one that the settings of the run
name, which is memory unless they say otherwise.
"""

from unittest import mock

from django.channels.background import background
from django.conf import settings

# As the settings have it, before a test overrides it.
LAYER = settings.CHANNELS["default"]

# Messages wait until the test receives them, as no thread of its process does.
without_threads = mock.patch.object(background, "message_sent")


def layer(*aliases, **params):
    """
    Return the layer as a CHANNELS setting: under each of `aliases`, which is
    "default" unless given, and with `params`, such as CAPACITY.
    """
    return {alias: {**LAYER, **params} for alias in aliases or ["default"]}
