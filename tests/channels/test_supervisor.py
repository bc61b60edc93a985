import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from pathlib import Path
from unittest import mock, skipUnless

import django
from django.channels.backends.contract import PATIENCE
from django.channels.processes import link
from django.channels.processes.supervisor import Supervisor, working_directory
from django.test import SimpleTestCase

from .utils import end, run_script, wait_until
from .worker_site import PickledAsNew

LOGGER = "django.channels.supervisor"

# A process that notes in files what it has lived through, and ends as it is told.
CHILD = """
import os, runpy, signal, sys, time
from pathlib import Path

# Without all of Django, which takes longer to import.
take_link = runpy.run_path(sys.argv[1])["take_link"]

def note(what):
    with open("events.txt", "a") as file:
        file.write(f"{what} {os.getpid()}\\n")

def stop(number, frame):
    note("told")
    if not Path("busy").exists():
        sys.exit(0)

signal.signal(signal.SIGTERM, stop)
link = take_link()
note("started")
if Path("broken").exists():
    sys.exit(3)
link.call_at_end(lambda: (note("alone"), os._exit(0)))
note("ready")
link.say_ready()
while True:
    if Path(f"end-{os.getpid()}").exists():
        note("ended")
        sys.exit(int(Path(f"end-{os.getpid()}").read_text()))
    time.sleep(0.01)
"""

# A supervisor that is a process by itself. Its argument is the number of children.
SUPERVISOR = """
import logging, sys
from django.channels.processes import link
from django.channels.processes.supervisor import Supervisor

logging.basicConfig(level="DEBUG")
command = [sys.executable, "child.py", link.__file__]
Supervisor(command, int(sys.argv[1])).run_with_signals()
"""


def is_running(pid):
    """Return whether there is a process, which may be a zombie."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def has_ended(pid):
    """Return whether there is no process, or a zombie that is not the test's own."""
    if not is_running(pid):
        return True
    try:
        return (
            Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
        )
    except OSError:
        return not is_running(pid)


@skipUnless(os.name == "posix", "Needs POSIX signals.")
class SupervisorTestCase(PickledAsNew, SimpleTestCase):
    def setUp(self):
        self.directory = Path(self.enterContext(tempfile.TemporaryDirectory()))
        (self.directory / "child.py").write_text(textwrap.dedent(CHILD))
        root = str(Path(django.__file__).parent.parent)
        self.environ = {**os.environ, "PYTHONPATH": root}
        # Whatever a test leaves.
        self.addCleanup(self.end_all)

    def end_all(self):
        for pid in self.pids("started"):
            if not has_ended(pid):
                os.kill(pid, signal.SIGKILL)

    def pids(self, what):
        """Return the processes that have noted `what`, in this order."""
        try:
            lines = (self.directory / "events.txt").read_text().splitlines()
        except FileNotFoundError:
            return []
        events = [line.split() for line in lines if " " in line]
        return [int(pid) for name, pid in events if name == what]

    def note(self, name, text=""):
        # In one step, for those who read it.
        (self.directory / f"{name}.part").write_text(text)
        (self.directory / f"{name}.part").rename(self.directory / name)


class SupervisorTests(SupervisorTestCase):
    """A supervisor in a thread of the test."""

    def start(self, count=2, command=None):
        command = command or [sys.executable, "child.py", link.__file__]
        self.supervisor = Supervisor(command, count, environ=self.environ)
        self.supervisor.directory = self.directory
        self.thread = threading.Thread(target=self.supervisor.run, daemon=True)
        self.thread.start()
        self.addCleanup(self.thread.join, PATIENCE)
        self.addCleanup(self.supervisor.kill)
        self.addCleanup(self.supervisor.stop)

    def start_ready(self, count=2):
        self.start(count)
        wait_until(lambda: len(self.pids("ready")) == count)
        wait_until(lambda: all(child.ready for child in self.supervisor.children))
        return self.pids("ready")

    def stop(self):
        self.supervisor.stop()
        self.thread.join(PATIENCE)
        self.assertFalse(self.thread.is_alive())

    def test_runs_as_many_processes_as_it_is_told_and_stops_them_all(self):
        pids = self.start_ready(3)
        self.assertEqual(len(set(pids)), 3)
        self.stop()
        self.assertCountEqual(self.pids("told"), pids)
        # None is a zombie either.
        self.assertEqual([pid for pid in pids if is_running(pid)], [])

    def test_replaces_a_process_that_is_killed_and_tells_by_which_signal(self):
        first, second = self.start_ready()
        with self.assertLogs(LOGGER, "ERROR") as logs:
            os.kill(first, signal.SIGKILL)
            wait_until(lambda: len(self.pids("ready")) == 3)
        self.assertIn(f"(pid {first}) has ended by SIGKILL", logs.output[0])
        self.assertFalse(is_running(first))
        self.assertTrue(is_running(second))
        self.assertEqual(len(self.supervisor.children), 2)

    def test_replaces_a_process_that_fails_and_tells_its_exit_code(self):
        (pid,) = self.start_ready(1)
        with self.assertLogs(LOGGER, "ERROR") as logs:
            self.note(f"end-{pid}", "7")
            wait_until(lambda: len(self.pids("ready")) == 2)
        self.assertIn(f"(pid {pid}) has ended with the exit code 7", logs.output[0])

    def test_replaces_a_process_that_ends_well_at_once(self):
        (pid,) = self.start_ready(1)
        with self.assertNoLogs(LOGGER, "WARNING"):
            self.note(f"end-{pid}", "0")
            wait_until(lambda: len(self.pids("ready")) == 2)
        # Nothing was put off.
        self.assertEqual(self.supervisor._backoffs[0]._next, 1)

    def test_starts_a_process_that_fails_early_again_after_a_growing_while(self):
        self.note("broken")
        begun = time.monotonic()
        with self.assertLogs(LOGGER, "ERROR") as logs:
            self.start(1)
            wait_until(lambda: len(self.pids("started")) == 3)
            # At least half of 1 and of 2 seconds.
            self.assertGreater(time.monotonic() - begun, 1.5)
            # The third may fail as well, or just not any more.
            (self.directory / "broken").unlink()
            wait_until(lambda: self.pids("ready"))
        self.assertIn("with the exit code 3 soon after its start", logs.output[0])

    def test_tries_again_when_a_command_cannot_be_started(self):
        with self.assertLogs(LOGGER, "ERROR") as logs:
            self.start(1, command=[str(self.directory / "missing")])
            wait_until(lambda: len(logs.output) == 2)
            self.stop()
        self.assertIn("A worker process could not be started: ", logs.output[0])
        self.assertIn("missing", logs.output[0])

    def test_tells_a_process_only_once_to_stop(self):
        self.note("busy")
        (pid,) = self.start_ready(1)
        for _ in range(3):
            self.supervisor.stop()
        wait_until(lambda: self.pids("told"))
        self.supervisor.stop()
        tasks = threading.Event()
        self.supervisor._tasks.put(tasks.set)
        self.assertTrue(tasks.wait(PATIENCE))
        self.note(f"end-{pid}", "0")
        self.stop()
        self.assertEqual(self.pids("told"), [pid])

    def test_kill_does_not_wait_for_what_is_in_hand(self):
        self.note("busy")
        pids = self.start_ready(2)
        self.supervisor.stop()
        wait_until(lambda: len(self.pids("told")) == 2)
        self.assertTrue(self.thread.is_alive())
        with self.assertLogs(LOGGER, "WARNING"):
            self.supervisor.kill()
            self.thread.join(PATIENCE)
        self.assertFalse(self.thread.is_alive())
        self.assertEqual([pid for pid in pids if is_running(pid)], [])

    def test_kill_keeps_what_was_put_off_from_starting(self):
        self.note("broken")
        with self.assertLogs(LOGGER, "ERROR") as logs:
            self.start(1)
            wait_until(lambda: logs.output)
        self.supervisor.kill()
        self.thread.join(PATIENCE)
        self.assertFalse(self.thread.is_alive())
        self.assertEqual(len(self.pids("started")), 1)

    def test_restart_replaces_all_and_each_only_when_the_next_is_ready(self):
        before = self.start_ready(2)
        self.supervisor.restart()
        wait_until(lambda: len(self.pids("told")) == 2)
        self.assertCountEqual(self.pids("told"), before)
        after = self.pids("ready")[2:]
        self.assertEqual(len(after), 2)
        lines = (self.directory / "events.txt").read_text().splitlines()
        told = 0
        for name in [line.split()[0] for line in lines][4:]:
            told += {"ready": -1, "told": 1, "started": 0}[name]
            self.assertLessEqual(told, 0, lines)
        wait_until(lambda: not any(map(is_running, before)))
        self.assertTrue(all(map(is_running, after)))
        # It hears of an end after the process is gone.
        wait_until(
            lambda: {child.pid for child in self.supervisor.children} == set(after)
        )

    def test_restart_leaves_all_running_if_the_new_one_does_not_start(self):
        pids = self.start_ready(2)
        self.note("broken")
        with self.assertLogs(LOGGER, "ERROR") as logs:
            self.supervisor.restart()
            wait_until(lambda: logs.output)
        self.assertIn(
            "with the exit code 3 before it was ready. Those that run go on.",
            logs.output[0],
        )
        self.assertEqual(self.pids("told"), [])
        self.assertTrue(all(map(is_running, pids)))
        (self.directory / "broken").unlink()
        self.supervisor.restart()
        wait_until(lambda: len(self.pids("told")) == 2)

    def test_restart_does_not_wait_for_what_is_in_hand(self):
        self.note("busy")
        before = self.start_ready(2)
        self.supervisor.restart()
        wait_until(lambda: len(self.pids("told")) == 2)
        self.assertTrue(all(map(is_running, before)))
        self.assertEqual(len(self.pids("ready")), 4)
        for pid in self.pids("ready"):
            self.note(f"end-{pid}", "0")
        self.stop()

    @skipUnless(os.path.isdir("/proc/self/fd"), "Needs /proc.")
    def test_leaves_no_file_descriptor_and_no_thread(self):
        descriptors = os.listdir("/proc/self/fd")
        threads = threading.active_count()
        (pid,) = self.start_ready(1)
        with self.assertLogs(LOGGER, "ERROR"):
            os.kill(pid, signal.SIGKILL)
            wait_until(lambda: len(self.pids("ready")) == 2)
        self.stop()
        self.assertEqual(len(os.listdir("/proc/self/fd")), len(descriptors))
        wait_until(lambda: threading.active_count() == threads)

    def test_a_process_hears_nothing_of_a_supervisor_from_its_parent(self):
        (self.directory / "child.py").write_text(textwrap.dedent("""
            import os, sys
            from django.channels.processes.link import take_link

            take_link().say_ready()
            with open("events.txt", "a") as file:
                file.write(f"input-{sys.stdin.read()!r} {os.getpid()}\\n")
                file.write(f"again-{take_link()} {os.getpid()}\\n")
            """))
        self.start(1)
        wait_until(lambda: self.pids("again-None"))
        self.assertTrue(self.pids("input-''"))
        self.assertNotIn(link.VARIABLE, os.environ)


class SupervisorProcessTests(SupervisorTestCase):
    """A supervisor that is a process, and what signals do to it."""

    def start(self, count=2):
        (self.directory / "supervisor.py").write_text(textwrap.dedent(SUPERVISOR))
        with open(self.directory / "log.txt", "w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "supervisor.py", str(count)],
                cwd=self.directory,
                env=self.environ,
                stdout=log,
                stderr=log,
            )
        self.addCleanup(self.process.wait, PATIENCE)
        self.addCleanup(end, self.process)
        wait_until(lambda: len(self.pids("ready")) == count)
        return self.pids("ready")

    def test_a_signal_stops_all(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            with self.subTest(number=number):
                (self.directory / "events.txt").unlink(missing_ok=True)
                pids = self.start()
                self.process.send_signal(number)
                self.assertEqual(self.process.wait(PATIENCE), 0)
                self.assertEqual([pid for pid in pids if not has_ended(pid)], [])

    def test_a_second_signal_ends_all_at_once(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            with self.subTest(number=number):
                (self.directory / "events.txt").unlink(missing_ok=True)
                self.note("busy")
                pids = self.start()
                self.process.send_signal(signal.SIGTERM)
                wait_until(lambda: len(self.pids("told")) == 2)
                self.assertIsNone(self.process.poll())
                self.process.send_signal(number)
                self.assertEqual(self.process.wait(PATIENCE), 128 + number)
                wait_until(lambda: all(map(has_ended, pids)))

    def test_its_death_ends_all(self):
        pids = self.start()
        self.process.kill()
        self.process.wait(PATIENCE)
        wait_until(lambda: all(map(has_ended, pids)))
        self.assertCountEqual(self.pids("alone"), pids)
        self.assertEqual(self.pids("told"), [])

    def test_hang_up_restarts_all(self):
        pids = self.start()
        self.process.send_signal(signal.SIGHUP)
        wait_until(lambda: len(self.pids("told")) == 2)
        self.assertCountEqual(self.pids("told"), pids)
        self.assertIsNone(self.process.poll())


class WorkingDirectoryTests(SimpleTestCase):
    SCRIPT = """
import os, sys
from django.channels.processes.supervisor import working_directory
os.chdir(sys.argv[1])
os.environ["PWD"] = sys.argv[2]
print(working_directory())
"""

    def ask(self, directory, name):
        return run_script(self.SCRIPT, str(directory), str(name)).stdout.strip()

    @skipUnless(hasattr(os, "symlink"), "Needs links.")
    def test_is_known_by_the_link_that_may_come_to_lead_elsewhere(self):
        with tempfile.TemporaryDirectory() as directory:
            current, release = Path(directory) / "current", Path(directory) / "one"
            release.mkdir()
            current.symlink_to(release)
            self.assertEqual(self.ask(release, current), str(current))
            self.assertEqual(self.ask(directory, current), "None")
            self.assertEqual(self.ask(directory, current / "missing"), "None")

    def test_of_this_process(self):
        self.assertIn(working_directory(), [None, os.environ.get("PWD")])


BY_A_PIPE = """
import os, threading
from django.channels.processes.link import take_link

link = take_link()
link.say_ready()
link.call_at_end(lambda: os._exit(7))
print("runs", flush=True)
threading.Event().wait()
"""


class PipeTests(SimpleTestCase):
    """Where there are no pairs of sockets, a pipe tells a process of the end."""

    def test_end(self):
        with mock.patch.object(link.os, "name", "other"):
            supervisor_link = link.SupervisorLink()
        root = str(Path(django.__file__).parent.parent)
        process = supervisor_link.start(
            [sys.executable, "-c", BY_A_PIPE],
            {**os.environ, "PYTHONPATH": root},
            stdout=subprocess.PIPE,
            text=True,
        )
        self.addCleanup(process.wait, PATIENCE)
        self.addCleanup(end, process)
        self.addCleanup(process.stdout.close)
        self.assertEqual(process.stdout.readline(), "runs\n")
        # It cannot tell by a pipe.
        self.assertIs(supervisor_link.wait_until_ready(), False)
        self.assertIsNone(process.poll())
        supervisor_link.close()
        self.assertEqual(process.wait(PATIENCE), 7)
