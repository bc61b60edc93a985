"""What keeps messages from being held for long."""

import logging
import threading
import time
import weakref

logger = logging.getLogger("django.channels.backends")

# Seconds between two looks at what sessions hold. What one look has found, and the
# next one finds again, is sent.
INTERVAL = 0.001

# Seconds for which it looks on when nothing is held, as to wake up takes longer.
AWAKE = 0.1


class Flusher:
    """
    Has sessions send what they hold, in a thread that begins with the first of
    them: the threads of the sessions may be busy with something else.
    """

    def __init__(self):
        self._lock = threading.Lock()
        self._wanted = threading.Event()
        self._sessions = weakref.WeakSet()
        self._thread = None
        self._is_awake = False
        self._watched = 0

    def watch(self, session):
        """Have `session` send what it holds from now on, unless it does so itself."""
        self._watched = time.monotonic()
        if session not in self._sessions:
            self._add(session)
        if not self._is_awake:
            self._wanted.set()

    def _add(self, session):
        with self._lock:
            self._sessions.add(session)
            if self._thread is None:
                thread = threading.Thread(
                    target=self._run, name="django-channels-flusher", daemon=True
                )
                thread.start()
                self._thread = thread

    def _run(self):
        while True:
            self._wanted.wait()
            self._wanted.clear()
            self._is_awake = True
            while time.monotonic() - self._watched < AWAKE:
                time.sleep(INTERVAL)
                self._flush()
            self._is_awake = False
            # What was held just now may not have woken this thread.
            if self._flush():
                self._wanted.set()

    def _flush(self):
        """Return whether any session still holds something."""
        with self._lock:
            sessions = list(self._sessions)
        then = time.monotonic() - INTERVAL
        return any([self._flush_session(session, then) for session in sessions])

    def _flush_session(self, session, then):
        try:
            return session.flush_since(then)
        except Exception:
            # The others still need this thread.
            logger.exception("What was held was not sent.")
            return False
