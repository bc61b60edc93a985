"""What keeps messages from being held for long."""

import threading
import time
import weakref

# Seconds for which a session may hold what was posted.
LONGEST = 0.002


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

    def watch(self, session):
        """Have `session` send what it holds, unless it has done so in time."""
        with self._lock:
            self._sessions.add(session)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="django-channels-flusher", daemon=True
                )
                self._thread.start()
        self._wanted.set()

    def _run(self):
        while True:
            self._wanted.wait()
            self._wanted.clear()
            time.sleep(LONGEST)
            with self._lock:
                sessions = list(self._sessions)
            now = time.monotonic()
            if any([session.flush_since(now - LONGEST) for session in sessions]):
                self._wanted.set()
