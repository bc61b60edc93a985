"""What many sockets still have to take apart, without keeping others waiting."""

from time import perf_counter

from gevent import get_hub

# Seconds after which others have their turn.
TURN = 0.0005


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
        self._timer.stop()
        self._timer.close()

    def _start(self):
        if not self._runs:
            self._runs = True
            self._timer.start(self._go_on)

    def _go_on(self):
        # A timer of gevent has to be stopped before it starts again.
        self._timer.stop()
        self._runs = False
        until = perf_counter() + TURN
        while self._waiting and perf_counter() < until:
            member = next(iter(self._waiting))
            del self._waiting[member]
            member.take_turn()
        if self._waiting:
            self._start()
