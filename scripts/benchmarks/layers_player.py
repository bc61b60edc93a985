"""
The process that sends and receives through the site's channel layer.

It is asked as caller.py is. The ``kind`` in a question is "channels", or "bare"
for the commands of redis-py on the server at BENCH_REDIS, without channels.
"""

import os
import random
import threading
import time
from functools import cache

from benchmarks.caller import profile, serve

import django

MESSAGE = {"number": 1, "path": "/some/where/", "text": "Hello World"}
TEXT = b'{"number":1,"path":"/some/where/","text":"Hello World"}'
END = b"end"

BURST = 100  # Messages.
TIMEOUT = 30  # Seconds.

# Seconds for which a worker is left alone before it is woken. After a quarter of
# a second it looks into a database at its longest intervals.
PAUSES = (0.3, 0.4)

QUEUE, ECHO, NOTHING = "bench.queue", "bench.echo", "bench.nothing"
# What no worker takes from the one that is asked.
ANSWERED = "bench.answered"


class Channels:
    """The channel layer of the site."""

    def __init__(self):
        from django.channels import Channel, channels
        from django.channels.inbox import Inbox

        self.channel, self.backend = Channel, channels["default"]
        self.inbox = Inbox(self.backend, "bench.reply")

    def send(self, name, **message):
        self.channel(name).send(MESSAGE | message)

    def receive(self, name):
        channel, message = self.backend.receive([name], TIMEOUT)
        return message

    def exchange(self, name, timeout=TIMEOUT, key="response_channel"):
        """
        Send a message that names a response channel, and return the reply. Return
        None if there is none, or the consumer has failed.
        """
        channel = self.inbox.open()
        self.send(name, **{key: channel})
        reply = self.inbox.receive(channel, timeout)
        self.inbox.close(channel)
        return None if reply is None or "status" in reply else reply

    def answer(self, name):
        """Reply to messages until there is one without a response channel."""
        while response_channel := self.receive(name).get("response_channel"):
            self.backend.reply(response_channel, MESSAGE)


class Bare:
    """What the channel layer is compared with: lists on the same server."""

    def __init__(self):
        import redis

        self.client = redis.Redis.from_url(os.environ["BENCH_REDIS"])

    def send(self, name, text=TEXT):
        self.client.rpush(name, text)

    def receive(self, name):
        _, text = self.client.blpop(name, TIMEOUT)
        return text

    def exchange(self, name):
        self.send(name)
        return self.receive("bench.reply")

    def answer(self, name):
        while self.receive(name) != END:
            self.send("bench.reply")


@cache
def layer(kind):
    return {"channels": Channels, "bare": Bare}[kind]()


def timed(function, *arguments):
    """Return the seconds that a call takes."""
    start = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - start


def send_many(kind, name, count):
    send = layer(kind).send
    for _ in range(count):
        send(name)


def receive_many(kind, name, count):
    receive = layer(kind).receive
    for _ in range(count):
        receive(name)


def time_queue(kind, seconds):
    """
    Send messages and receive them, in bursts, for so many seconds each. Return
    the messages a second of both.
    """
    sending = receiving = bursts = 0
    while min(sending, receiving) < seconds:
        sending += timed(send_many, kind, QUEUE, BURST)
        receiving += timed(receive_many, kind, QUEUE, BURST)
        bursts += 1
    return bursts * BURST / sending, bursts * BURST / receiving


def average(function, seconds):
    """Call a function for so many seconds, and return those of one call."""
    start, count = time.perf_counter(), 0
    while (elapsed := time.perf_counter() - start) < seconds:
        function()
        count += 1
    return elapsed / count


def time_turns(kind, seconds):
    """Return the seconds in which one thread sends a message and receives it."""
    here = layer(kind)

    def turn():
        here.send(QUEUE)
        here.receive(QUEUE)

    return average(turn, seconds)


def time_exchanges(kind, name, seconds):
    """Return the seconds until a message to a channel has been answered."""
    here = layer(kind)

    def exchange():
        if here.exchange(name) is None:
            raise RuntimeError(f"There was no good answer from {name}.")

    return average(exchange, seconds)


def answer(kind):
    """Answer the messages of another process until it calls end_answers()."""
    layer(kind).answer(ANSWERED)


def end_answers(kind):
    layer(kind).send(ANSWERED, *([END] if kind == "bare" else []))


def drain_bare(count):
    """Return the messages a second that redis-py pops from a queue of so many."""
    send_many("bare", QUEUE, count)
    return count / timed(receive_many, "bare", QUEUE, count)


def fill(count):
    """
    Send so many messages to a worker, of which the first and the last ask for
    the time. Return the response channels.
    """
    here = layer("channels")
    first, last = here.inbox.open(), here.inbox.open()
    here.send(NOTHING, report=first)
    send_many("channels", NOTHING, count - 2)
    here.send(NOTHING, report=last)
    return first, last


def time_between(first, last):
    """Return the seconds between two messages of fill(), by the worker's clock."""
    inbox = layer("channels").inbox
    reports = [inbox.receive(channel, TIMEOUT) for channel in (first, last)]
    return None if None in reports else reports[1]["now"] - reports[0]["now"]


def ask_worker():
    """Return the time and the processor time of the worker, or None."""
    return layer("channels").exchange(NOTHING, key="report")


def time_wakes(count):
    """
    Return the seconds from each of so many sends until the consumer has been
    called, of a worker at rest. The clock is the same in all processes.
    """
    times = []
    for _ in range(count):
        time.sleep(random.uniform(*PAUSES))
        start = time.perf_counter()
        times.append(ask_worker()["now"] - start)
    return times


def profile_layer(count):
    """Return profiles of sending so many messages, and of a worker's loop."""
    from django.channels.worker import Worker

    worker = Worker(layer("channels").backend)

    def stop_at_the_end():
        while worker.counts["handled"] < count:
            time.sleep(0.01)
        worker.stop()

    sending = profile(lambda: send_many("channels", NOTHING, count))
    threading.Thread(target=stop_at_the_end).start()
    return f"Sends:\n{sending}\nWorker:\n{profile(worker.run)}"


if __name__ == "__main__":
    django.setup()
    serve(
        [
            *(time_queue, time_turns, time_exchanges, answer, end_answers),
            *(drain_bare, fill, time_between, ask_worker, time_wakes, profile_layer),
        ]
    )
