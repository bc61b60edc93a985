"""
The process that loads the servers of the benchmark of the interface server.

It is asked as caller.py is, and does all in one thread: on non-blocking sockets,
with an answer compared as bytes and nothing parsed, so that it takes much less of
a processor than any server. Frames have a text of 32 bytes.
"""

import re
import select
import statistics
import time

from benchmarks.caller import serve
from benchmarks.interface_holding import Holder
from benchmarks.interface_sockets import (
    HOST,
    TEXT,
    client_frame,
    dial,
    receive,
    server_frame,
    wait,
    watched,
)
from benchmarks.load import request
from fork.base import Problem

PAYLOAD = b"0123456789abcdef" * 2
SENT, EXPECTED = client_frame(TEXT, PAYLOAD), server_frame(TEXT, PAYLOAD)

# Broadcasts that are under way at once: fewer than any server drops.
WINDOW = 4

clock = time.perf_counter


def figures(latencies, elapsed):
    """
    Return how many there are a second, and of the milliseconds of each the median
    and what 99 of 100 are below.
    """
    # One alone has no quantiles.
    values = latencies if len(latencies) > 1 else latencies * 2
    percentiles = statistics.quantiles(values, n=100, method="inclusive")
    return [len(latencies) / elapsed, percentiles[49] * 1e3, percentiles[98] * 1e3]


def hello(port, path, connections, seconds):
    """
    Load with so many requests at once, on connections that are used again if the
    server lets them, as browsers and proxies do.
    """
    with dial(port) as connection:
        connection.sendall(plain_request(path))
        keeps = b"\r\nconnection: close" not in receive(connection).lower()
    load = hello_again if keeps else hello_anew
    return load(port, path, connections, seconds)


def plain_request(path):
    return f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()


def hello_anew(port, path, connections, seconds):
    """Load with so many requests at once, each on a connection of its own."""
    data, latencies, asked = request("GET", path), [], {}
    with select.epoll() as epoll:

        def ask():
            began, connection = clock(), dial(port)
            connection.setblocking(False)
            connection.send(data)
            epoll.register(connection, select.EPOLLIN)
            asked[connection.fileno()] = connection, began

        start = clock()
        end = start + seconds
        for _ in range(connections):
            ask()
        while asked:
            for fd in wait(epoll):
                connection, began = asked[fd]
                if is_whole(connection.recv(65536)):
                    connection.close()
                    del asked[fd]
                    latencies.append(clock() - began)
                    if clock() < end:
                        ask()
        return figures(latencies, clock() - start)


def is_whole(received):
    """Return whether this is the end of an answer, which has to be one of success."""
    if received.startswith(b"HTTP/") and b" 200 " not in received[:16]:
        raise Problem(f"The server answered {received[:30]!r}.")
    return not received


def hello_again(port, path, connections, seconds):
    """Load with so many connections, each with one request after another."""
    data, latencies, asked, sockets = plain_request(path), [], {}, {}
    with select.epoll() as epoll:
        for _ in range(connections):
            connection = dial(port)
            size = first_answer(connection, data)
            connection.setblocking(False)
            epoll.register(connection, select.EPOLLIN)
            sockets[connection.fileno()] = connection
        start = clock()
        end = start + seconds
        for fd, connection in sockets.items():
            asked[fd] = clock(), size
            connection.send(data)
        while asked:
            for fd in wait(epoll):
                began, missing = asked[fd]
                missing -= len(receive(sockets[fd]))
                asked[fd] = began, missing
                if missing <= 0:
                    latencies.append(clock() - began)
                    del asked[fd]
                    if clock() < end:
                        asked[fd] = clock(), size
                        sockets[fd].send(data)
        for connection in sockets.values():
            connection.close()
        return figures(latencies, clock() - start)


def first_answer(connection, data):
    """Ask once and return the length of the answer, which all others have as well."""
    connection.sendall(data)
    answer = b""
    while True:
        answer += receive(connection)
        head, found, body = answer.partition(b"\r\n\r\n")
        length = re.search(rb"\ncontent-length: *(\d+)", head, re.IGNORECASE)
        end = len(body) == int(length[1]) if length else body.endswith(b"0\r\n\r\n")
        if found and end:
            is_whole(answer)
            return len(answer)


def echo(port, path, connections, seconds):
    """Load with so many WebSockets, each with a frame when the last has come back."""
    latencies, asked = [], {}
    with watched(port, path, connections) as (epoll, sockets):
        start = clock()
        end = start + seconds
        for fd, connection in sockets.items():
            asked[fd] = clock()
            connection.send(SENT)
        while asked:
            for fd in wait(epoll):
                connection = sockets[fd]
                if receive(connection) != EXPECTED:
                    raise Problem("An echo is not what was sent.")
                now = clock()
                latencies.append(now - asked.pop(fd))
                if now < end:
                    asked[fd] = now
                    connection.send(SENT)
        return figures(latencies, clock() - start)


def broadcast(port, path, connections, seconds):
    """
    Have one of so many WebSockets send to all of them. Return the deliveries a
    second of broadcasts that all of them have heard, as all have to be.
    """
    with watched(port, path, connections) as (epoll, sockets):
        sender, size = next(iter(sockets.values())), len(EXPECTED)
        heard = dict.fromkeys(sockets, 0)  # Bytes.
        missing = {}  # Number of a broadcast -> who has not heard it.
        sent, start = WINDOW, clock()
        end = start + seconds
        for number in range(sent):
            missing[number] = connections
            sender.send(SENT)
        while missing:
            for fd in wait(epoll):
                before = heard[fd] // size
                heard[fd] += len(receive(sockets[fd]))
                for number in range(before, heard[fd] // size):
                    missing[number] -= 1
                    if missing[number] == 0:
                        del missing[number]
                        if clock() < end:
                            missing[sent] = connections
                            sent += 1
                            sender.send(SENT)
        return [sent * connections / (clock() - start)]


if __name__ == "__main__":
    holder = Holder(SENT, EXPECTED)
    holding = [holder.hold, holder.keep, holder.hear]
    serve([hello, hello_anew, echo, broadcast, *holding])
