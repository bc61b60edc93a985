"""Clients for loading a server from one thread, with a connection a request."""

import re
import selectors
import socket
import time

from fork.base import Problem

CONNECTIONS = 4
TIMEOUT = 30  # Seconds.
BUFFER = 1 << 20  # Bytes.
BOUNDARY = "----------benchmark"


def request(method, url, headers=(), body=b""):
    """Return the bytes of an HTTP request after which the connection closes."""
    lines = [f"{method} {url} HTTP/1.1", "Host: 127.0.0.1", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in headers]
    return "\r\n".join([*lines, "", ""]).encode("ascii") + body


def upload_request(url, path):
    """Return the bytes of a request that uploads a file as a form does."""
    head = (
        f"--{BOUNDARY}\r\n"
        'Content-Disposition: form-data; name="file"; filename="payload"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    )
    body = head.encode() + path.read_bytes() + f"\r\n--{BOUNDARY}--\r\n".encode()
    headers = [
        ("Content-Type", f"multipart/form-data; boundary={BOUNDARY}"),
        ("Content-Length", len(body)),
    ]
    return request("POST", url, headers, body)


def transfer(port, data, timeout=TIMEOUT):
    """
    Send a request, receive the answer and return its length in bytes.

    Raise Problem if the status is not 200.
    """
    buffer, length = memoryview(bytearray(BUFFER)), 0
    with socket.create_connection(("127.0.0.1", port), timeout) as connection:
        connection.sendall(data)
        while received := connection.recv_into(buffer):
            if not length and not re.match(rb"HTTP/1\.1 200 ", buffer):
                raise Problem(f"The server answered {bytes(buffer[:30])!r}.")
            length += received
    if not length:
        raise ConnectionError("the connection was closed without an answer")
    return length


def rate(port, url, seconds):
    """Load a server for so many seconds and return the requests per second."""
    elapsed, latencies = measure(port, url, seconds)
    return len(latencies) / elapsed


def measure(port, url, seconds, connections=CONNECTIONS):
    """
    Load a server for so many seconds. Return the seconds that it took, and those
    of each request.

    So many requests are always open, each on a connection of its own.
    """
    data, latencies = request("GET", url), []
    start = time.perf_counter()
    with selectors.DefaultSelector() as selector:
        for _ in range(connections):
            ask(selector, port, data)
        while (elapsed := time.perf_counter() - start) < seconds:
            for key, _ in selector.select(TIMEOUT):
                if finished(key.fileobj):
                    selector.unregister(key.fileobj)
                    key.fileobj.close()
                    latencies.append(time.perf_counter() - key.data)
                    ask(selector, port, data)
        for key in list(selector.get_map().values()):
            # Answered, so that the next sample begins with an idle server.
            while not finished(key.fileobj):
                pass
            key.fileobj.close()
    return elapsed, latencies


def ask(selector, port, data):
    """Open a connection, send a request on it and have the selector watch it."""
    start = time.perf_counter()
    connection = socket.create_connection(("127.0.0.1", port), TIMEOUT)
    connection.sendall(data)
    selector.register(connection, selectors.EVENT_READ, start)


def finished(connection):
    """Receive what has come, and return whether it was the end of the answer."""
    received = connection.recv(65536)
    if received and received.startswith(b"HTTP/") and b" 200 " not in received[:16]:
        raise Problem(f"The server answered {received[:30]!r}.")
    return not received
