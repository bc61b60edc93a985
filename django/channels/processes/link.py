"""
The link between a supervisor and a process that it has started.

It is the standard input of the process, in the form of a socket where one can
be inherited, else of a pipe. The supervisor holds the other end, so that the
process reads the end of the file when the supervisor is gone, however it has
ended. By a socket the process says that it is ready.
"""

import os
import socket
import subprocess
import threading
from contextlib import suppress

# The variable of the environment that tells a process of its link.
VARIABLE = "DJANGO_CHANNELS_SUPERVISED"

READY = b"r"


class SupervisorLink:
    """The end of a supervisor, for one process."""

    def __init__(self):
        self._near, self._far = None, None
        self._pipe = None
        if os.name == "posix":
            self._near, self._far = socket.socketpair()

    def start(self, command, environ, **options):
        """Return a Popen of `command` that has the other end."""
        try:
            process = subprocess.Popen(
                command,
                stdin=self._far or subprocess.PIPE,
                env={**environ, VARIABLE: "1"},
                **options,
            )
        except BaseException:
            self.close()
            raise
        finally:
            if self._far is not None:
                self._far.close()
        self._pipe = process.stdin
        return process

    def wait_until_ready(self):
        """Wait until the process says that it is ready. Return False if it does not."""
        if self._near is None:
            return False
        try:
            return self._near.recv(1) == READY
        except OSError:
            return False

    def close(self):
        """Give back the end, which tells a process that runs to end."""
        if self._near is not None:
            # A thread that waits at it does not notice when it is closed.
            with suppress(OSError):
                self._near.shutdown(socket.SHUT_RDWR)
            self._near.close()
        if self._pipe is not None:
            with suppress(OSError):
                self._pipe.close()


class ProcessLink:
    """The end of the process, in a file descriptor of its own."""

    def __init__(self, descriptor):
        self._descriptor = descriptor

    def say_ready(self):
        """Tell the supervisor that the process does its work now."""
        # A pipe can only be read from.
        with suppress(OSError):
            os.write(self._descriptor, READY)

    def call_at_end(self, function):
        """Let a thread call `function` when the supervisor is gone."""

        def wait():
            with suppress(OSError):
                while os.read(self._descriptor, 1):
                    pass
            function()

        threading.Thread(target=wait, name="supervisor-link", daemon=True).start()


def take_link():
    """
    Return the ProcessLink of this process, or None if it has no supervisor. Its
    standard input is empty from then on, and processes that it starts know of
    no supervisor.
    """
    if os.environ.pop(VARIABLE, None) is None:
        return None
    link = ProcessLink(os.dup(0))
    null = os.open(os.devnull, os.O_RDONLY)
    try:
        os.dup2(null, 0)
    finally:
        os.close(null)
    return link
