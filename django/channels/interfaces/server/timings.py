"""When something has to be done for a WebSocket though nothing comes."""

NEVER = float("inf")


class Timing:
    """
    The times of a socket, with `limits`, in seconds of time.monotonic().

    `due` is when to look again. It is set early rather than late: a socket that
    was not silent after all only gets a later one.
    """

    __slots__ = ("due", "heard", "deadline", "_limits", "_is_pinged")

    def __init__(self, limits):
        # When the client was last heard of, or None while nobody listens for it.
        self.heard = None
        # When what is being waited for has to have come.
        self.deadline = NEVER
        self.due = NEVER
        self._limits = limits
        self._is_pinged = False

    def wake_at(self, due):
        """Have a look at the time `due` at the latest."""
        if due < self.due:
            self.due = due

    def wait(self, now, seconds):
        """Wait `seconds` for what comes next."""
        self.deadline = now + seconds
        self.wake_at(self.deadline)

    def listen(self, now):
        """Wait for whatever the client sends, and for as long as it likes."""
        self.deadline = NEVER
        self.hear(now)
        self.wake_at(now + self._limits.ping_after)

    def hear(self, now):
        """Note a sign of life."""
        self.heard = now
        self._is_pinged = False

    def is_silent(self, now):
        """Return whether the client is taken as gone."""
        return now - self.heard >= self._limits.silence

    def has_to_ping(self, now):
        """Return whether to ask for a sign of life, once in a silence."""
        if self._is_pinged or now - self.heard < self._limits.ping_after:
            return False
        self._is_pinged = True
        return True

    def plan(self, now, due, listens):
        """
        Set `due` anew, at the time `now`: to the time given, or to when a silence
        gets too long.
        """
        self.due = min(self.deadline, due)
        if listens:
            limits = self._limits
            if self._is_pinged:
                # An answer begins another silence.
                self.wake_at(min(self.heard + limits.silence, now + limits.ping_after))
            else:
                self.wake_at(self.heard + limits.ping_after)
