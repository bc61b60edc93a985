"""What the workers of the benchmark of layers run."""

import time

from django.channels import Channel, consumer


@consumer("bench.nothing")
def do_nothing(report=None, **message):
    """Do nothing, but for the few messages that ask for the time."""
    if report is not None:
        Channel(report).send({"now": time.perf_counter(), "cpu": time.process_time()})


@consumer("bench.echo")
def echo(response_channel, channel, **message):
    Channel(response_channel).send(message)
