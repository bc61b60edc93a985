"""
What senders and receivers of a process saw, as JSON on its standard output.

Arguments: the settings as JSON, "send" or "receive", a name and the number of
threads, and for "send" the number of messages of each. A process that sends says
so in a line, once each thread has sent a message, and goes on at a line from its
standard input.
"""

import json
import sys
import threading
import time


def send_all(backend, sender, count, begun):
    """
    Send numbered messages, and wait at `begun`, a Barrier, after the first. Return
    those that may have been sent, or not.
    """
    from django.channels.exceptions import BackendUnavailable, ChannelFull

    unknown = []
    for number in range(count):
        while True:
            try:
                backend.send("history", {"sender": sender, "number": number})
            except ChannelFull:
                time.sleep(0.01)
                continue
            except BackendUnavailable:
                unknown.append([sender, number])
                time.sleep(0.02)
            break
        if number == 0:
            begun.wait()
        if number % 10 == 0:
            time.sleep(0.005)
    return unknown


def receive_all(backend):
    """Return what is received, in its order, until a message says that it is all."""
    from django.channels.exceptions import BackendUnavailable

    received = []
    while True:
        try:
            item = backend.receive(["history", "history.end"], 1)
        except BackendUnavailable:
            time.sleep(0.02)
            continue
        if item is not None and item[0] == "history.end":
            return received
        if item is not None:
            received.append([item[1]["sender"], item[1]["number"]])


def await_signal():
    print("begun", flush=True)
    sys.stdin.readline()


def main(settings_text, role, name, threads, count=0):
    import django
    from django.conf import settings

    settings.configure(SECRET_KEY="history", **json.loads(settings_text))
    django.setup()
    from django.channels import channels

    backend, seen = channels["default"], []
    begun = threading.Barrier(int(threads), await_signal)

    def work(number):
        if role == "send":
            seen.append(send_all(backend, f"{name}.{number}", int(count), begun))
        else:
            seen.append(receive_all(backend))
        backend.release()

    running = [
        threading.Thread(target=work, args=[number]) for number in range(int(threads))
    ]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    json.dump(seen, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
