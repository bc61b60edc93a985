"""
Tests of the promises that each channel backend makes.

A backend, also one that does not ship with Django, runs them by mixing
ChannelBackendTests into a test case:

    class MyBackendTests(ChannelBackendTests, SimpleTestCase):
        def create_backend(self, **params):
            backend = MyBackend("default", params)
            self.addCleanup(backend.close)
            backend.flush()
            return backend

The promises are listed in django.channels.backends.base.BaseChannelBackend.
"""

from django.channels.backends.contract.delays import DelayTests
from django.channels.backends.contract.groups import GroupTests
from django.channels.backends.contract.messages import MessageTests
from django.channels.backends.contract.order import OrderTests
from django.channels.backends.contract.store import StoreTests
from django.channels.backends.contract.tools import PATIENCE, receive_all, run_threads

__all__ = [
    "PATIENCE",
    "ChannelBackendTests",
    "DelayTests",
    "GroupTests",
    "MessageTests",
    "OrderTests",
    "StoreTests",
    "receive_all",
    "run_threads",
]


class ChannelBackendTests(OrderTests, StoreTests, DelayTests, MessageTests, GroupTests):
    """All promises. A test case needs create_backend() beside it."""

    def create_backend(self, **params):
        """
        Return an empty backend with `params` as in the CHANNELS setting, which
        the test case closes when the test ends.
        """
        raise NotImplementedError(
            "Subclasses of ChannelBackendTests must implement create_backend()."
        )
