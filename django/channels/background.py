"""
The worker threads of a process that has no workers beside it: those of a
process-local backend, and in tests those of any.

They are started by the first message that is sent to a channel with a
consumer, and end with the process: after the messages that were sent before,
or after the backend's STOP_TIMEOUT.
"""

import atexit
import logging
import os
import threading
import time

from django.channels.layers import channels
from django.channels.registry import registry
from django.channels.worker import Worker
from django.core.signals import setting_changed

logger = logging.getLogger("django.channels.worker")


class WorkerThreads:
    """The threads that run the consumers of one backend in this process."""

    def __init__(self, backend):
        self.backend = backend
        self.version = registry.version
        self.channels = frozenset(registry.channels(backend.alias, internal=True))
        self.workers = []
        self.threads = []
        self.stopping = False

    def serves(self, channel):
        """Return whether a message that this thread sent to `channel` will be run."""
        if self.stopping:
            # The threads run what they themselves send before they end.
            return threading.current_thread() in self.threads
        return (
            channel in self.channels
            and self.version == registry.version
            and self.is_alive()
        )

    def is_alive(self):
        """Return whether all threads run."""
        return all(thread.is_alive() for thread in self.threads)

    def start(self):
        for number in range(self.backend.options.get("THREADS", 1)):
            worker = Worker(self.backend)
            thread = threading.Thread(
                target=worker.run,
                name=f"django-channels-{self.backend.alias}-{number}",
                # A consumer that does not end must not keep the process alive.
                daemon=True,
            )
            thread.start()
            self.workers.append(worker)
            self.threads.append(thread)

    def refresh(self):
        """Listen on the channels that have consumers now."""
        self.version = registry.version
        alias = self.backend.alias
        self.channels = frozenset(registry.channels(alias, internal=True))
        for worker in self.workers:
            worker.wake()

    def stop(self):
        """Wait until all messages are done, for STOP_TIMEOUT seconds at most."""
        self.stopping = True
        deadline = time.monotonic() + self.backend.options.get("STOP_TIMEOUT", 10)
        for worker in self.workers:
            worker.stop()
        for thread in self.threads:
            if thread is not threading.current_thread():
                thread.join(max(deadline - time.monotonic(), 0))
        if any(thread.is_alive() for thread in self.threads):
            depths = self.backend.depths()
            logger.warning(
                "Consumers of the channel backend %r were still running after "
                "STOP_TIMEOUT and are given up, with %d messages unread.",
                self.backend.alias,
                sum(depths.get(channel, 0) for channel in self.channels),
            )


class Background:
    """The worker threads of this process, by backend."""

    # True where no worker runs, as in tests. Then this process runs the consumers
    # of all backends, also of those that processes share.
    alone = False

    def __init__(self):
        self.reset()

    def reset(self):
        """Forget all threads without stopping them: a fork has none of them."""
        self._lock = threading.Lock()
        self._running = {}
        self._without_consumer = set()

    def serves(self, backend):
        """Return whether this process runs the consumers of `backend`."""
        return self.alone or backend.process_local

    def message_sent(self, backend, channel):
        """
        See to it that a thread runs the consumer of a message that was sent to
        `channel` on `backend`, which this process serves.
        """
        if "!" in channel:
            return  # The answer for an interface, which waits for it.
        running = self._running.get(backend)
        if running is not None and running.serves(channel):
            return
        if registry.get(channel, backend.alias) is None:
            self._warn_without_consumer(channel)
            return
        with self._lock:
            running = self._running.get(backend)
            if running is None or running.stopping or not running.is_alive():
                running = WorkerThreads(backend)
                running.start()
                self._running[backend] = running
            elif not running.serves(channel):
                running.refresh()

    def stop(self):
        """Stop all threads, after the messages that have been sent."""
        for backend, threads in list(self._running.items()):
            threads.stop()
            with self._lock:
                if self._running.get(backend) is threads:
                    del self._running[backend]

    def close(self):
        """Stop all threads and close all backends, before their stores go."""
        self.stop()
        channels.close_all()

    def _warn_without_consumer(self, channel):
        if channel not in self._without_consumer and len(self._without_consumer) < 100:
            self._without_consumer.add(channel)
            logger.warning(
                "A message was sent to %r, which has no consumer. Unless something "
                "receives it, it is dropped when it expires. This is said once.",
                channel,
            )


background = Background()


def _channels_changed(*, setting, **kwargs):
    if setting == "CHANNELS":
        background.stop()


setting_changed.connect(_channels_changed)
# Early, as coroutine functions cannot run any more once concurrent.futures has
# ended, and again for what other threads send until they end.
if hasattr(threading, "_register_atexit"):
    threading._register_atexit(background.stop)
atexit.register(background.stop)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=background.reset)
