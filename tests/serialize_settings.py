"""Upstream's settings of its tests, with messages that cross as text."""

from test_sqlite import *  # NOQA

CHANNELS = {
    "default": {
        "BACKEND": "django.channels.backends.memory.MemoryBackend",
        "OPTIONS": {"SERIALIZE": True},
    }
}
# Tests of remote users set these keys, which a site has to allow.
CHANNELS_META_KEYS = ["REMOTE_EMAIL", "REMOTE_USER"]
