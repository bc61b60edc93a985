"""
Upstream's settings of its tests, with messages that cross a database: an SQLite
file beside the databases of the tests.
"""

import tempfile

from test_sqlite import *  # NOQA

# The tests remove it at their end, as all temporary files.
FOLDER = tempfile.mkdtemp(prefix="channels-")

# channels.isolated_database gives each process a file of its own there.
for alias in ("default", "other"):
    DATABASES[f"channels_{alias}"] = {  # NOQA: F405
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": f"{FOLDER}/{alias}.sqlite3",
        "OPTIONS": {"init_command": "PRAGMA synchronous = OFF"},
    }

CHANNELS = {
    "default": {"BACKEND": "channels.isolated_database.IsolatedDatabaseBackend"}
}
# Tests of remote users set these keys, which a site has to allow.
CHANNELS_META_KEYS = ["REMOTE_EMAIL", "REMOTE_USER"]
