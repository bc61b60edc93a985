"""
How delayed messages come into their queues.

They lie beside their queue in a sorted set, by when they are due. Another one
has the queues with such messages, by when the first of each is due. Every
process that receives from queues looks there once a second, or when it knows
that something is due. To send without a delay, and to receive from an inbox,
costs nothing more.
"""

from django.channels.backends.redis.scripts import script_command

# Queues that one look finds, and envelopes that one script moves, at most.
MOST_QUEUES = 100
MOST_ENVELOPES = 100


def move_due(shard, timeout):
    """
    Put what is due into the queues of `shard`, if it is time to look. A receiver
    whose `timeout` is 0 always looks.
    """
    if shard.looks.take(timeout):
        while due := find_due(shard):
            shard.session.call(*(move_command(shard, queue) for queue in due))


def find_due(shard):
    """
    Return the names of queues of which something is due. If there are none, note
    when there will be.
    """
    look = ("ZRANGE", shard.key("delays"), 0, MOST_QUEUES - 1, "WITHSCORES")
    found, (seconds, micros) = shard.session.call(look, ("TIME",))
    now = int(seconds) * 1_000_000 + int(micros)
    # By version 3 of the protocol names and scores come in pairs.
    flat = sum(found, []) if found and isinstance(found[0], list) else found
    queues = [(name.decode(), float(due)) for name, due in zip(flat[::2], flat[1::2])]
    due = [name for name, score in queues if score <= now]
    if queues and not due:
        shard.looks.note((queues[0][1] - now) / 1e6)
    return due


def move_command(shard, queue):
    """Return the command that moves what is due of a queue."""
    keys = shard.delay_keys(queue)
    return script_command("due", keys, queue, MOST_ENVELOPES)
