"""The sending of a message: what the log tells of it."""

import logging

from django.channels.ids import SentMessage, new_id, with_id
from django.channels.messages import clean_message

logger = logging.getLogger("django.channels.channel")


def log_sending(channel, message):
    """
    Log that `message` goes to `channel`, and return it with the id that the log has.
    If nobody wants to know, return it as it is.

    Channels of inboxes are left out: what comes there has no consumer.
    """
    if not logger.isEnabledFor(logging.DEBUG) or "!" in channel:
        return message
    message = with_id(SentMessage, clean_message(message), new_id())
    logger.debug(
        "The message %s goes to %r.",
        message.id,
        channel,
        extra={"channel": channel, "message_id": message.id},
    )
    return message
