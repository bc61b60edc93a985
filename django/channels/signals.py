"""
What happens in workers, for code that wants to know of it.

The senders are the classes of the worker and of the consumer. Receivers run in
the thread of the worker, and what they raise is logged and stops nothing.

* worker_started, worker_stopped: a thread begins and ends to run consumers.
  Argument: `worker`.
* consumer_started, consumer_finished: a worker calls a consumer with a message,
  and it has ended, whether or not it failed. Arguments: `consumer`, `channel`,
  `message`, `message_id` and, when it has ended, `duration` in seconds.
* consumer_failed: it has raised an exception. Arguments: the same, and
  `exception`. It comes before consumer_finished.
"""

from django.dispatch import Signal

worker_started = Signal()
worker_stopped = Signal()

consumer_started = Signal()
consumer_finished = Signal()
consumer_failed = Signal()


def notify(signal, sender, **arguments):
    """Send `signal` with the class of `sender`, if anyone listens."""
    if signal.receivers:
        signal.send_robust(type(sender), **arguments)
