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
def signal_handlers(stop, hang_up=None, end=lambda: None, once=False):
    """
    Within the context the first SIGTERM or SIGINT calls `stop`. The second calls
    `end` and ends the process at once, with the exit code 128 + its number, as
    a shell tells of it. SIGHUP calls `hang_up`. Without that it is as SIGTERM,
    unless it is ignored as with nohup. A fork has the handlers from before.

    With `once` a second signal does nothing: it may be the first one again, which
    a supervisor passes on that has got it as well.

    The functions are called in the main thread, between any two steps of it, so
    they must not wait for a lock. Only the main thread may enter the context.
    """
    told, process, before = [], os.getpid(), {}

    def handle(number, frame):
        if os.getpid() != process:
            put_back(before)
            os.kill(os.getpid(), number)
        elif hang_up and number not in STOP_SIGNALS:
            hang_up()
        elif told and once:
            pass
        elif told:
            with suppress(Exception):
                end()
            exit_now(128 + number)
        else:
            told.append(number)
            stop()

    try:
        for number in numbers_to_handle(hang_up):
            before[number] = signal.signal(number, handle)
        yield
    finally:
        put_back(before)


def numbers_to_handle(hang_up):
    """Return the signals to handle, with or without a function for SIGHUP."""
    number = getattr(signal, "SIGHUP", None)
    if number is None or not hang_up and signal.getsignal(number) == signal.SIG_IGN:
        return STOP_SIGNALS
    return [*STOP_SIGNALS, number]


def put_back(handlers):
    """Set the handlers of a dict by signal, as signal.signal() returned them."""
    for number, handler in handlers.items():
        # None stands for a handler that is not Python's.
        signal.signal(number, signal.SIG_DFL if handler is None else handler)


def exit_now(code):
    """End the process without waiting for its threads."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()
    os._exit(code)
