"""
Upstream's settings of its tests, with messages that cross a Redis server.

CHANNELS_TEST_REDIS is the URL of the server, which the tests fill and empty.
"""

import os

from test_sqlite import *  # NOQA

CHANNELS = {
    "default": {
        "BACKEND": "channels.isolated.IsolatedRedisBackend",
        "LOCATION": os.environ["CHANNELS_TEST_REDIS"],
    }
}
# Tests of remote users set these keys, which a site has to allow.
CHANNELS_META_KEYS = ["REMOTE_EMAIL", "REMOTE_USER"]
