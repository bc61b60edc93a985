import json
import signal
import subprocess
import threading
from io import StringIO
from unittest import mock

from django.channels import BackendUnavailable, channels, consumer
from django.channels.backends.contract import PATIENCE
from django.channels.overview import describe_age, overview
from django.channels.registry import registry
from django.channels.worker import Worker
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command
from django.test import SimpleTestCase, override_settings

from .utils import MEMORY, end, wait_until, with_workers
from .worker_site import WorkerSiteTestCase

REMOTE = "channels.remote.RemoteBackend"
BOTH = {"default": {"BACKEND": REMOTE}, "other": {"BACKEND": MEMORY}}
WORKER = {
    "kind": "worker",
    "host": "one.example.com",
    "pid": 4711,
    "started": 1790000000.0,
    "uptime": 7200,
    "threads": 4,
    "busy": 1,
    "longest": 90,
    "channels": ["tests.one"],
    "handled": 12,
    "failed": 3,
    "drops": {"expired": 2, "no consumer": 1},
}
INTERFACE = {
    "kind": "interface",
    "host": "two.example.com",
    "pid": 4712,
    "uptime": 90,
    "connections": {"open": 7, "total": 30, "refused": 0},
    "requests": {"2xx": 20, "5xx": 1},
    "websockets": {"open": 5, "accepted": 6, "refused": {}, "closed": {"1001": 1}},
    "messages": {"received": 11, "sent": 12},
    "drops": {"expired": 2},
    "answers": {"counts": [21], "sum": 0.1, "p50": 0.004, "p99": 0.0225},
}


def run_one(**kwargs):
    pass


class CommandTestCase(SimpleTestCase):
    def setUp(self):
        self.enterContext(override_settings(CHANNELS=BOTH))
        self.enterContext(registry.isolate())
        consumer("tests.one")(run_one)
        self.backend = channels["default"]

    def call(self, *arguments):
        output = StringIO()
        call_command("channels", *arguments, stdout=output)
        return output.getvalue()

    def away(self, error=BackendUnavailable("No route.")):
        return mock.patch.object(self.backend, "queues", side_effect=error)


class OverviewTests(CommandTestCase):
    def table(self, *arguments):
        """Return the lines that the command prints, as lists of words."""
        return [line.split() for line in self.call(*arguments).splitlines()]

    def test_channels_with_their_consumers_and_messages(self):
        for _ in range(3):
            self.backend.send("tests.one", {})
        self.backend.send("tests.nobody", {})
        rows = {words[0]: words for words in self.table() if words}
        self.assertEqual(rows["tests.one"][1], "3")
        self.assertEqual(
            rows["tests.one"][4:], ["0", "0", "channels.test_channels_command.run_one"]
        )
        self.assertEqual(rows["tests.nobody"][1], "1")
        self.assertEqual(rows["tests.nobody"][4:], ["0", "0", "none"])
        self.assertEqual(rows["django.wsgi.request"][1:4], ["0", "-", "0"])
        self.assertNotIn("django.channels.ping", rows)

    def test_delayed_messages(self):
        for _ in range(2):
            self.backend.send("tests.one", {}, delay=60)
        rows = {words[0]: words for words in self.table("--backend=default") if words}
        self.assertEqual(rows["tests.one"][1:5], ["0", "-", "2", "0"])

    def test_inboxes_are_added_up(self):
        for name in ["tests.inbox!1", "tests.inbox!2", "tests.other!1"]:
            self.backend.send(name, {})
        printed = self.call("--backend=default")
        self.assertIn(
            "Inboxes with messages: 2, messages in them: 3, oldest: 0.", printed
        )
        self.assertNotIn("tests.inbox", printed)

    def test_workers(self):
        self.assertIn("No worker has been seen lately.", self.call())
        self.backend.announce("worker.1", WORKER, PATIENCE)
        rows = {words[0]: words for words in self.table("--backend=default") if words}
        self.assertEqual(
            " ".join(rows["one.example.com:4711"][1:]),
            "2.0 h 4 1 1.5 min 12 3 2 expired, 1 no consumer",
        )
        self.assertEqual(rows["tests.one"][3:5], ["0", "1"])
        self.assertNotIn("Interface ", self.call("--backend=default"))

    def test_interfaces(self):
        self.backend.announce("interface.1", INTERFACE, PATIENCE)
        rows = {words[0]: words for words in self.table("--backend=default") if words}
        self.assertEqual(
            " ".join(rows["two.example.com:4712"][1:]),
            "1.5 min 7 5 11 12 20 2xx, 1 5xx 0.004 s, 0.022 s 2 expired",
        )
        self.assertIn("No worker has been seen lately.", self.call())

    def test_interface_that_has_done_nothing_yet(self):
        answers = {"counts": [0], "sum": 0, "p50": None, "p99": None}
        nothing = {"requests": {}, "drops": {}, "answers": answers}
        self.backend.announce("interface.1", INTERFACE | nothing, PATIENCE)
        rows = {words[0]: words for words in self.table("--backend=default") if words}
        self.assertEqual(
            " ".join(rows["two.example.com:4712"][1:]), "1.5 min 7 5 11 12 0 - 0"
        )

    def test_processes_of_other_kinds_are_left_out(self):
        self.backend.announce("other.1", {"kind": "other"}, PATIENCE)
        about = overview(self.backend)
        self.assertEqual((about["workers"], about["interfaces"]), ([], []))

    def test_queues_of_other_processes_cannot_be_seen_on_a_memory_backend(self):
        printed = self.call("--backend=other")
        self.assertIn("Channel backend 'other': memory", printed)
        self.assertIn("Queues of other processes cannot be seen", printed)
        self.assertNotIn("No worker", printed)

    def test_all_backends_unless_one_is_chosen(self):
        self.assertEqual(self.call().count("Channel backend '"), 2)
        self.assertEqual(self.call("--backend=default").count("Channel backend '"), 1)

    def test_json(self):
        self.backend.send("tests.one", {})
        self.backend.send("tests.inbox!1", {})
        self.backend.announce("worker.1", WORKER, PATIENCE)
        found = json.loads(self.call("--json"))["backends"]
        self.assertEqual([about["backend"] for about in found], ["default", "other"])
        about = found[0]
        by_name = {channel["name"]: channel for channel in about["channels"]}
        oldest = by_name["tests.one"].pop("oldest")
        self.assertTrue(0 <= oldest < PATIENCE)
        self.assertEqual(
            by_name["tests.one"],
            {
                "name": "tests.one",
                "consumer": "channels.test_channels_command.run_one",
                "depth": 1,
                "delayed": 0,
            },
        )
        self.assertEqual((about["inboxes"]["count"], about["inboxes"]["depth"]), (1, 1))
        self.assertEqual(about["workers"], [{"name": "worker.1", **WORKER}])
        self.assertEqual(about["drops"], {"expired": 2, "no consumer": 1})
        self.assertEqual(about["interfaces"], [])

    def test_interfaces_as_json(self):
        self.backend.announce("interface.1", INTERFACE, PATIENCE)
        about, _ = json.loads(self.call("--json"))["backends"]
        self.assertEqual(about["interfaces"], [{"name": "interface.1", **INTERFACE}])
        self.assertEqual(about["drops"], {"expired": 2})

    def test_drops_of_several_workers_are_added_up(self):
        for number in range(2):
            self.backend.announce(f"worker.{number}", WORKER, PATIENCE)
        self.assertEqual(
            overview(self.backend)["drops"], {"expired": 4, "no consumer": 2}
        )

    def test_store_that_is_away(self):
        msg = "The store does not answer: No route."
        with self.away(), self.assertRaisesMessage(CommandError, msg):
            self.call()

    def test_backend_that_is_not_in_the_settings(self):
        with self.assertRaisesMessage(CommandError, "There is no CHANNELS['third']"):
            self.call("--backend=third")

    @override_settings(CHANNELS={"default": {"BACKEND": "made.Backend"}})
    def test_backend_that_lacks_something(self):
        error = ImproperlyConfigured("It needs the package redis.")
        with mock.patch("django.channels.layers.import_string", side_effect=error):
            with self.assertRaisesMessage(CommandError, "It needs the package redis."):
                self.call()

    def test_ages(self):
        for seconds, text in [
            (None, "-"),
            (0, "0.0 s"),
            (59.94, "59.9 s"),
            (60, "1.0 min"),
            (5400, "1.5 h"),
            (172800, "2.0 d"),
        ]:
            with self.subTest(seconds=seconds):
                self.assertEqual(describe_age(seconds), text)


class WatchTests(CommandTestCase):
    def watch(self, *arguments, times=3, before=None):
        """Return what is printed until the user interrupts."""
        waits = []

        def sleep(seconds):
            waits.append(seconds)
            if before is not None:
                before(len(waits))
            if len(waits) == times:
                raise KeyboardInterrupt

        path = "django.core.management.commands.channels.time.sleep"
        with mock.patch(path, sleep):
            printed = self.call(*arguments)
        self.waits = waits
        return printed

    def test_prints_again_and_again(self):
        printed = self.watch("--watch", "--backend=default")
        self.assertEqual(printed.count("Channel backend 'default'"), 3)
        self.assertEqual(self.waits, [2, 2, 2])
        # Only a terminal is cleared.
        self.assertNotIn("\033", printed)

    def test_seconds(self):
        self.watch("--watch", "0.5")
        self.assertEqual(self.waits, [0.5, 0.5, 0.5])
        with self.assertRaises(CommandError):
            self.call("--watch", "0")

    def test_json_is_one_document_a_line(self):
        lines = self.watch("--watch", "--json").splitlines()
        documents = [json.loads(line) for line in lines]
        self.assertEqual([len(about["backends"]) for about in documents], [2, 2, 2])

    def test_store_that_is_away_is_tried_again(self):
        self.enterContext(self.away())

        def before(time):
            if time == 2:
                self.backend.queues.side_effect = None
                self.backend.queues.return_value = {}

        printed = self.watch("--watch", "--backend=default", before=before)
        self.assertEqual(printed.count("The store does not answer: No route."), 2)
        self.assertEqual(printed.count("Channel backend 'default'"), 1)

    def test_store_that_is_away_as_json(self):
        with self.away():
            lines = self.watch("--watch", "--json").splitlines()
        error = {"error": "The store does not answer: No route."}
        self.assertEqual([json.loads(line) for line in lines], [error] * 3)


@with_workers
class CheckTests(CommandTestCase):
    def test_backend(self):
        self.assertEqual(
            self.call("--check"),
            "The channel backend 'default' works.\n"
            "The channel backend 'other' works.\n",
        )
        self.assertEqual(self.backend.queues(), {})

    def test_worker(self):
        worker = Worker(self.backend)
        thread = threading.Thread(target=worker.run, daemon=True)
        thread.start()
        self.addCleanup(thread.join, PATIENCE)
        self.addCleanup(worker.stop)
        printed = self.call("--check", "--worker", "--backend=default")
        self.assertEqual(
            printed, "The channel backend 'default' works, and a worker answers.\n"
        )

    def test_no_worker(self):
        with self.assertRaisesMessage(CommandError, "answered within 0.1 seconds"):
            self.call("--check", "--worker", "--timeout=0.1", "--backend=default")
        self.assertEqual(self.backend.queues(), {})

    def test_store_that_is_away(self):
        error = BackendUnavailable("No route.")
        with mock.patch.object(self.backend, "push", side_effect=error):
            with self.assertRaisesMessage(CommandError, "fails: No route."):
                self.call("--check")

    def test_workers_of_another_process_on_a_memory_backend(self):
        with self.assertRaisesMessage(CommandError, "cannot be checked from here"):
            self.call("--check", "--worker", "--backend=other")

    def test_worker_alone_is_no_check(self):
        with self.assertRaisesMessage(CommandError, "--worker goes with --check"):
            self.call("--worker")


class ProcessTests(WorkerSiteTestCase):
    """The command as a process."""

    def test_exit_code_of_a_check(self):
        self.assertEqual(
            self.run_command("channels", "--check"),
            (0, "The channel backend 'default' works.\n"),
        )
        code, output = self.run_command(
            "channels", "--check", "--worker", "--timeout=0.1"
        )
        self.assertEqual(code, 1)
        self.assertEqual(
            output,
            "CommandError: No worker of the channel backend 'default' answered within "
            "0.1 seconds: none runs, or all are busy.\n",
        )
        self.start()
        code, output = self.run_command("channels", "--check", "--worker")
        self.assertEqual(code, 0, output)
        wait_until(lambda: not self.backend.queues())

    def test_watching_ends_with_an_interrupt_and_with_its_reader(self):
        process = self.watch()
        process.send_signal(signal.SIGINT)
        process.stdout.read()
        self.assertEqual(process.wait(PATIENCE), 0)
        process = self.watch()
        process.stdout.close()
        self.assertEqual(process.stderr.read(), b"")
        self.assertEqual(process.wait(PATIENCE), 0)

    def watch(self):
        """Return a process that has printed something."""
        process = self.command(
            "channels", "--watch=0.1", stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        self.addCleanup(process.stderr.close)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.wait, PATIENCE)
        self.addCleanup(end, process)
        self.assertTrue(process.stdout.readline())
        return process
