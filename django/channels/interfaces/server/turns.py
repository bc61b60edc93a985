"""The order in which the messages of one socket go to the workers."""


class Turns:
    """
    The messages of a socket that wait, and the numbers of those that are with
    the workers: one at a time, so that they are done in the order in which they
    came, or a few if their consumer wants no order.

    A number leaves the workers when one of them has acknowledged it, or after
    the time that a worker may take.
    """

    __slots__ = (
        "failing_since",
        "_waiting",
        "_size",
        "_in_hand",
        "_number",
        "_is_alone",
        "_is_held",
    )

    def __init__(self):
        # Since when the store has taken no message for certain, or None.
        self.failing_since = None
        # (payload, bytes), oldest first.
        self._waiting = []
        self._size = 0
        # (number, deadline), oldest first.
        self._in_hand = []
        self._number = 0
        # Whether nothing may go beside the message that is with a worker.
        self._is_alone = False
        self._is_held = False

    @property
    def is_over(self):
        """Whether nothing waits and nothing is with the workers."""
        return not self._waiting and not self._in_hand

    @property
    def are_waiting(self):
        """Whether messages wait for their turn."""
        return bool(self._waiting)

    @property
    def is_held(self):
        """Whether the store had no room for the last message."""
        return self._is_held

    @property
    def deadline(self):
        """When the next message is taken as lost, or has to be tried again."""
        if self._is_held:
            return 0
        return self._in_hand[0][1] if self._in_hand else float("inf")

    def is_full(self, limits, part=1):
        """Return whether `part` of what may wait does."""
        return (
            len(self._waiting) >= limits.waiting_frames * part
            or self._size >= limits.waiting_bytes * part
        )

    def put(self, payload, size):
        """Let a message of `size` bytes wait for its turn."""
        self._waiting.append((payload, size))
        self._size += size

    def take(self, most=1):
        """
        Return (payload, size) of the message whose turn it is, or None if nothing
        waits or `most` messages are with the workers.
        """
        count = len(self._in_hand)
        if (
            not self._waiting
            or self._is_held
            or (count and (self._is_alone or count >= most))
        ):
            return None
        payload, size = self._waiting.pop(0)
        self._size -= size
        return payload, size

    def begin(self, deadline, alone=False):
        """
        Return the number of a message that goes to the workers now. If it is
        `alone`, nothing goes until it is done.
        """
        self._number += 1
        self._in_hand.append((self._number, deadline))
        self._is_alone = alone
        return self._number

    def end(self, number):
        """
        Return the deadline of the message `number`, which is done, or None if it was
        not with the workers.
        """
        for index, item in enumerate(self._in_hand):
            if item[0] == number:
                del self._in_hand[index]
                return item[1]
        return None

    def expire(self, now):
        """Give up the messages that no worker has acknowledged. Return how many."""
        before = len(self._in_hand)
        if before:
            self._in_hand = [item for item in self._in_hand if item[1] > now]
        return before - len(self._in_hand)

    def put_back(self, payload, size, now):
        """Put a message back that the store has no room for, until release()."""
        self._waiting.insert(0, (payload, size))
        self._size += size
        self.hold(now)

    def hold(self, now):
        """Let nothing go until release()."""
        self._is_held = True
        self.note_failure(now)

    def note_failure(self, now):
        """Note that the store has not taken a message, or may not have."""
        if self.failing_since is None:
            self.failing_since = now

    def release(self):
        """Let messages go again."""
        self._is_held = False

    def clear(self):
        """Forget all messages."""
        self._waiting, self._in_hand, self._size = [], [], 0
        self._is_held = False
