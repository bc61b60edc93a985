"""
The process that calls the WSGI handler of the site.

It reads questions, one JSON list [function, argument, ...] a line, and writes
what the function returns as a line of JSON. It ends with its input.
"""

import cProfile
import io
import json
import pstats
import resource
import statistics
import sys
import time

BATCH = 10  # Calls between two looks at the clock.

ENVIRON = {
    "REQUEST_METHOD": "GET",
    "SCRIPT_NAME": "",
    "PATH_INFO": "/",
    "QUERY_STRING": "",
    "REMOTE_ADDR": "127.0.0.1",
    "REMOTE_PORT": "50312",
    "SERVER_NAME": "127.0.0.1",
    "SERVER_PORT": "8000",
    "SERVER_PROTOCOL": "HTTP/1.1",
    "HTTP_HOST": "127.0.0.1:8000",
    "HTTP_ACCEPT": "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8",
    "HTTP_ACCEPT_ENCODING": "gzip, deflate, br",
    "HTTP_ACCEPT_LANGUAGE": "en-GB,en;q=0.5",
    "HTTP_USER_AGENT": "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101",
    "wsgi.version": (1, 0),
    "wsgi.url_scheme": "http",
    "wsgi.errors": sys.stderr,
    "wsgi.multithread": False,
    "wsgi.multiprocess": True,
    "wsgi.run_once": False,
}


def start_response(status, headers, exc_info=None):
    if status != "200 OK":
        raise RuntimeError(f"The site answered {status}.")


def call(application):
    """Call the application as a server would, and return the body."""
    environ = ENVIRON | {"wsgi.input": io.BytesIO()}
    response = application(environ, start_response)
    try:
        return b"".join(response)
    finally:
        response.close()


def time_calls(application, seconds):
    """
    Call the application for so many seconds and return those of one call.

    It is the median of batches, which other processes cannot disturb much.
    """
    times, end = [], time.perf_counter() + seconds
    while (start := time.perf_counter()) < end:
        for _ in range(BATCH):
            call(application)
        times.append((time.perf_counter() - start) / BATCH)
    return statistics.median(times)


class Zeros:
    """A request body of so many bytes, as a file."""

    def __init__(self, size):
        self.left = size

    def read(self, size):
        size = min(size, self.left)
        self.left -= size
        return bytes(size)

    readline = read


def transfer(application, url, size):
    """
    Send ``size`` bytes to the view at ``url``, or have it send as many, and
    return the bytes a second.
    """
    environ = ENVIRON | {"PATH_INFO": url, "QUERY_STRING": f"size={size}"}
    environ["wsgi.input"] = Zeros(size)
    if url == "/read/":
        environ |= {"REQUEST_METHOD": "POST", "CONTENT_LENGTH": str(size)}
    start, count = time.perf_counter(), 0
    response = application(environ, start_response)
    for part in response:
        count += len(part)
    response.close()
    crossed = int(part) if url == "/read/" else count
    if crossed != size:
        raise RuntimeError(f"Of {size} bytes {crossed} have crossed.")
    return size / (time.perf_counter() - start)


def growth(application, url, size):
    """Return by how many bytes transfer() makes the process grow at most."""
    transfer(application, url, 2**20)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    transfer(application, url, size)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return (after - before) * (1 if sys.platform == "darwin" else 1024)


def memory_after_a_call(application):
    """Return the resident memory in bytes; its peak where there is no /proc."""
    call(application)
    try:
        with open("/proc/self/status") as status:
            line = next(line for line in status if line.startswith("VmRSS:"))
        return int(line.split()[1]) * 1024
    except OSError:
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def profile_calls(application, calls):
    """Return a profile of so many calls."""
    for _ in range(BATCH):
        call(application)
    return profile(lambda: [call(application) for _ in range(calls)])


def profile(function):
    """Return a profile of a call of a function, by time in each function itself."""
    profiler, output = cProfile.Profile(), io.StringIO()
    profiler.runcall(function)
    stats = pstats.Stats(profiler, stream=output)
    stats.strip_dirs().sort_stats("tottime").print_stats(30)
    return output.getvalue()


def serve(functions, *given):
    """Answer questions until there are no more, by functions of what is given."""
    by_name = {function.__name__: function for function in functions}
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        answer = by_name[name](*given, *arguments)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    from benchmarks.project.wsgi import application

    functions = (time_calls, transfer, growth, memory_after_a_call, profile_calls)
    serve(functions, application)
