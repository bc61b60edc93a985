"""Sending what comes on one channel to several, as a channel has one consumer."""

import logging

from django.channels.channel import Channel
from django.channels.layers import DEFAULT_CHANNEL_ALIAS
from django.channels.registry import Consumer, registry
from django.core.exceptions import ImproperlyConfigured

logger = logging.getLogger("django.channels.worker")


class FanOut(Consumer):
    """Sends each message to all of `targets`, which are Channels."""

    def __init__(self, targets):
        super().__init__(self.send_on)
        self.targets = targets

    def __call__(self, channel, message):
        # It leaves databases alone, so it needs no transaction.
        self.send_on(channel, **message)

    def send_on(self, channel, **message):
        for target in self.targets:
            try:
                target.send(message)
            except Exception as exc:
                logger.error(
                    "A message on %r was not sent on to %r: %s",
                    *(channel, target.name, exc),
                )

    def __str__(self):
        return f"fan_out to {', '.join(target.name for target in self.targets)}"


def fan_out(channel, *targets, backend=DEFAULT_CHANNEL_ALIAS):
    """
    Register a consumer of `channel` that sends each message on to all `targets`
    (proposal, "Other Notes").

    These are names of channels on the backend with the alias `backend`, or
    Channels. If one does not take a message, this is logged and the others get it.
    Raise ImproperlyConfigured if `channel` has a consumer already.
    """
    targets = [
        target if isinstance(target, Channel) else Channel(target, backend)
        for target in targets
    ]
    if not targets or Channel(channel, backend) in targets:
        raise ImproperlyConfigured(
            f"fan_out() of {channel!r} needs the names of other channels to send to: "
            'fan_out("myapp.signup", "myapp.mail", "myapp.statistics").'
        )
    registry.register(FanOut(targets), [channel], backend)
