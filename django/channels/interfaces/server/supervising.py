"""Several interface processes at one address."""

import threading

from django.channels.interfaces.server.listeners import sharing
from django.channels.interfaces.server.status import AnnouncedProcesses, StatusServer
from django.channels.processes.handlers import signal_handlers
from django.channels.processes.supervisor import Supervisor


class InterfaceSupervisor:
    """
    Runs `count` interface processes by `command`, which inherit `listener`, and
    `workers` worker processes by `worker_command`. `on_ready` is called when all
    interface processes listen, in the thread of run(). `status` is a Listener to tell
    at what the processes have announced at `backend`.
    """

    def __init__(
        self,
        listener,
        command,
        count,
        on_ready,
        *,
        backend,
        workers=0,
        worker_command=(),
        status=None,
    ):
        self._listener = listener
        self._interfaces = Supervisor(
            command,
            count,
            name="interface process",
            on_ready=on_ready,
            **sharing(listener),
        )
        self._workers = Supervisor(worker_command, workers) if workers else None
        self._status = status and StatusServer(
            status, AnnouncedProcesses(backend, self._interfaces)
        )

    def run(self):
        """
        Run them in the main thread until SIGTERM or SIGINT. A second one ends them at
        once. SIGHUP replaces the workers, so that connections stay open.
        """
        restart = self._workers.restart if self._workers is not None else None
        with signal_handlers(self._stop, restart, self._kill):
            thread = self._start_workers()
            if self._status is not None:
                self._status.start()
            try:
                self._interfaces.run()
            finally:
                if self._status is not None:
                    self._status.stop()
                # Only now, as requests in hand need them.
                if thread is not None:
                    self._workers.stop()
                    thread.join()

    def _stop(self):
        self._interfaces.stop()
        # Who connects from now on must not wait at a socket that nobody serves.
        self._listener.close()

    def _start_workers(self):
        if self._workers is None:
            return None
        thread = threading.Thread(target=self._workers.run, name="supervisor")
        thread.start()
        return thread

    def _kill(self):
        self._interfaces.kill()
        if self._workers is not None:
            self._workers.kill()
