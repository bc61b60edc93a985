"""Models that publish their events, for the time of a test."""

from contextlib import ExitStack, contextmanager
from unittest import mock

from django.channels import events, publish_model_events
from django.db.models.signals import m2m_changed, post_delete, post_save

from .models import Article, Order, Paper, Place, Seat, Signup, order_paid

SIGNALS = [post_save, post_delete, m2m_changed, order_paid]


@contextmanager
def isolated_events():
    """Forget, when the context ends, what has been opted in in it."""
    with ExitStack() as stack:
        stack.enter_context(
            mock.patch.object(events, "_published", events._published.copy())
        )
        for signal in SIGNALS:
            stack.callback(signal.sender_receivers_cache.clear)
            stack.enter_context(
                mock.patch.object(signal, "receivers", signal.receivers.copy())
            )
        yield


@contextmanager
def published_models():
    """Opt in some models of this app, as lines in models.py would do it."""
    with isolated_events():
        publish_model_events(Signup)
        publish_model_events(Place)
        publish_model_events(Paper)
        publish_model_events(Seat)
        publish_model_events(Article, signals=["m2m_changed"])
        publish_model_events(
            Order, signals=["post_save"], custom={"paid": order_paid}, raw=True
        )
        yield
