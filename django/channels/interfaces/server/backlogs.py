"""What many sockets still have to take apart, without keeping others waiting."""

from time import perf_counter

from gevent import get_hub

# Seconds after which others have their turn.
TURN = 0.0005

# Seconds that others have after a turn that could not be cut short, as when a
# megabyte becomes one message: an answer takes several looks at what has come.
PAUSE = 0.002


class Backlog:
    """
    Those in the hub of the current thread who have more to do than was good to do
    at once. Each is called with go_on(), one after another, for TURN between two
    looks at who else has something to do, however many they are.
    """

    def __init__(self):
        # A dict, for its order.
        self._waiting = {}
        self._timer = get_hub().loop.timer(0, ref=False)
        self._pause = get_hub().loop.timer(PAUSE, ref=False)
        self._runs = False

    def add(self, member):
        """Have `member` called, once however often it is added."""
        self._waiting[member] = None
        self._start()

    def discard(self, member):
        """Call `member` no more."""
        self._waiting.pop(member, None)

    def close(self):
        """Call nobody any more."""
        self._waiting.clear()
        for timer in (self._timer, self._pause):
            timer.stop()
            timer.close()

    def _start(self, timer=None):
        if not self._runs:
            self._runs = True
            (timer or self._timer).start(self._go_on)

    def _go_on(self):
        # A timer of gevent has to be stopped before it starts again.
        self._timer.stop()
        self._pause.stop()
        self._runs = False
        until = perf_counter() + TURN
        while self._waiting and perf_counter() < until:
            member = next(iter(self._waiting))
            del self._waiting[member]
            member.take_turn()
        if self._waiting:
            self._start(self._pause if perf_counter() > until + TURN else None)
