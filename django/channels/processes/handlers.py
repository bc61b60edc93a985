"""What a process does when it is told by a signal to end."""

import os
import signal
import sys
from contextlib import contextmanager, suppress

STOP_SIGNALS = [
    getattr(signal, name)
    for name in ("SIGTERM", "SIGINT", "SIGBREAK")
    if hasattr(signal, name)
]


@contextmanager
def signal_handlers(stop, hang_up=None, end=lambda: None):
    """
    Within the context the first SIGTERM or SIGINT calls `stop`. The second calls
    `end` and ends the process at once, with the exit code 128 + its number, as
    a shell tells of it. SIGHUP calls `hang_up`, else it is as SIGTERM.

    The functions are called in the main thread, between any two steps of it, so
    they must not wait for a lock. Only the main thread may enter the context.
    """
    told = []

    def handle_stop(number, frame):
        if told:
            with suppress(Exception):
                end()
            exit_now(128 + number)
        told.append(number)
        stop()

    def handle_hang_up(number, frame):
        hang_up()

    handlers = dict.fromkeys(STOP_SIGNALS, handle_stop)
    if hasattr(signal, "SIGHUP"):
        handlers[signal.SIGHUP] = handle_hang_up if hang_up else handle_stop
    before = {
        number: signal.signal(number, handler) for number, handler in handlers.items()
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            # None stands for a handler that is not Python's.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def exit_now(code):
    """End the process without waiting for its threads."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()
    os._exit(code)
