"""What the tests of backends share."""

import threading
import time

# Seconds that a test waits for what has to come. None takes that long.
PATIENCE = 20


def receive_all(backend, channels):
    """Return the messages that are waiting on `channels`, as (channel, message)."""
    received = []
    while (item := backend.receive(channels)) is not None:
        received.append(item)
    return received


def wait_for(condition):
    """Wait until `condition`, a function, returns a true value, and return that."""
    deadline = time.monotonic() + PATIENCE
    while not (value := condition()):
        if time.monotonic() >= deadline:
            raise AssertionError(f"Waited in vain for {PATIENCE} seconds.")
        time.sleep(0.01)
    return value


def run_threads(*functions):
    """Run the functions, each in a thread, and wait for them all."""
    threads = [threading.Thread(target=function, daemon=True) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    if any(thread.is_alive() for thread in threads):
        raise AssertionError(f"A thread did not end within {PATIENCE} seconds.")
