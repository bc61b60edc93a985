"""Commands as somebody types them one after the other in a terminal."""

import os
import signal
import subprocess
import tempfile
from pathlib import Path

from .base import Problem
from .venvs import environment

# Seconds for a process that was interrupted.
PATIENCE = 60

# What a command leaves behind, for the next one.
KEEP = "{}\nstatus=$?; {{ pwd; env -0; }} > {}; exit $status"


class Shell:
    """
    A terminal in ``folder``, a directory of its own. Each command begins in the
    directory and with the variables that the last has left.
    """

    def __init__(self, folder, **variables):
        self.folder = Path(folder)
        self.environment = environment(**variables)
        self.servers = []

    def run(self, command, answers=()):
        """
        Run a command to its end and return its output. Raise Problem if it fails.

        ``answers`` are (prompt, answer), in order, for a command that asks.
        """
        with tempfile.NamedTemporaryFile() as state:
            script = KEEP.format(command, state.name)
            status, output = self._converse(script, answers)
            if status:
                raise Problem(f"'{command}' failed:\n{output}")
            folder, _, variables = Path(state.name).read_text().partition("\n")
        self.folder = Path(folder)
        pairs = (line.partition("=") for line in variables.split("\0") if line)
        self.environment = {name: value for name, _, value in pairs}
        return output

    def _converse(self, script, answers):
        """Run a script on a terminal and return (status, output)."""
        import pty  # Windows has none.

        pid, terminal = pty.fork()
        if pid == 0:
            os.chdir(self.folder)
            os.execvpe("bash", ["bash", "-c", script], self.environment)
        output, waiting = "", list(answers)
        while part := read(terminal):
            output += part
            if waiting and output.endswith(waiting[0][0]):
                os.write(terminal, f"{waiting.pop(0)[1]}\n".encode())
        os.close(terminal)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), output

    def start(self, command):
        """Start a command that serves, until close(), and return its Server."""
        self.servers.append(Server(command, self.folder, self.environment))
        return self.servers[-1]

    def close(self):
        """End all servers, the last one first."""
        while self.servers:
            self.servers.pop().interrupt()


def read(terminal):
    """Return what comes from a terminal, or "" at its end."""
    try:
        return os.read(terminal, 65536).decode(errors="replace")
    except OSError:
        return ""  # Linux says so when the other side is closed.


class Server:
    """A command that runs beside others, in a process group of its own."""

    def __init__(self, command, folder, variables):
        self.command = command
        self._output = tempfile.NamedTemporaryFile()
        self.process = subprocess.Popen(
            ["bash", "-c", f"exec {command}"],
            cwd=folder,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    @property
    def printed(self):
        """All that it has printed. Raise Problem if it has ended by itself."""
        text = Path(self._output.name).read_text()
        if self.process.poll() is not None:
            raise Problem(f"'{self.command}' has ended:\n{text}")
        return text

    def interrupt(self):
        """Press Control-C and wait for the end."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGINT)
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
        self._output.close()
