"""Figures of a process that calls the WSGI handler itself: see caller.py."""

import json
import subprocess
from contextlib import suppress

from fork.base import Problem


class Caller:
    """
    A process with the site's handler on one side of the comparison.

    It works only while it is asked something, so that the processes of both
    sides can stay and take turns.
    """

    module = "benchmarks.caller"

    def __init__(self, side, middleware=False, serialize=False, **environment):
        self.side = side
        self.environment = side.environment(middleware, serialize, **environment)

    def __enter__(self):
        self.process = subprocess.Popen(
            [self.side.python, "-m", self.module],
            env=self.environment,
            cwd=self.side.scratch,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
        )
        return self

    def __exit__(self, *exc_info):
        with suppress(BrokenPipeError):
            self.process.stdin.close()
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()

    def ask(self, question, *arguments):
        """Call a function of the module in the process and return what it returns."""
        self.tell(question, *arguments)
        return self.hear()

    def tell(self, question, *arguments):
        """Let the process begin with what ask() asks."""
        try:
            self.process.stdin.write(json.dumps([question, *arguments]) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # Then there is no answer either.

    def hear(self):
        """Return the answer to what has been told, once it is there."""
        if not (answer := self.process.stdout.readline()):
            raise Problem(f"The process with the {self.side.name} Django has failed.")
        return json.loads(answer)


class CallProbe(Caller):
    """Measures the time of a call of the handler, in microseconds."""

    def __init__(self, side, measure):
        super().__init__(side, measure.middleware)

    def sample(self, seconds):
        return self.ask("time_calls", seconds) * 1e6


class MemoryProbe:
    """Measures the resident memory of a new process, in megabytes."""

    def __init__(self, side, measure):
        self.side = side
        self.middleware = measure.middleware

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        pass

    def sample(self, seconds):
        with Caller(self.side, self.middleware) as caller:
            return caller.ask("memory_after_a_call") / 1e6


class TransferProbe(Caller):
    """Measures megabytes per second that cross as text in one process."""

    url = None

    def __init__(self, side, measure):
        super().__init__(side, measure.middleware, serialize=True)
        self.size = measure.size

    def sample(self, seconds):
        return self.ask("transfer", self.url, self.size) / 1e6


class TextUploadProbe(TransferProbe):
    url = "/read/"


class TextStreamProbe(TransferProbe):
    url = "/stream/"


class GrowthProbe(TransferProbe):
    """Measures by how many megabytes both transfers make a process grow."""

    def sample(self, seconds):
        growths = []
        for url in (TextUploadProbe.url, TextStreamProbe.url):
            with Caller(self.side, False, serialize=True) as caller:
                growths.append(caller.ask("growth", url, self.size))
        return max(growths) / 1e6


def profile(side, middleware, calls=5000):
    """Return the profile of so many calls of the handler as text."""
    with Caller(side, middleware) as caller:
        return caller.ask("profile_calls", calls)
