"""
The connection of one thread to one server.

A session uses the Connection of redis-py by itself, without its client and
pool: most of what a round trip costs is their Python code. Nothing is sent
twice, unless the server has said that it has not done it.
"""

import threading
import time
from collections import deque
from contextlib import suppress

from redis import exceptions as redis_exceptions

from django.channels.backends.redis.scripts import with_source
from django.channels.exceptions import BackendUnavailable, ChannelFull

try:
    from hiredis import pack_command
except ImportError:
    pack_command = None

# Seconds after which a connection that was not used may have been closed by the
# server.
IDLE = 0.1

# Replies that may be unread on a connection.
MOST_POSTED = 16

LOST = (redis_exceptions.ConnectionError, redis_exceptions.TimeoutError, OSError)


class NotSent(BackendUnavailable):
    """The store does not answer, and has surely not been given the message."""

    may_be_sent = False


def pack(connection, commands):
    """Return what to write for `commands`, as pack_commands() of redis-py does."""
    if pack_command is None:
        return connection.pack_commands(commands)
    # Without its look at each argument, which takes longer than the packing.
    return [b"".join(map(pack_command, commands))]


def is_elsewhere(reply):
    """Return whether a reply says that another server has the data now."""
    # In an error of a script the server's words are in the middle. And older
    # releases of redis-py know MovedError only in their client for clusters.
    return isinstance(reply, redis_exceptions.ResponseError) and (
        "READONLY" in str(reply)
        # A master whose replicas have left it, maybe for one of them.
        or "NOREPLICAS" in str(reply)
        or str(reply).startswith(("MOVED ", "UNBLOCKED"))
        or isinstance(
            reply, (redis_exceptions.MovedError, redis_exceptions.ReadOnlyError)
        )
    )


def as_ask_error(error):
    """Return `error` as an AskError if the server has said ASK, else None."""
    if str(error).startswith("ASK "):
        return redis_exceptions.AskError(str(error).removeprefix("ASK "))
    return error if isinstance(error, redis_exceptions.AskError) else None


class Session:
    """Runs commands on the server in `server`, a location, that has `key`."""

    def __init__(self, server, key, flusher):
        self._server = server
        self._key = key
        self._flusher = flusher
        # Of the thread of the session, or of the one that sends what is held.
        self.lock = threading.RLock()
        # Why what was posted to a queue was not taken, until that has been told.
        self.failures = {}
        self.is_holding = False
        self._connection = None
        self._client_id = (None, None)
        self._used = 0
        # (Post, command) of what was sent and has no reply yet.
        self._posted = deque()
        # Each Post that is still to be sent.
        self._held = []
        self._held_since = 0
        # The connection whose server has done what was posted.
        self._proven = None

    def call(self, *commands):
        """
        Return the replies to commands, in one round trip.

        Raise ChannelFull if the server is out of memory, and BackendUnavailable
        if it does not answer, or does not do the commands.
        """
        for reply in (replies := self.call_each(*commands)):
            if isinstance(reply, Exception):
                raise reply
        return replies

    def call_each(self, *commands):
        """Do what call() does, with the exception of a command as its reply."""
        replies = self._exchange(list(commands))
        if refused := [n for n, reply in enumerate(replies) if is_elsewhere(reply)]:
            # The others have been done, and must not be done again.
            self.close()
            try:
                again = self._exchange([commands[number] for number in refused])
            except BackendUnavailable as exc:
                again = [exc] * len(refused)
            for number, reply in zip(refused, again):
                replies[number] = reply
        return [
            self._settle(command, reply) if isinstance(reply, Exception) else reply
            for command, reply in zip(commands, replies)
        ]

    def hold(self):
        """
        Let what is posted wait for the next commands, which this thread is about to
        send, unless the server may have to be asked a second time for it.
        """
        self.failures.clear()
        self.is_holding = self._connection is self._proven is not None

    def let_go(self):
        """Hold nothing that is posted from now on."""
        self.is_holding = False

    @property
    def last_held(self):
        """The Post that was held last and has not been sent, or None."""
        return self._held[-1] if self._held else None

    def post(self, post):
        """
        Send the command() of a Post without waiting for the reply. Its confirm() is
        called with that, or with an exception, when the session is used after that.
        """
        with self.lock:
            self._held.append(post)
            if len(self._held) + len(self._posted) >= MOST_POSTED:
                self.confirm()
            elif not self.is_holding:
                with suppress(BackendUnavailable):
                    self._send([])
            elif len(self._held) == 1:
                self._held_since = time.monotonic()
                self._flusher.watch(self)

    def flush_since(self, then):
        """
        Send what has been held since `then`, in another thread than that of the
        session. Return whether something younger is held.
        """
        # Whoever has the lock sends what is held, or is about to look.
        if not (self._held or self._posted) or not self.lock.acquire(blocking=False):
            return False
        try:
            with suppress(BackendUnavailable, *LOST):
                if self._held and self._held_since <= then:
                    self._send([])
                elif self._posted and self._connection.can_read(0):
                    # Something may have to be sent once more.
                    self._receive(0)
            return bool(self._held)
        finally:
            self.lock.release()

    def confirm(self):
        """Read the replies to what has been posted."""
        with self.lock, suppress(BackendUnavailable):
            if self._held:
                self._send([])
            self._receive(0)

    def start(self, *commands):
        """Send commands, whose replies finish() returns."""
        self.confirm()
        self._send(list(commands))

    def finish(self, *commands):
        """Return the replies to the commands that were given to start()."""
        replies = [self._read() for _ in commands]
        for reply in replies:
            if isinstance(reply, Exception):
                if is_elsewhere(reply):
                    self.close()
                raise self._unavailable(reply)
        return replies

    @property
    def client_id(self):
        """The number by which the server knows the connection."""
        connection = self._open()
        if self._client_id[0] is not connection:
            self._client_id = (connection, self.call(("CLIENT", "ID"))[0])
        return self._client_id[1]

    @property
    def is_open(self):
        """Whether replies may still come: another thread may close the connection."""
        connection = self._connection
        return connection is not None and connection._sock is not None

    def fileno(self):
        """Return the file descriptor of the connection, to wait for replies."""
        return self._connection._sock.fileno()

    def release(self):
        """Close the connection, after the replies to what has been posted."""
        try:
            self.confirm()
        finally:
            self.close()

    def end(self):
        """Close the connection, and drop what is held."""
        held, self._held = self._held, []
        for post in held:
            post.confirm(BackendUnavailable("The backend was closed."))
        self.close()

    def close(self):
        """Close the connection. The next command opens another."""
        connection, self._connection = self._connection, None
        posted, self._posted = self._posted, deque()
        if connection is not None:
            connection.disconnect()
        for post, _ in posted:
            post.confirm(BackendUnavailable("The connection to Redis was lost."))

    def _exchange(self, commands):
        with self.lock:
            self._send(commands)
            return self._receive(len(commands))

    def _receive(self, count):
        """Return the next `count` replies after those to what has been posted."""
        answered = []
        try:
            while self._posted:
                reply = self._read()
                answered.append((*self._posted.popleft(), reply))
            return [self._read() for _ in range(count)]
        finally:
            # Not earlier, as this may send other commands.
            for post, command, reply in answered:
                post.confirm(self._settled(command, reply))

    def _settled(self, command, reply):
        if isinstance(reply, Exception):
            try:
                if is_elsewhere(reply):
                    self.close()
                    (reply,) = self._exchange([command])
                if isinstance(reply, Exception):
                    reply = self._settle(command, reply)
            except BackendUnavailable as exc:
                return exc
        if not isinstance(reply, Exception):
            self._proven = self._connection
        return reply

    def _send(self, commands):
        """Send what is held, and `commands`."""
        held, self._held = self._held, []
        try:
            posted = [(post, post.command()) for post in held]
            connection = self._open()
        except Exception as exc:
            for post in held:
                post.confirm(exc)
            raise
        self._posted.extend(posted)
        try:
            packed = pack(connection, [command for _, command in posted] + commands)
            connection.send_packed_command(packed, check_health=False)
        except LOST as exc:
            self.close()
            raise self._unavailable(exc) from exc
        except BaseException:
            self.close()
            raise

    def _read(self):
        """Return the next reply, which may be an exception."""
        try:
            if self._connection is None:
                raise redis_exceptions.ConnectionError("The connection was closed.")
            reply = self._connection.read_response(disable_decoding=True)
        except redis_exceptions.ResponseError as exc:
            return exc
        except LOST as exc:
            self.close()
            raise self._unavailable(exc) from exc
        except BaseException:
            # In the middle of a reply: what comes next would not be understood.
            self.close()
            raise
        self._used = time.monotonic()
        return reply

    def _open(self):
        """Return the connection, opened anew if the server has closed it."""
        connection = self._connection
        if connection is not None and time.monotonic() - self._used > IDLE:
            with suppress(BackendUnavailable):
                self._receive(0)
            try:
                usable = not connection.can_read(0)
            except LOST:
                usable = False
            if not usable:
                self.close()
        if self._connection is None:
            try:
                self._connection = self._server.connect(self._key)
            except (redis_exceptions.RedisError, OSError) as exc:
                raise NotSent(f"Redis cannot be reached: {exc}") from exc
            self._used = time.monotonic()
        return self._connection

    def _settle(self, command, error):
        """Return the reply to a command that was not done, or an exception."""
        if isinstance(error, redis_exceptions.NoScriptError):
            (reply,) = self._exchange([with_source(command)])
            return self._unavailable(reply) if isinstance(reply, Exception) else reply
        if (asked := as_ask_error(error)) is not None:
            return self._follow(command, asked)
        return self._unavailable(error)

    def _follow(self, command, error):
        """Run a command on the server to which a part of a cluster is moving."""
        try:
            other = self._server.open(host=error.host, port=error.port)
            try:
                asked = [("ASKING",), with_source(command)]
                other.send_packed_command(other.pack_commands(asked))
                return [other.read_response(disable_decoding=True) for _ in asked][1]
            finally:
                other.disconnect()
        except (redis_exceptions.RedisError, OSError) as exc:
            return self._unavailable(exc)

    def _unavailable(self, error):
        """Return the error of channels for one of redis-py."""
        if "OOM " in str(error) or isinstance(error, redis_exceptions.OutOfMemoryError):
            return ChannelFull(f"Redis is out of memory: {error}")
        if isinstance(error, redis_exceptions.ResponseError):
            return NotSent(f"Redis refuses: {error}")
        return BackendUnavailable(f"Redis does not answer: {error}")
