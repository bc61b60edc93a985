"""
A TCP proxy that fails on demand, to stand between a client and its server:

    with FaultProxy(server.port) as proxy:
        client = redis.Redis.from_url(server.url_at(proxy.port))
        dropped = proxy.drop_reply(b"EVALSHA")
        ...
        dropped.wait(PATIENCE)

It runs in a thread of its own. What a method does is done when it returns.
"""

import asyncio
import socket
import struct
import threading
from contextlib import suppress

from django.channels.backends.contract import PATIENCE

from .redis_servers import free_port

# Chunks of up to 64 KiB that wait in a direction before reading stops.
CHUNKS = 64


def value_end(data, start):
    """
    Return where the RESP value that starts at `start` ends; None if it goes on.

    Raise ValueError if there is none.
    """
    if (kind := data[start : start + 1]) not in b"*$+-:_#,(!=%~>|":
        raise ValueError("No RESP value.")
    if (end := data.find(b"\r\n", start) + 2) == 1:
        return None
    text = data[start + 1 : end - 2]
    if kind in b"$!=" and int(text) >= 0:
        end += int(text) + 2
        return end if end <= len(data) else None
    if kind in b"*~>%|":
        for _ in range(int(text) * (2 if kind in b"%|" else 1)):
            if (end := value_end(data, end)) is None:
                return None
    return end


class Values:
    """Counts the RESP values of a stream: commands, or replies but no pushes."""

    def __init__(self):
        self.count = 0
        self.rest = b""

    def feed(self, data):
        """Yield each value that `data` completes, and where in `data` it ends."""
        before, self.rest = len(self.rest), self.rest + data
        try:
            while self.rest and (end := value_end(self.rest, 0)) is not None:
                value, self.rest = self.rest[:end], self.rest[end:]
                before -= end
                self.count += not value.startswith(b">")
                yield value, -before
        except ValueError:
            # Another protocol, or TLS: nothing is dropped there.
            self.rest = b""


class Rule:
    """What to lose of the next command that contains `match`."""

    def __init__(self, match, part, leave_open):
        self.match, self.part, self.leave_open = match, part, leave_open
        self.dropped = threading.Event()


class Connection:
    """One client's connection and the one to the server that it led to."""

    def __init__(self, proxy, reader, writer):
        self.proxy = proxy
        self.client_reader, self.client = reader, writer
        self.server = None
        self.commands, self.replies = Values(), Values()
        # The rule that applies, and how many replies come before what is lost.
        self.rule, self.limit = None, None
        # Whether the client has not closed it.
        self.open = True
        # What is lost from here on: commands, or all; and whether both sides
        # are closed once what comes before is through.
        self.deaf, self.dead, self.ending = False, False, False

    async def run(self):
        """Forward both ways until one side ends."""
        server_reader, self.server = await asyncio.open_connection(
            "127.0.0.1", self.proxy.target
        )
        for writer in (self.client, self.server):
            sock = writer.get_extra_info("socket")
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        there, back = asyncio.Queue(CHUNKS), asyncio.Queue(CHUNKS)
        readers = [
            asyncio.ensure_future(self.read(*direction))
            for direction in [
                (self.client_reader, there, self.on_commands),
                (server_reader, back, self.on_replies),
            ]
        ]
        writers = [
            asyncio.ensure_future(self.write(there, self.server)),
            asyncio.ensure_future(self.write(back, self.client)),
        ]
        try:
            await asyncio.wait(writers, return_when=asyncio.FIRST_COMPLETED)
            if self.ending:
                # The replies that come before what is lost.
                self.server.close()
                await writers[1]
        finally:
            for task in (*readers, *writers):
                task.cancel()
            await asyncio.gather(*readers, *writers, return_exceptions=True)

    async def read(self, reader, queue, look):
        """Queue what `look` leaves of what comes, with its time; None at the end."""
        clock = asyncio.get_running_loop().time
        with suppress(OSError):
            while not self.ending and (data := await reader.read(65536)):
                if not self.dead and (data := look(data)):
                    await queue.put((clock() + self.proxy.latency, data))
        if reader is self.client_reader and not self.ending:
            self.open = False
        await queue.put(None)

    async def write(self, queue, writer):
        """Pass on what is queued, when its time has come."""
        clock = asyncio.get_running_loop().time
        with suppress(OSError):
            while (item := await queue.get()) is not None:
                due, data = item
                if (delay := due - clock()) > 0:
                    await asyncio.sleep(delay)
                pause = self.proxy.trickle
                size = len(data) if pause is None else 1
                for start in range(0, len(data), size):
                    await self.proxy.thawed.wait()
                    writer.write(data[start : start + size])
                    await writer.drain()
                    if pause is not None:
                        await asyncio.sleep(pause)
        await self.proxy.thawed.wait()

    def on_commands(self, data):
        """Return what of the client's bytes goes on to the server."""
        passed = 0
        for command, end in self.commands.feed(data):
            rule = self.proxy.rule
            if self.rule is None and rule and rule.match in command:
                self.rule, self.proxy.rule = rule, None
                self.limit = self.commands.count - 1
                if rule.part == "request":
                    self.deaf = True
                    self.end_if_replied()
                    return data[:passed]
            passed = end
        return b"" if self.deaf else data

    def on_replies(self, data):
        """Return what of the server's bytes goes on to the client."""
        if self.limit is None:
            for _ in self.replies.feed(data):
                pass
            return data
        passed = 0
        if self.replies.count < self.limit:
            passed = len(data)
            for _, end in self.replies.feed(data):
                if self.replies.count == self.limit:
                    passed = end
                    break
        if passed < len(data):
            self.lose()
        else:
            self.end_if_replied()
        return data[:passed]

    def end_if_replied(self):
        """Lose a request once the replies to those before it are through."""
        if self.rule.part == "request" and self.replies.count == self.limit:
            self.lose()

    def lose(self):
        self.dead = self.rule.leave_open
        self.ending = not self.dead
        self.rule.dropped.set()

    def close(self):
        for writer in filter(None, (self.client, self.server)):
            writer.close()

    def abort(self, reset):
        """Close both sides without waiting for what they have not sent yet."""
        for writer in filter(None, (self.client, self.server)):
            if reset:
                sock = writer.get_extra_info("socket")
                linger = struct.pack("ii", 1, 0)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()


class FaultProxy:
    """
    Forwards connections to `port` of 127.0.0.1 to the port `target` there.

    ``latency``: seconds that each byte takes, each way;
    ``trickle``: seconds after each byte, if bytes go on one at a time, or None;
    ``accepted``: the number of connections so far.
    """

    def __init__(self, target):
        self.target, self.port = target, free_port()
        self.latency, self.trickle, self.accepted = 0, None, 0
        self.rule = None
        self._connections = {}

    def __enter__(self):
        return self.start()

    def __exit__(self, *exc_info):
        self.close()

    def start(self):
        """Start to listen. Return the proxy."""
        ready = threading.Event()
        self._thread = threading.Thread(
            target=asyncio.run, args=[self._run(ready)], daemon=True
        )
        self._thread.start()
        if not ready.wait(PATIENCE):
            raise AssertionError("The proxy did not start.")
        return self

    def close(self):
        """Close all connections and end the thread, whatever hangs."""
        if not self._thread.is_alive():
            return
        self._call(self._ended.set)
        self._thread.join(PATIENCE)
        if self._thread.is_alive():
            raise AssertionError(f"The proxy did not end within {PATIENCE} seconds.")

    @property
    def connections(self):
        """How many connections are open that the client has not closed."""
        return sum(connection.open for connection in list(self._connections))

    def drop_reply(self, match, leave_open=False):
        """
        Lose the reply to the next Redis command that contains the bytes `match`.

        The server executes the command; replies to earlier ones get through.
        Then the connection is cut, or with `leave_open` stays open, half dead:
        nothing gets through it any more. Return an Event that tells when the
        reply has been lost. RESP that is not encrypted is understood.
        """
        return self._set_rule(Rule(match, "reply", leave_open))

    def drop_request(self, match, leave_open=False):
        """Lose the command instead: the server never sees the whole of it."""
        return self._set_rule(Rule(match, "request", leave_open))

    def freeze(self):
        """
        Forward nothing, either way, not even that a connection has ended.

        New connections are accepted, and hear nothing either.
        """
        self._call(self.thawed.clear)

    def thaw(self):
        """Forward what came since freeze(), and what comes."""
        self._call(self.thawed.set)

    def cut(self, reset=False):
        """Close all connections: in good order, or with a reset."""
        self._await(self._cut(reset))

    def refuse(self):
        """Refuse new connections; those that are open stay."""
        self._call(self._listener.close)

    def accept(self):
        """Accept connections again."""
        self._await(self._listen())

    def heal(self):
        """Forward everything from here on, without delay."""
        self.latency, self.trickle, self.rule = 0, None, None
        self.thaw()
        self.accept()

    def _set_rule(self, rule):
        self.rule = rule
        return rule.dropped

    def _call(self, function):
        async def call():
            function()

        self._await(call())

    def _await(self, coroutine):
        """Run a coroutine in the proxy's thread to its end."""
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(PATIENCE)

    async def _run(self, ready):
        self._loop, self._listener = asyncio.get_running_loop(), None
        self._ended, self.thawed = asyncio.Event(), asyncio.Event()
        self.thawed.set()
        await self._listen()
        ready.set()
        await self._ended.wait()
        self._listener.close()
        await self._cut(reset=False)

    async def _listen(self):
        if self._listener is None or not self._listener.is_serving():
            self._listener = await asyncio.start_server(
                self._serve, "127.0.0.1", self.port
            )

    async def _serve(self, reader, writer):
        connection = Connection(self, reader, writer)
        self._connections[connection] = asyncio.current_task()
        self.accepted += 1
        try:
            with suppress(OSError, asyncio.CancelledError):
                await connection.run()
        finally:
            connection.close()
            del self._connections[connection]

    async def _cut(self, reset):
        tasks = list(self._connections.values())
        for connection, task in list(self._connections.items()):
            with suppress(OSError):
                connection.abort(reset)
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=PATIENCE)
