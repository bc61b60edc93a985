"""What backends have in common whose store lies outside of the process."""

import logging
import secrets
import threading
import time

from django.channels.backends.base import BaseChannelBackend
from django.channels.envelopes import Envelopes
from django.channels.exceptions import InvalidChannelBackend, InvalidEnvelope

security_logger = logging.getLogger("django.channels.security")


class SharedBackend(BaseChannelBackend):
    """
    A backend on a store that processes share.

    Messages lie there in envelopes, see django.channels.envelopes. Deadlines
    are times of the store's clock, of which each process knows how far it is
    from its own monotonic one: a wrong clock of a process changes nothing.

    Options:

    * ENCRYPTION_KEYS: strings; the first encrypts all messages, each decrypts.
      None unless given: messages are signed and can be read in the store.
    """

    serializes = True
    default_options = {"ENCRYPTION_KEYS": ()}

    def __init__(self, alias, params):
        super().__init__(alias, params)
        keys = self.options["ENCRYPTION_KEYS"]
        if isinstance(keys, str) or not all(isinstance(key, str) for key in keys):
            raise InvalidChannelBackend(
                f"'ENCRYPTION_KEYS' in CHANNELS[{alias!r}]['OPTIONS'] must be a list "
                "of strings."
            )
        self.envelopes = Envelopes(keys, self.expiry)
        self._local = threading.local()
        # Sentence -> when it was logged last.
        self._refusals = {}

    def open(self, envelope, queue, now):
        """
        Return (channel, text) of an envelope from `queue`. Return None, after
        logging why, if it is not authentic, and None if it is past its deadline.
        """
        try:
            opened = self.envelopes.open(envelope, queue, now)
        except InvalidEnvelope as exc:
            self.drops["refused"] += 1
            self._log_refusal(str(exc))
            return None
        if opened is None:
            self.drops["expired"] += 1
        return opened

    def _log_refusal(self, sentence):
        """Log why an envelope was refused: each sentence once a second."""
        now = time.monotonic()
        if now - self._refusals.get(sentence, 0) < 1:
            return
        if len(self._refusals) > 100:
            self._refusals.clear()
        self._refusals[sentence] = now
        security_logger.warning("%s", sentence)

    def cross(self, message):
        """Send `message` through the store and return what is received."""
        inbox = self._local.__dict__.get("inbox")
        if inbox is None:
            inbox = self._local.inbox = f"django.crossing.{secrets.token_hex(8)}!"
        self.push(f"{inbox}1", self.pack(message))
        _, packed = self.pop([inbox], self.expiry)
        return self.unpack(packed)


class Clock:
    """
    The clock of a store, as far as this process knows it.

    `now()` is in seconds since 1970. `set()` takes a time that the store has
    just told, and note() one that it has told some time ago, which only shows
    whether this clock is slow.
    """

    def __init__(self):
        self._offset = None
        self._set = 0

    def is_set(self, within=float("inf")):
        """Return whether the store told the time in the last `within` seconds."""
        return self._offset is not None and time.monotonic() - self._set < within

    def set(self, now):
        self._set = time.monotonic()
        self._offset = now - self._set

    def note(self, now):
        if self._offset is not None and now - time.monotonic() > self._offset:
            self.set(now)

    def now(self):
        return time.monotonic() + self._offset
