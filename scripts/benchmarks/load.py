"""Clients: wrk where there is one, else threads with a connection a request."""

import re
import shutil
import socket
import subprocess
import threading
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
    wrk = shutil.which("wrk")
    if wrk and seconds >= 1:  # It takes whole seconds only.
        return rate_by_wrk(wrk, port, url, seconds)
    return rate_by_threads(port, url, seconds)


def rate_by_wrk(wrk, port, url, seconds):
    duration = f"{round(seconds)}s"
    command = [wrk, "--threads", "1", "--connections", str(CONNECTIONS)]
    command += ["--duration", duration, f"http://127.0.0.1:{port}{url}"]
    result = subprocess.run(
        command, capture_output=True, text=True, timeout=seconds + TIMEOUT
    )
    found = re.search(r"Requests/sec: +([\d.]+)", result.stdout)
    if not found or "Non-2xx" in result.stdout:
        raise Problem(f"wrk failed:\n{result.stdout}{result.stderr}")
    return float(found[1])


def rate_by_threads(port, url, seconds):
    data, counts, errors = request("GET", url), [], []
    start = time.perf_counter()

    def work():
        count = 0
        try:
            while time.perf_counter() < start + seconds:
                transfer(port, data)
                count += 1
        except (OSError, Problem) as exc:
            errors.append(exc)
        counts.append(count)

    threads = [threading.Thread(target=work) for _ in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise Problem(f"A request failed: {errors[0]}")
    return sum(counts) / (time.perf_counter() - start)
