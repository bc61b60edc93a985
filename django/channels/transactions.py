"""
Transactions around consumers.

What ATOMIC_REQUESTS does for each request, it does for each call of a consumer,
which is much the same situation (proposal, the author's answer on
ATOMIC_REQUESTS).
"""

from django.core.exceptions import ImproperlyConfigured
from django.db import connections, transaction


def atomic_aliases(func):
    """
    Return the aliases of the databases that have ATOMIC_REQUESTS, without those
    that `func` opts out of by transaction.non_atomic_requests().
    """
    opted_out = getattr(func, "_non_atomic_requests", ())
    return [
        alias
        for alias, options in connections.settings.items()
        if options["ATOMIC_REQUESTS"] and alias not in opted_out
    ]


def make_atomic(call, func):
    """Return `call` with the transactions around it that `func` is to have."""
    for alias in atomic_aliases(func):
        call = transaction.atomic(using=alias)(call)
    return call


def check_coroutine_function(consumer):
    """
    Raise ImproperlyConfigured if the function of `consumer`, a coroutine function,
    would have a transaction around it: that is not allowed for views either.
    """
    if aliases := atomic_aliases(consumer.func):
        raise ImproperlyConfigured(
            f"The consumer {consumer} is a coroutine function, so it cannot run in "
            f"the transaction that ATOMIC_REQUESTS of {', '.join(map(repr, aliases))} "
            "asks for. Make it a plain function, or opt it out by a line "
            "@transaction.non_atomic_requests below @consumer."
        )
