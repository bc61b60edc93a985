"""
The ids of messages, by which logs and signals tell one from another.

In a store that processes share it is the id of the envelope, see
django.channels.envelopes, which its receiver finds there. What a log names on its
way into a queue has the id before, so that both sides name the same.
"""

import itertools
import os
import secrets


class Ids:
    """Gives out ids: a random part for the process, and a number."""

    def __init__(self):
        self.reset()

    def reset(self):
        self._process = secrets.token_hex(6)
        self._numbers = itertools.count(1)

    def next(self):
        return f"{self._process}-{next(self._numbers):x}"


class SentMessage(dict):
    """
    A message on its way into a queue, with the id that it is to have there. Copies
    that clean_message() makes of it have the same.
    """

    __slots__ = ("id",)


class SentText(str):
    """The text of such a message."""

    __slots__ = ("id",)


class ReceivedMessage(dict):
    """
    A message that has been received, with its id. Whoever sends it on sends a new
    message, with another id: a store takes none twice.
    """

    __slots__ = ("id",)


class ReceivedText(str):
    """The text of such a message."""

    __slots__ = ("id",)


def with_id(kind, value, number):
    """Return `value` as a `kind`, one of the classes here, that has an id."""
    identified = kind(value)
    identified.id = number
    return identified


def message_id(message):
    """Return the id of a message that has been received: a new one if it has none."""
    return getattr(message, "id", None) or new_id()


_ids = Ids()


def new_id():
    """Return an id that no other message has."""
    return _ids.next()


# A fork would go on with the numbers of its parent.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_ids.reset)
