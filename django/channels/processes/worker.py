"""A process that runs consumers in threads."""

import atexit
import logging
import queue
import threading
import time
from collections import Counter
from contextlib import suppress

from django.channels.outages import Outage
from django.channels.processes.announcing import Announcer
from django.channels.processes.handlers import exit_now, signal_handlers
from django.channels.registry import registry
from django.channels.worker import Allowance, Worker
from django.db import connections

logger = logging.getLogger("django.channels.worker")

# Seconds for the messages in hand where nobody would end a consumer that hangs.
END_TIMEOUT = 10


class WorkerProcess:
    """
    Runs the consumers of `backend` in `threads` threads.

    The thread that calls run() handles signals, announces the process and looks
    after the threads, so that no consumer can keep it from that. `serves` tells
    by the name of a channel whether to run its consumer. After `max_messages`
    messages the process ends. `link` is its ProcessLink, if it has a supervisor.
    """

    def __init__(
        self, backend, serves=None, *, threads=1, max_messages=None, link=None
    ):
        self.backend = backend
        self.serves = serves
        self.threads = threads
        self.link = link
        self.stopping = False
        self.workers = {}  # Worker -> its thread.
        self._outage = Outage(backend)
        self._allowance = Allowance(max_messages)
        self._past = Counter()  # The counts of workers that have ended.
        self._announcer = Announcer(backend, "worker", self.describe)
        # Functions for the thread of run().
        self._tasks = queue.SimpleQueue()
        self._used_up = False
        self._deadline = float("inf")

    def run(self):
        """Work until a signal tells to stop, or `max_messages` have been handled."""
        # A supervisor ends by itself what does not end in time.
        with signal_handlers(self.stop, once=self.link is not None):
            self.work()

    def work(self):
        """Do what run() does, in any thread and without handling signals."""
        self._fill()
        if self.link is not None:
            self.link.call_at_end(self._supervisor_is_gone)
            self.link.say_ready()
        try:
            while self.workers or not (self.stopping or self._used_up):
                self._announcer.announce_if_due(is_away=self._outage.is_on)
                self._do_one_task()
        finally:
            self._announcer.end(is_away=self._outage.is_on)
            with suppress(Exception):
                self.backend.release()
            connections.close_all()

    def work_until_exit(self):
        """
        Do what work() does in a thread of a process that ends by itself, as it is
        with the reloader. The messages in hand are done then.
        """
        ended = threading.Event()

        def finish():
            self.stop()
            ended.wait(END_TIMEOUT)

        atexit.register(finish)
        try:
            self.work()
        finally:
            ended.set()

    def stop(self):
        """
        Let run() return when the messages in hand are done. It does not wait, not
        even for a lock, so a signal handler may call it.
        """
        for worker in list(self.workers):
            worker.stopping = True
        self._tasks.put(self._stop)

    def describe(self):
        """Return what is announced of the process."""
        workers = list(self.workers)
        counts = sum((worker.counts.copy() for worker in workers), self._past)
        running = [current for worker in workers if (current := worker.current)]
        longest = min((since for _, since in running), default=None)
        return {
            "threads": self.threads,
            "busy": len(running),
            # Seconds for which one of the consumers has been running.
            "longest": round(time.monotonic() - longest, 3) if running else 0,
            "channels": list(
                filter(self.serves, registry.channels(self.backend.alias))
            ),
            "handled": counts["handled"] + counts["failed"],
            "failed": counts["failed"],
            "drops": self.backend.drops.copy()
            + Counter({"no consumer": counts["no consumer"]}),
        }

    def _do_one_task(self):
        left = min(self._announcer.seconds_left(), self._deadline - time.monotonic())
        if left < 0:
            logger.error("A consumer was given up, as the supervisor has ended.")
            exit_now(1)
        try:
            task = self._tasks.get(timeout=left)
        except queue.Empty:
            self._fill()
        else:
            task()

    def _fill(self):
        """Start threads for those that are missing."""
        while len(self.workers) < self.threads and not (self.stopping or self._used_up):
            worker = Worker(
                self.backend,
                self.serves,
                drain=False,
                allowance=self._allowance,
                outage=self._outage,
            )
            # A consumer that does not end must not keep the process alive.
            thread = threading.Thread(
                target=self._run, args=[worker], name="worker", daemon=True
            )
            self.workers[worker] = thread
            thread.start()

    def _run(self, worker):
        used_up = False
        try:
            worker.run()
            used_up = not worker.stopping
        except BaseException:
            logger.critical("A worker thread has failed.", exc_info=True)
        finally:
            self._tasks.put(lambda: self._note_end(worker, used_up))

    def _note_end(self, worker, used_up):
        self.workers.pop(worker).join()
        self._past += worker.counts
        self._used_up = self._used_up or used_up

    def _stop(self):
        if not self.stopping:
            # A supervisor says it for all.
            level = logging.INFO if self.link is None else logging.DEBUG
            busy = sum(worker.current is not None for worker in self.workers)
            logger.log(level, "Stopping, with %d messages in hand.", busy)
        self.stopping = True
        for worker in list(self.workers):
            worker.stopping = True
            if not worker.wake():
                # Each try could take long. The others look by themselves.
                break

    def _supervisor_is_gone(self):
        self._deadline = time.monotonic() + END_TIMEOUT
        self.stop()
