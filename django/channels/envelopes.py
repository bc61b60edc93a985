"""
Envelopes: messages as they lie in a store that processes share.

    1 1790000060000 9c1f03aa77b2-1e myapp.new_view 3a7b...5f {"ip_address":"::1"}

Six fields, with one space between them:

* the version of the format, or "1e" if the text is encrypted;
* the deadline: milliseconds since 1970 by the clock of the store;
* an id, which no other envelope has;
* the channel;
* the signature: HMAC-SHA256 (RFC 2104) of the other fields in their order, in
  hexadecimal digits. Its key is the SHA-256 of the text
  "django.channels.envelopes" followed by SECRET_KEY;
* the text of the message, which is JSON, or a Fernet token of it.

So a message is not taken from another site, nor on another channel, nor after
its deadline, and a process takes none a second time.
"""

import base64
import hashlib
import hmac
import os
import threading
import time
from functools import lru_cache
from typing import NamedTuple

from django.channels.exceptions import InvalidEnvelope
from django.channels.ids import ReceivedText, SentText, new_id, with_id
from django.channels.messages import queue_name
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.encoding import force_bytes

VERSION = "1"
ENCRYPTED_VERSION = "1e"
SALT = b"django.channels.envelopes"

# Seconds by which a sender may be wrong about the clock of the store.
CLOCK_MARGIN = 2


class Envelopes:
    """
    Seals and opens the envelopes of one backend.

    `encryption_keys` are strings, of which the first encrypts and each decrypts;
    without any, messages are signed and can be read by who reads the store.
    `lifetime` is the number of seconds for which ids are remembered.
    """

    def __init__(self, encryption_keys=(), lifetime=60):
        self._fernet = make_fernet(encryption_keys) if encryption_keys else None
        self._seen = Seen(lifetime)

    def seal(self, channel, text, deadline):
        """
        Return the envelope of the message in `text` for `channel`. `deadline` is
        in seconds since 1970 by the clock of the store.
        """
        return str(self.seal_parts(channel, text, deadline))

    def seal_parts(self, channel, text, deadline):
        """Do what seal() does, and return a Sealed. A SentText keeps its id."""
        version, number = VERSION, None
        if type(text) is SentText:
            number, text = text.id, str(text)
        if self._fernet is not None:
            version = ENCRYPTED_VERSION
            text = self._fernet.encrypt(text.encode()).decode("ascii")
        number, deadline = number or new_id(), round(deadline * 1000)
        head = f"{version} {deadline} {number} {channel}"
        signature = sign(head, text, settings.SECRET_KEY)
        return Sealed(number, deadline, f"{head} {signature}", text)

    def open(self, envelope, queue, now):
        """
        Return (channel, text) of an envelope that was received from `queue` at
        `now`, seconds by the clock of the store. The text is a ReceivedText. Return
        None if the deadline has passed.

        Raise InvalidEnvelope if it was not sent to this queue by this site, or
        has been received before.
        """
        try:
            version, deadline, number, channel, signature, text = envelope.split(" ", 5)
            expires = int(deadline) / 1000
        except (ValueError, OverflowError) as exc:
            raise InvalidEnvelope(
                f"Something in {queue!r} is not an envelope and was dropped."
            ) from exc
        head = envelope[: len(envelope) - len(text) - len(signature) - 2]
        if not any(
            hmac.compare_digest(signature.encode(), sign(head, text, key).encode())
            for key in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)
        ):
            raise InvalidEnvelope(
                f"An envelope in {queue!r} has a wrong signature and was dropped. Do "
                "all processes have the same SECRET_KEY?"
            )
        if queue_name(channel) != queue:
            raise InvalidEnvelope(
                f"An envelope in {queue!r} is for {channel!r} and was dropped."
            )
        if expires < now:
            return None
        if not self._seen.add(number, expires - now):
            raise InvalidEnvelope(
                f"An envelope in {queue!r} had been received before and was dropped."
            )
        text = self._read(version, text, queue)
        return channel, with_id(ReceivedText, text, number)

    def _read(self, version, text, queue):
        if version == VERSION:
            return text
        if version != ENCRYPTED_VERSION:
            raise InvalidEnvelope(
                f"An envelope in {queue!r} has the version {version!r}, which this "
                "release does not know."
            )
        if self._fernet is None:
            raise InvalidEnvelope(
                f"An envelope in {queue!r} is encrypted, but this process has no "
                "ENCRYPTION_KEYS."
            )
        from cryptography.fernet import InvalidToken

        try:
            return self._fernet.decrypt(text.encode()).decode()
        except InvalidToken as exc:
            raise InvalidEnvelope(
                f"An envelope in {queue!r} is encrypted by none of ENCRYPTION_KEYS."
            ) from exc


class Sealed(NamedTuple):
    """An envelope, for a store that keeps its text apart from the rest."""

    id: str
    deadline: int  # Milliseconds.
    head: str  # All but the text.
    text: str

    def __str__(self):
        return f"{self.head} {self.text}"


class Seen:
    """
    The ids of the last `lifetime` seconds, or of the last `most` envelopes if
    there were more. Those of envelopes that are valid for longer are remembered for
    as long: a delayed one that somebody has put into its queue before it was due.
    """

    def __init__(self, lifetime, most=100_000):
        self.lifetime = lifetime + CLOCK_MARGIN
        self.most = most
        self._recent, self._older = set(), set()
        # Ids by when they can be forgotten.
        self._lasting = {}
        self._next_turn = 0

    def add(self, number, valid=0):
        """
        Return whether the id of an envelope that is valid for `valid` more seconds
        had not been seen, and remember it.
        """
        now, number = time.monotonic(), hash(number)
        with _lock:
            if now >= self._next_turn or len(self._recent) >= self.most:
                self._turn(now)
            if (
                number in self._recent
                or number in self._older
                or number in self._lasting
            ):
                return False
            if valid > self.lifetime and len(self._lasting) < self.most:
                self._lasting[number] = now + valid
            self._recent.add(number)
            return True

    def _turn(self, now):
        self._older, self._recent = self._recent, set()
        self._next_turn = now + self.lifetime
        self._lasting = {
            number: until for number, until in self._lasting.items() if until > now
        }


_lock = threading.Lock()


def _reset_after_fork():
    # A fork would wait for the threads of its parent.
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_after_fork)


def sign(head, text, secret):
    """Return the signature of an envelope with these other fields."""
    mac = _keyed(secret).copy()
    mac.update(f"{head} {text}".encode())
    return mac.hexdigest()


@lru_cache
def _keyed(secret):
    """Return an HMAC that has the key already, which is half the work."""
    key = hashlib.sha256(SALT + force_bytes(secret)).digest()
    return hmac.new(key, digestmod="sha256")


def make_fernet(keys):
    """Return a MultiFernet with keys that are made of these strings."""
    try:
        from cryptography.fernet import Fernet, MultiFernet
    except ImportError as exc:
        raise ImproperlyConfigured(
            "ENCRYPTION_KEYS of a channel backend needs the package cryptography: "
            "python -m pip install cryptography"
        ) from exc
    return MultiFernet(
        Fernet(base64.urlsafe_b64encode(hashlib.sha256(force_bytes(key)).digest()))
        for key in keys
    )
