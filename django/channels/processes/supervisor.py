"""Keeping processes running."""

import logging
import os
import queue
import signal
import subprocess
import threading
import time

from django.channels.backoff import Backoff
from django.channels.processes.handlers import signal_handlers
from django.channels.processes.link import SupervisorLink

logger = logging.getLogger("django.channels.supervisor")

# Seconds that a process has to live to be no failure from the start.
YOUTH = 10

# Seconds to wait for something to happen. A wait without an end cannot be ended by
# a signal on Windows.
WAIT = None if os.name == "posix" else 1


class Child:
    """
    A process that a supervisor has started, the current one of its `slot` or one
    to come. `on_ready` and `on_end` are called with it, in other threads. Other
    arguments are those of subprocess.Popen. Raise OSError if it cannot be started.
    """

    def __init__(self, slot, command, on_ready, on_end, **options):
        self.slot = slot
        self.ready = False
        self.stopped = False  # Whether it has been told to end.
        self._began = time.monotonic()
        self._link = SupervisorLink()
        # What a terminal sends to all of its processes is for the supervisor.
        group = (
            {"start_new_session": True}
            if os.name == "posix"
            else {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
        )
        self._process = self._link.start(command, **options, **group)
        self.pid = self._process.pid

        def wait_until_ready():
            if self._link.wait_until_ready():
                on_ready(self)

        def wait_for_end():
            self._process.wait()
            # What a process said before its end is heard before it. One of its own
            # may have inherited the link.
            waiting.join(1)
            on_end(self)

        waiting = threading.Thread(target=wait_until_ready, daemon=True)
        waiting.start()
        threading.Thread(target=wait_for_end, daemon=True).start()

    def stop(self):
        """Tell the process to end when it has done what it has in hand."""
        if self.stopped:
            return  # A second signal would end it at once.
        self.stopped = True
        if os.name == "posix":
            self._process.send_signal(signal.SIGTERM)
        else:
            self._link.close()

    def kill(self):
        """End the process at once."""
        self._process.kill()

    def close(self):
        """Give back what is left of a process that has ended."""
        self._link.close()

    @property
    def ended_well(self):
        """Return whether a process has ended by itself, or because it was told to."""
        code = self._process.returncode
        return code == 0 or (self.stopped and code == -signal.SIGTERM)

    @property
    def failed_early(self):
        """Return whether a process that has ended was not worth starting."""
        if os.name == "posix" and not self.ready:
            return True
        return not self.ended_well and time.monotonic() - self._began < YOUTH

    def describe_end(self):
        """Return how the process has ended."""
        code = self._process.returncode
        if code >= 0:
            return f"with the exit code {code}"
        try:
            return f"by {signal.Signals(-code).name}"
        except ValueError:
            return f"by the signal {-code}"


class Supervisor:
    """
    Runs `count` processes of `command`, a list of arguments, and replaces each
    that ends. The command has to call take_link() of
    django.channels.processes.link. `name` is what the log calls a process.
    `on_ready` is called in the thread of run() when all are ready for the first time,
    and `pass_fds` are descriptors that the processes inherit.

    Any thread may run it; then stop(), restart() and kill() tell it what to do.
    """

    def __init__(
        self,
        command,
        count,
        name="worker process",
        environ=None,
        on_ready=None,
        pass_fds=(),
    ):
        self.command = command
        self.count = count
        self.name = name
        self.environ = os.environ if environ is None else environ
        self.on_ready = on_ready
        self.pass_fds = pass_fds
        self.directory = working_directory()
        self.stopping = False
        # All that run: the current one of each slot, the next one of a slot that
        # is restarted, and those that finish what they have in hand.
        self.children = set()
        self._current = {}  # Slot -> Child.
        self._next = None
        self._to_restart = []  # Slots.
        self._starts = {}  # Slot -> when to start its process.
        self._backoffs = [Backoff(first=1, most=30) for _ in range(count)]
        # Functions for the thread of run().
        self._tasks = queue.SimpleQueue()

    def run_with_signals(self):
        """
        Do what run() does in the main thread: SIGTERM and SIGINT are stop(), a
        second one is kill(), SIGHUP is restart().
        """
        with signal_handlers(self.stop, self.restart, self.kill):
            self.run()

    def run(self):
        """Keep the processes running until stop() has ended them all."""
        self._starts = dict.fromkeys(range(self.count), 0)
        try:
            while self.children or not self.stopping:
                self._start_due()
                try:
                    task = self._tasks.get(timeout=self._seconds_left())
                except queue.Empty:
                    continue
                task()
        finally:
            # None unless this has failed.
            self.kill()

    def stop(self):
        """Let all processes finish what they have in hand, and run() return."""
        self._tasks.put(self._stop)

    def restart(self):
        """
        Replace the processes one after another, each when the next one is ready.
        If that fails to start, those that run go on.
        """
        self._tasks.put(self._restart)

    def kill(self):
        """End all processes at once. A signal handler may call it."""
        self.stopping = True
        for child in list(self.children):
            child.kill()
        self._tasks.put(self._stop)

    def _seconds_left(self):
        """Return the seconds until _start_due() has something to do."""
        if not self._starts:
            return WAIT
        return max(min(self._starts.values()) - time.monotonic(), 0)

    def _start_due(self):
        now = time.monotonic()
        if self.stopping:
            self._starts.clear()
        for slot in [slot for slot, due in self._starts.items() if due <= now]:
            del self._starts[slot]
            if (child := self._start(slot)) is None:
                self._start_later(slot)
            else:
                self._current[slot] = child

    def _start(self, slot):
        """Return a new Child, or None after logging that it cannot be started."""
        try:
            child = Child(
                slot,
                self.command,
                on_ready=lambda child: self._tasks.put(lambda: self._note_ready(child)),
                on_end=lambda child: self._tasks.put(lambda: self._note_end(child)),
                environ=self.environ,
                cwd=self.directory,
                pass_fds=self.pass_fds,
            )
        except OSError as exc:
            logger.error("A %s could not be started: %s", self.name, exc)
            return None
        self.children.add(child)
        logger.debug("Started %s %d (pid %d).", self.name, slot + 1, child.pid)
        return child

    def _start_later(self, slot):
        self._starts[slot] = time.monotonic() + self._backoffs[slot].delay()

    def _note_ready(self, child):
        child.ready = True
        self._tell_ready()
        if child is not self._next or self.stopping:
            return
        self._next = None
        self._starts.pop(child.slot, None)
        before = self._current.get(child.slot)
        self._current[child.slot] = child
        if before is not None:
            before.stop()
        self._restart_next()

    def _tell_ready(self):
        ready = sum(child.ready for child in self._current.values())
        if self.on_ready is not None and ready == self.count:
            on_ready, self.on_ready = self.on_ready, None
            on_ready()

    def _note_end(self, child):
        self.children.discard(child)
        child.close()
        if child.stopped or self.stopping:
            level = logging.DEBUG if child.ended_well else logging.WARNING
            self._tell_end(level, child, ".")
        elif child is self._next:
            self._next = None
            self._to_restart.clear()
            consequence = " before it was ready. Those that run go on."
            self._tell_end(logging.ERROR, child, consequence)
        elif child.failed_early:
            consequence = " soon after its start. Another try follows."
            self._tell_end(logging.ERROR, child, consequence)
            self._start_later(child.slot)
        else:
            level = logging.INFO if child.ended_well else logging.ERROR
            self._tell_end(level, child, ", and is replaced.")
            self._backoffs[child.slot].reset()
            self._starts[child.slot] = 0
        if self._current.get(child.slot) is child:
            del self._current[child.slot]

    def _tell_end(self, level, child, consequence):
        logger.log(
            level,
            "%s %d (pid %d) has ended %s%s",
            self.name.capitalize(),
            child.slot + 1,
            child.pid,
            child.describe_end(),
            consequence,
        )

    def _restart(self):
        if self.stopping:
            return
        logger.info("Restarting each %s.", self.name)
        self._to_restart = list(range(self.count))
        if self._next is not None:
            self._next.stop()
            self._next = None
        self._restart_next()

    def _restart_next(self):
        if not self._to_restart:
            logger.info("Each %s has been restarted.", self.name)
        elif (child := self._start(self._to_restart.pop(0))) is None:
            self._to_restart.clear()
        else:
            self._next = child

    def _stop(self):
        if not self.stopping:
            logger.info("Stopping each %s.", self.name)
        self.stopping = True
        self._starts.clear()
        self._to_restart.clear()
        for child in list(self.children):
            child.stop()


def working_directory():
    """
    Return the directory to start processes in, by the name under which this one
    was started: it may be a link that leads to new code by now.
    """
    path = os.environ.get("PWD")
    try:
        if path and os.path.samefile(path, os.getcwd()):
            return path
    except OSError:
        pass
    return None
