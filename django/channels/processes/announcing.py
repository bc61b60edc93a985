"""Telling the store what a process is and what it has done, for people to see."""

import logging
import os
import secrets
import socket
import time

from django.db import close_old_connections

logger = logging.getLogger("django.channels.worker")

# Seconds between two announcements, and for which each of them is seen.
INTERVAL = 5
LIFETIME = 3 * INTERVAL


class Announcer:
    """
    Announces this process at `backend`, as a process of some `kind`.

    `describe` is a function that returns a dict of JSON values with whatever
    else there is to know.
    """

    def __init__(self, backend, kind, describe):
        self.backend = backend
        self.kind = kind
        self.describe = describe
        self.name = f"{kind}.{secrets.token_hex(8)}"
        self._started = time.time()
        self._began = time.monotonic()
        self._due = 0

    def seconds_left(self):
        """Return the seconds until announce_if_due() has something to do."""
        return max(self._due - time.monotonic(), 0)

    def announce_if_due(self, is_away=False):
        """
        Announce the process again when it is time for that. If the store `is_away`
        leave it out, as a try might take long.
        """
        if not self.seconds_left():
            self._due = time.monotonic() + INTERVAL
            if not is_away:
                self._announce(self.info, LIFETIME)

    def end(self, is_away=False):
        """Take back what has been announced, as the process ends."""
        if not is_away:
            self._announce(dict, 0)

    def info(self):
        """Return what is announced."""
        return {
            "kind": self.kind,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "started": round(self._started, 3),  # Seconds since 1970.
            "uptime": round(time.monotonic() - self._began, 3),  # Seconds.
            **self.describe(),
        }

    def _announce(self, make_info, lifetime):
        try:
            self.backend.announce(self.name, make_info(), lifetime)
        except Exception as exc:
            # Whoever receives from the store tells of its failures.
            logger.debug("The process could not be announced: %s", exc)
        finally:
            close_old_connections()
