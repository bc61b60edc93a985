"""
Which function consumes which channel.

Consumers are found in the module consumers.py of each installed app, which
is imported when the first consumer is looked for: as a WSGI server or a
worker starts.
"""

import sys
import threading
from contextlib import contextmanager
from importlib import import_module

from asgiref.sync import async_to_sync, iscoroutinefunction

from django.apps import apps
from django.channels.exceptions import DuplicateConsumer
from django.channels.layers import DEFAULT_CHANNEL_ALIAS
from django.channels.messages import check_channel_name
from django.channels.transactions import check_coroutine_function, make_atomic
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import autodiscover_modules

# The modules with the consumers that ship with Django.
BUILT_IN_CONSUMERS = ("django.core.handlers.channel", "django.channels.health")


class Consumer:
    """
    A function that is called with each message of a channel.

    Raise ImproperlyConfigured for a coroutine function that ATOMIC_REQUESTS would
    put into a transaction.
    """

    # True if what the consumer raises is meant for the WSGI server, because it
    # makes responses of all other exceptions.
    converts_exceptions = False

    # True if it belongs to the machinery: each worker runs it, and people are not
    # told of it. It has no transaction around it.
    internal = False

    # The file and the line that have registered it.
    place = None

    def __init__(self, func, ordered=True):
        self.func = func
        # Whether a socket's next message waits until this consumer is done.
        self.ordered = ordered
        self._call = func
        if iscoroutinefunction(func):
            check_coroutine_function(self)
            self._call = async_to_sync(func)

    def __call__(self, channel, message):
        """
        Run the consumer, in a transaction of each database with ATOMIC_REQUESTS.
        Whatever it raises comes through, after the rollback.
        """
        call = self._call
        if not self.internal:
            call = make_atomic(call, self.func)
        call(**message, channel=channel)

    def prepare(self):
        """Do what takes time, or may fail, before the first message."""

    def named_for(self, channel, message):
        """Return the consumer that the log names for a message, if not this one."""
        return self

    def __str__(self):
        name = getattr(self.func, "__qualname__", repr(self.func))
        return f"{getattr(self.func, '__module__', '?')}.{name}"


class Registry:
    """
    The consumers by backend alias and channel.

    A site's consumer takes the place of one that ships with Django for the
    same channel. Two of a site for one channel are an error: which of them
    got a message would be left to chance.
    """

    def __init__(self):
        self._registry = {}
        self._built_in = {}
        self._lock = threading.RLock()
        self._discovering = False
        self.discovered = False
        # Rises with each change, for workers to know of it.
        self.version = 0

    def register(self, consumer, channels, backend=DEFAULT_CHANNEL_ALIAS):
        """
        Register a Consumer for `channels`, an iterable of names.

        Raise ImproperlyConfigured if one of them has a consumer.
        """
        consumer.place = calling_place()
        for channel in channels:
            check_channel_name(channel)
            if "!" in channel:
                raise ImproperlyConfigured(
                    f"{channel!r} belongs to the inbox of a process and cannot have "
                    f"a consumer. {consumer} needs a channel without '!'."
                )
            other = self._registry.get((backend, channel))
            if other is not None:
                raise DuplicateConsumer(channel, other, consumer)
        for channel in channels:
            self._registry[backend, channel] = consumer
        self.version += 1

    def register_built_in(self, consumer, channel, backend=DEFAULT_CHANNEL_ALIAS):
        """
        Register what consumes `channel` by default: on all backends if `backend`
        is None.
        """
        self._built_in[backend, channel] = consumer

    def get(self, channel, backend=DEFAULT_CHANNEL_ALIAS):
        """Return the Consumer of `channel`, or None."""
        if not self.discovered:
            self.autodiscover()
        key = (backend, channel)
        return (
            self._registry.get(key)
            or self._built_in.get(key)
            or self._built_in.get((None, channel))
        )

    def registered(self):
        """Return the consumers of the site by (backend, channel)."""
        self.autodiscover()
        return dict(self._registry)

    def built_in(self, channel):
        """Return what consumes `channel` if the site registers no consumer for it."""
        self.autodiscover()
        return self._built_in[DEFAULT_CHANNEL_ALIAS, channel]

    def channels(self, backend=DEFAULT_CHANNEL_ALIAS, internal=False):
        """
        Return the names of all channels of `backend` that have a consumer: also
        those of internal ones if `internal` is true.
        """
        self.autodiscover()
        aliases = (backend, None)
        keys = {*self._registry, *self._built_in}
        names = sorted({channel for alias, channel in keys if alias in aliases})
        if internal:
            return names
        return [name for name in names if not self.get(name, backend).internal]

    def count(self, backend=DEFAULT_CHANNEL_ALIAS):
        """Return the number of consumers of `backend`, without internal ones."""
        return len({self.get(name, backend) for name in self.channels(backend)})

    def autodiscover(self):
        """Import the consumers of all installed apps, once they are ready."""
        if self.discovered:
            return
        with self._lock:
            if self._discovering or self.discovered:
                return
            self._discovering = True
            try:
                for module in BUILT_IN_CONSUMERS:
                    import_module(module)
                if apps.ready:
                    autodiscover_modules("consumers", register_to=self)
                    self.discovered = True
            finally:
                self._discovering = False

    @contextmanager
    def isolate(self):
        """
        Forget, when the context ends, what has been registered in it. Within it
        the consumers of installed apps stay.
        """
        self.autodiscover()
        saved = self._registry.copy()
        try:
            yield self
        finally:
            self._registry = saved
            self.version += 1


def calling_place():
    """Return the file and the line outside of django.channels that led here."""
    frame = sys._getframe(1)
    while frame.f_back is not None:
        if not frame.f_globals.get("__name__", "").startswith("django.channels."):
            break
        frame = frame.f_back
    return frame.f_code.co_filename, frame.f_lineno


registry = Registry()


def consumer(*channels, backend=DEFAULT_CHANNEL_ALIAS, ordered=True):
    """
    Register the decorated function as the consumer of one or more channels
    (proposal, "Serving Requests").

    It is called for each message, with the keys of the message as keyword
    arguments and with `channel`, the name of the channel. `backend` is the
    alias in the CHANNELS setting. Messages of one WebSocket come one after the
    other, each when the consumer is done with the last; with `ordered` False they
    may overtake each other. Raise ImproperlyConfigured if a channel has a consumer
    already.
    """
    if not channels or not all(isinstance(channel, str) for channel in channels):
        raise ImproperlyConfigured(
            '@consumer needs the names of its channels: @consumer("myapp.new_view").'
        )

    def register(func):
        registry.register(Consumer(func, ordered), channels, backend)
        return func

    return register
