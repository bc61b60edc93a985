"""
The call of a consumer with a message: what signals and the log tell of it.

Receivers of signals do not write the log, as they would cost each message some
microseconds even if nothing is logged.
"""

import logging
import time

from django.channels.ids import message_id
from django.channels.signals import notify

logger = logging.getLogger("django.channels.worker")


class Call:
    """A call that begins now. Arguments: those of the signals."""

    def __init__(self, consumer, channel, message):
        self._consumer = consumer
        self._about = {
            "consumer": consumer,
            "channel": channel,
            "message": message,
            "message_id": message_id(message),
        }
        self._begun = time.perf_counter()

    def end(self):
        """Note that the consumer has returned, or has raised an exception."""
        self._about["duration"] = time.perf_counter() - self._begun

    def notify(self, signal, **more):
        """Send `signal`, one of consumers, with `more` arguments."""
        notify(signal, self._consumer, **self._about, **more)

    def log_success(self):
        if logger.isEnabledFor(logging.DEBUG):
            fields = self._fields()
            logger.debug(
                "The consumer %(consumer)s of %(channel)r took %(duration).4f s for "
                "the message %(message_id)s.",
                fields,
                extra=fields,
            )

    def log_failure(self, exc):
        fields = self._fields()
        logger.error(
            "The consumer %(consumer)s of %(channel)r raised %(exception)s. It had the "
            "message %(message_id)s for %(duration).4f s.",
            fields | {"exception": type(exc).__name__},
            exc_info=exc,
            extra=fields,
        )

    def _fields(self):
        """Return what the record of the log has, for formatters and filters."""
        fields = self._about.copy()
        # A record has its own text under this name.
        message = fields.pop("message")
        consumer = self._consumer.named_for(fields["channel"], message)
        return fields | {"consumer": str(consumer)}
