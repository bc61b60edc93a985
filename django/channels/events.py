"""
Model events: what happens to the rows of a model, as messages.

    publish_model_events(Signup)

has each save of a Signup send a message to myapp.models.signup.post_save, when
its transaction is committed (proposal, "More Events"):

    {"app_label": "myapp", "model_name": "signup", "pk": 7, "using": "default",
     "created": true}

Signals are connected to the models that are opted in and to those derived from
them, so that others cost nothing.
"""

import logging
from functools import partial

from django.apps import apps
from django.channels.channel import Channel
from django.channels.exceptions import ChannelError
from django.channels.layers import DEFAULT_CHANNEL_ALIAS
from django.channels.registry import registry
from django.channels.views import encode_value
from django.core.exceptions import ImproperlyConfigured
from django.db import DEFAULT_DB_ALIAS, transaction
from django.db.models.fields.related import resolve_relation
from django.db.models.signals import (
    class_prepared,
    m2m_changed,
    post_delete,
    post_save,
)

logger = logging.getLogger("django.channels.events")

SIGNALS = {
    "post_save": post_save,
    "post_delete": post_delete,
    "m2m_changed": m2m_changed,
}
DEFAULT_SIGNALS = ("post_save", "post_delete")

# Each opt-in, for models that are derived later.
_published = []


def publish_model_events(
    model=None,
    *,
    signals=DEFAULT_SIGNALS,
    custom=None,
    raw=False,
    backend=DEFAULT_CHANNEL_ALIAS,
):
    """
    Send a message for each of `signals` of `model`, and return the model. It may
    decorate the class, with or without arguments.

    The signals are names out of "post_save", "post_delete" and "m2m_changed";
    `custom` is a dict of other signals by name, which are sent with the class of
    the model as their sender and with `instance`. If `raw` is true, also rows of
    fixtures count. A signal that the model publishes already stays as it is. If
    the model is abstract, the models derived from it are opted in. Raise
    ImproperlyConfigured if it is swapped out, or a signal is not known.
    """
    options = {"signals": tuple(signals), "custom": custom}
    options |= {"raw": raw, "backend": backend}
    if model is None:
        return partial(publish_model_events, **options)
    check_model(model)
    kind = AbstractEvents if model._meta.abstract else ModelEvents
    events = kind(model, **options)
    events.include(model)
    for sender in derived_models(model):
        include(events, sender)
    _published.append(events)
    return model


def publish_app_events(app_label, **options):
    """
    Opt in all models of an app, with the options of publish_model_events(). The
    ready() method of its AppConfig is the place to call it.
    """
    for model in apps.get_app_config(app_label).get_models():
        publish_model_events(model, **options)


def check_model(model):
    if not hasattr(model, "_meta"):
        raise ImproperlyConfigured(
            f"publish_model_events() needs a class of a model, not {model!r}."
        )
    if model._meta.swapped:
        raise ImproperlyConfigured(
            f"{model._meta.label} is swapped out, so nothing happens to it. Publish "
            f"the events of {model._meta.swapped}."
        )


def derived_models(model):
    """Yield the classes that are derived from `model`, at any depth."""
    for sender in model.__subclasses__():
        yield sender
        yield from derived_models(sender)


def include(events, sender):
    # Migrations have classes of their own for the same tables.
    if sender._meta.apps is events.model._meta.apps:
        events.include(sender)


def include_new_model(sender, **kwargs):
    """Let a new class share in the events of the models that it is derived from."""
    for events in tuple(_published):
        if issubclass(sender, events.model):
            include(events, sender)


class_prepared.connect(include_new_model)


class AbstractEvents:
    """The events of the models derived from `model`, which is abstract."""

    def __init__(self, model, **options):
        find_signals(options["signals"], options["custom"])
        self.model = model
        self.options = options

    def include(self, sender):
        meta = sender._meta
        if not (meta.abstract or meta.proxy or meta.swapped):
            publish_model_events(sender, **self.options)


class ModelEvents:
    """
    The events of `model`: what happens to its rows, whether through it or through
    a proxy or child of it.
    """

    def __init__(self, model, *, signals, custom, raw, backend):
        self.model = model
        self.raw = raw
        self.signals = find_signals(signals, custom)
        prefix = f"{model._meta.app_label}.models.{model._meta.model_name}"
        self.channels = {
            name: Channel(f"{prefix}.{name}", backend) for name in self.signals
        }

    def include(self, sender):
        """Connect the signals of `sender`, the model or a class derived from it."""
        for name, signal in self.signals.items():
            if signal is m2m_changed:
                if sender is self.model:
                    self.connect_fields(name)
            elif signal is not post_delete or self.is_table_of(sender):
                self.connect(name, partial(self.publish, name), sender)

    def is_table_of(self, sender):
        """
        Return whether `sender` has no table but that of the model. If it has, the
        row of the model is deleted with a signal of its own, if at all.
        """
        return sender._meta.concrete_model is self.model._meta.concrete_model

    def connect_fields(self, name):
        """Connect the changes of the many-to-many fields of the model's own."""
        for field in self.model._meta.concrete_model._meta.local_many_to_many:
            through = resolve_relation(field.model, field.remote_field.through)
            self.connect(name, partial(self.publish_change, name, field), through)

    def connect(self, name, receiver, sender):
        self.signals[name].connect(
            receiver,
            sender=sender,
            weak=False,
            # One receiver, however often the model is opted in.
            dispatch_uid=(__name__, self.model, self.channels[name]),
        )

    def publish(self, name, instance, using=None, raw=False, created=None, **arguments):
        """Receive the signal `name`."""
        if self.raw or not raw:
            more = {"created": created} if self.signals[name] is post_save else {}
            self.send(name, self.model, instance, using, more)

    def publish_change(
        self, name, field, instance, action, reverse, pk_set, using, **arguments
    ):
        """Receive m2m_changed of `field`."""
        if action.startswith("pre_") or (pk_set is not None and not pk_set):
            return
        more = {
            "field": field.name,
            "action": action,
            "reverse": reverse,
            "pks": None if pk_set is None else [encode_pk(pk) for pk in pk_set],
        }
        model = field.related_model if reverse else self.model
        self.send(name, model, instance, using, more)

    def send(self, name, model, instance, using, more):
        """
        Send the event `name` of `instance`, seen as one of `model`, after the
        commit, unless no consumer would take it.
        """
        channel = self.channels[name]
        if registry.get(channel.name, channel.backend) is None:
            return
        using = using or instance._state.db or DEFAULT_DB_ALIAS
        message = {
            "app_label": model._meta.app_label,
            "model_name": model._meta.model_name,
            # A child may have a primary key of its own.
            "pk": encode_pk(getattr(instance, model._meta.pk.attname)),
            "using": using,
            **more,
        }
        transaction.on_commit(
            lambda: send_event(channel, message), using=using, robust=True
        )


def find_signals(names, custom):
    """Return the signals of these names and `custom` ones, as a dict by name."""
    for name in names:
        if name not in SIGNALS:
            raise ImproperlyConfigured(
                f"{name!r} is no signal that models publish. Use a list out of "
                f"{', '.join(map(repr, SIGNALS))}, or pass a signal of your own as "
                'custom={"name": signal}.'
            )
    return {name: SIGNALS[name] for name in names} | (custom or {})


def encode_pk(pk):
    """
    Return a primary key as JSON has it: a composite one as a list, and what JSON
    lacks, such as a UUID, as text.
    """
    if isinstance(pk, tuple):
        return [encode_pk(value) for value in pk]
    return encode_value(pk)


def send_event(channel, message):
    """Send an event. If that fails, the row stays as it has been committed."""
    try:
        channel.send(message)
    except ChannelError as exc:
        logger.error(
            "The event of the row %r on %r is lost: %s",
            *(message["pk"], channel.name, exc),
        )
