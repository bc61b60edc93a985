"""What the runserver command says and asks about channels."""

import argparse

from django.channels.interfaces import wsgi
from django.channels.layers import DEFAULT_CHANNEL_ALIAS, channels
from django.channels.registry import registry


def add_arguments(parser):
    """Add the options of channels to the parser of runserver."""
    parser.add_argument(
        "--no-channels",
        action="store_false",
        dest="use_channels",
        # Commands that call this one need not know of the option.
        default=argparse.SUPPRESS,
        help="Tells Django to NOT send requests through channels.",
    )


def configure(options):
    """Apply the options of add_arguments()."""
    wsgi.Switch.on = options.get("use_channels", True)


def describe():
    """Return the line about channels for the banner of runserver."""
    if not wsgi.Switch.on:
        return "Channels: off for requests (--no-channels)"
    backend = channels[DEFAULT_CHANNEL_ALIAS]
    count = registry.count(backend.alias)
    noun = "consumer" if count == 1 else "consumers"
    line = f"Channels: {backend.describe()} layer, {count} {noun}"
    if not backend.process_local:
        line += ". Requests wait for workers: manage.py runworker"
    return line
