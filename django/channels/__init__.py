"""
Channels: named queues of messages between processes and threads.

A consumer is a function that is called with each message on its channel.
Requests are messages as well: django.wsgi.request is the channel on which
each of them comes.
"""

from django.channels.channel import Channel
from django.channels.events import publish_app_events, publish_model_events
from django.channels.exceptions import (
    BackendUnavailable,
    ChannelError,
    ChannelFull,
    InvalidChannelBackend,
    InvalidChannelName,
    InvalidDelay,
    InvalidMessage,
)
from django.channels.fanout import fan_out
from django.channels.groups import Group
from django.channels.layers import DEFAULT_CHANNEL_ALIAS, channels
from django.channels.registry import consumer

__all__ = [
    "DEFAULT_CHANNEL_ALIAS",
    "BackendUnavailable",
    "Channel",
    "ChannelError",
    "ChannelFull",
    "Group",
    "InvalidChannelBackend",
    "InvalidChannelName",
    "InvalidDelay",
    "InvalidMessage",
    "channels",
    "consumer",
    "fan_out",
    "publish_app_events",
    "publish_model_events",
]
