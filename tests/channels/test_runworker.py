import json
import logging
import os
import signal
import time
from io import StringIO
from unittest import mock, skipUnless

from django.channels import channels, consumer
from django.channels.backends.contract import PATIENCE
from django.channels.processes import handlers
from django.channels.processes.console import LOGGER, log_to_console
from django.channels.processes.patterns import ChannelPatterns
from django.channels.processes.worker import WorkerProcess
from django.channels.registry import registry
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command
from django.core.management.commands.runworker import Command
from django.test import SimpleTestCase, override_settings
from django.utils.log import AdminEmailHandler, RequireDebugTrue

from .redis_servers import RedisServer
from .utils import MEMORY, wait_until, with_workers
from .worker_site import DatabaseSiteTestCase, WorkerSiteTestCase, has_ended

REMOTE = "channels.remote.RemoteBackend"


class PatternTests(SimpleTestCase):
    NAMES = ["app.one", "app.two", "other.one"]

    def choose(self, **patterns):
        return list(filter(ChannelPatterns(**patterns).serves, self.NAMES))

    def test_all_without_patterns(self):
        self.assertEqual(self.choose(), self.NAMES)

    def test_included(self):
        self.assertEqual(self.choose(include=["app.*"]), ["app.one", "app.two"])
        self.assertEqual(
            self.choose(include=["app.two", "other.*"]), ["app.two", "other.one"]
        )
        self.assertEqual(self.choose(include=["*.[a-o]*"]), ["app.one", "other.one"])

    def test_excluded(self):
        self.assertEqual(self.choose(exclude=["*.one"]), ["app.two"])
        self.assertEqual(self.choose(include=["app.*"], exclude=["*.one"]), ["app.two"])

    def test_case_matters_on_every_platform(self):
        self.assertEqual(self.choose(include=["APP.*"]), [])

    def test_unmatched(self):
        patterns = ChannelPatterns(["app.*", "none.*"], ["*.two", "*.three"])
        self.assertEqual(patterns.unmatched(self.NAMES), ["none.*", "*.three"])


class ConsoleTests(SimpleTestCase):
    def setUp(self):
        self.logger, parent = logging.getLogger(LOGGER), logging.getLogger("django")
        for logger in (self.logger, parent):
            self.addCleanup(setattr, logger, "handlers", logger.handlers)
            logger.handlers = []
        # As in Django's default.
        console = logging.StreamHandler()
        console.addFilter(RequireDebugTrue())
        parent.handlers = [console, AdminEmailHandler()]
        self.parent = parent

    def added(self):
        before = list(self.logger.handlers)
        log_to_console()
        return [handler for handler in self.logger.handlers if handler not in before]

    @override_settings(DEBUG=False)
    def test_a_site_without_logging_of_its_own_is_told_once(self):
        self.assertEqual(len(self.added()), 1)
        self.assertEqual(len(self.added()), 0)

    @override_settings(DEBUG=True)
    def test_the_default_writes_in_debug_mode(self):
        self.assertEqual(self.added(), [])

    @override_settings(DEBUG=False)
    def test_a_site_that_handles_its_log_is_left_alone(self):
        self.parent.addHandler(logging.NullHandler())
        self.assertEqual(self.added(), [])


@override_settings(CHANNELS={"default": {"BACKEND": REMOTE}})
class CommandTests(SimpleTestCase):
    """What the command says before it runs anything."""

    def setUp(self):
        self.enterContext(registry.isolate())
        consumer("tests.one", "tests.two")(one)
        work = mock.patch.object(WorkerProcess, "run")
        self.run_process = self.enterContext(work)

    def call(self, *arguments):
        output = StringIO()
        with mock.patch("django.core.management.commands.runworker.log_to_console"):
            call_command("runworker", *arguments, stdout=output)
        return output.getvalue()

    def assertRefused(self, message, *arguments):
        with self.assertRaisesMessage(CommandError, message):
            self.call(*arguments)
        self.run_process.assert_not_called()

    def test_lists_what_it_is_going_to_run(self):
        printed = self.call("--threads", "3", "--channels", "tests.*")
        self.assertEqual(
            printed.splitlines(),
            [
                "Channel backend 'default': remote",
                "  tests.one  channels.test_runworker.one",
                "  tests.two  channels.test_runworker.one",
                "Running 1 process with 3 threads. Quit with CONTROL-C.",
            ],
        )
        self.run_process.assert_called_once_with()

    def test_says_nothing_if_it_shall_not(self):
        self.assertEqual(self.call("--verbosity", "0"), "")

    def test_lists_the_consumer_that_ships_with_django_but_no_internal_one(self):
        printed = self.call()
        self.assertIn("  django.wsgi.request  django.core.handlers.channel.", printed)
        self.assertNotIn("django.channels.ping", printed)

    def test_refuses_a_pattern_that_matches_nothing(self):
        self.assertRefused(
            "No channel with a consumer matches 'test.*'. There are: ",
            "--channels=tests.one",
            "--channels=test.*",
        )
        self.assertRefused("matches 'no.*'", "--exclude=no.*")

    def test_refuses_to_run_nothing(self):
        self.assertRefused("--exclude leaves none.", "--exclude=*")

    @override_settings(
        CHANNELS={"default": {"BACKEND": MEMORY}, "other": {"BACKEND": REMOTE}}
    )
    def test_refuses_a_backend_without_consumers(self):
        self.assertRefused("'other' has no consumers.", "--backend=other")

    @override_settings(CHANNELS={"default": {"BACKEND": MEMORY}})
    def test_refuses_a_process_local_backend_and_tells_the_way_out(self):
        self.assertRefused(
            "The channel backend 'default' is memory, which keeps messages inside of "
            "each process: none would come here. The processes that send them run the "
            "consumers by themselves. For workers of their own, let "
            "CHANNELS['default'] name a backend that processes share, such as "
            "'django.channels.backends.redis.RedisBackend'."
        )

    def test_refuses_a_backend_that_is_not_in_the_settings(self):
        self.assertRefused("There is no CHANNELS['other']", "--backend=other")

    @override_settings(CHANNELS={"default": {"BACKEND": "made.Backend"}})
    def test_refuses_a_backend_that_lacks_something(self):
        error = ImproperlyConfigured("It needs the package redis.")
        with mock.patch("django.channels.layers.import_string", side_effect=error):
            self.assertRefused("It needs the package redis.")

    def test_refuses_to_reload_several_processes(self):
        self.assertRefused("omit --processes", "--reload", "--processes=2")

    def test_refuses_numbers_below_one(self):
        for option in ["--threads", "--processes", "--max-messages"]:
            with self.subTest(option=option):
                self.assertRefused("invalid positive integer value", f"{option}=0")

    def test_prepares_what_it_is_going_to_run(self):
        with mock.patch.object(registry.get("tests.one"), "prepare") as prepare:
            self.call("--exclude=tests.*")
            prepare.assert_not_called()
            self.call("--channels=tests.one")
        prepare.assert_called_once_with()

    def test_options_reach_the_process(self):
        path = "django.core.management.commands.runworker.WorkerProcess"
        with mock.patch(path) as process:
            self.call("--threads=2", "--max-messages=5", "--exclude=tests.*")
        (backend, serves), options = process.call_args
        self.assertIs(backend, channels["default"])
        self.assertFalse(serves("tests.one"))
        self.assertEqual(options, {"threads": 2, "max_messages": 5, "link": None})

    def test_help(self):
        parser = Command().create_parser("manage.py", "runworker")
        self.assertIn("--max-messages", parser.format_help())


def one(**kwargs):
    pass


@with_workers
class WorkerProcessTests(SimpleTestCase):
    """The process as an object, in the process of the test."""

    def setUp(self):
        self.enterContext(override_settings(CHANNELS={"default": {"BACKEND": REMOTE}}))
        self.enterContext(registry.isolate())
        self.backend = channels["default"]

    def info(self, **options):
        process = WorkerProcess(self.backend, **options)
        return process, process.describe()

    def test_is_announced_while_it_works(self):
        announced = []

        @consumer("tests.one")
        def look(**kwargs):
            announced.extend(self.backend.announced().values())

        self.backend.send("tests.one", {})
        process = WorkerProcess(
            self.backend, "tests.one".__eq__, threads=2, max_messages=1
        )
        process._announcer.announce_if_due()
        process.work()
        (info,) = announced
        self.assertEqual((info["kind"], info["pid"]), ("worker", os.getpid()))
        self.assertEqual((info["threads"], info["channels"]), (2, ["tests.one"]))
        self.assertLess(abs(info["started"] - time.time()), PATIENCE)
        self.assertEqual(self.backend.announced(), {})
        self.assertEqual(self.backend.depths(), {})

    def test_counts_what_its_threads_have_done(self):
        @consumer("tests.one")
        def fails(number, **kwargs):
            if number == 2:
                raise KeyError

        for number in range(3):
            self.backend.send("tests.one", {"number": number})
        process = WorkerProcess(self.backend, max_messages=3, threads=2)
        self.backend.drops["expired"] = 2
        with self.assertLogs("django.channels.worker", "ERROR"):
            process.work()
        info = process.describe()
        self.assertEqual((info["handled"], info["failed"]), (3, 1))
        self.assertEqual(info["drops"], {"expired": 2})
        self.assertEqual((info["busy"], info["longest"]), (0, 0))
        json.dumps(info)

    def test_a_store_that_is_away_does_not_keep_it_from_working(self):
        done = []
        consumer("tests.one")(lambda **kwargs: done.append("done"))
        self.backend.send("tests.one", {})
        process = WorkerProcess(self.backend, max_messages=1)
        away = mock.patch.object(self.backend, "announce", side_effect=OSError)
        with away as announce:
            process.work()
        self.assertEqual(done, ["done"])
        self.assertTrue(announce.called)

    def test_threads_that_fail_are_replaced(self):
        done = []
        consumer("tests.one")(lambda **kwargs: done.append("done"))
        self.backend.send("tests.one", {})
        process = WorkerProcess(self.backend, max_messages=1)
        path = "django.channels.processes.worker.Worker.run"
        interval = mock.patch("django.channels.processes.announcing.INTERVAL", 0.1)
        with interval, self.assertLogs("django.channels.worker", "CRITICAL"):
            with mock.patch(path, side_effect=[SystemExit]):
                process._fill()
                process._tasks.get(timeout=PATIENCE)()
            self.assertEqual(process.workers, {})
            process.work()
        self.assertEqual(done, ["done"])


class HandlerTests(SimpleTestCase):
    def ignore(self, number):
        self.addCleanup(signal.signal, number, signal.signal(number, signal.SIG_IGN))

    def test_hang_up_stays_ignored_unless_there_is_a_use_for_it(self):
        self.ignore(signal.SIGHUP)
        with handlers.signal_handlers(lambda: None):
            self.assertEqual(signal.getsignal(signal.SIGHUP), signal.SIG_IGN)
        with handlers.signal_handlers(lambda: None, hang_up=lambda: None):
            self.assertNotEqual(signal.getsignal(signal.SIGHUP), signal.SIG_IGN)
        self.assertEqual(signal.getsignal(signal.SIGHUP), signal.SIG_IGN)

    @skipUnless(hasattr(os, "fork"), "Needs os.fork().")
    def test_a_fork_is_ended_by_a_signal(self):
        with handlers.signal_handlers(lambda: None):
            pid = os.fork()
            if pid == 0:
                try:
                    os.kill(os.getpid(), signal.SIGTERM)
                finally:
                    os._exit(0)
            _, status = os.waitpid(pid, 0)
        self.assertEqual(os.waitstatus_to_exitcode(status), -signal.SIGTERM)

    def test_handlers_are_put_back(self):
        self.addCleanup(
            signal.signal, signal.SIGHUP, signal.signal(signal.SIGHUP, signal.SIG_DFL)
        )
        numbers = [*handlers.STOP_SIGNALS, signal.SIGHUP]
        before = [signal.getsignal(number) for number in numbers]
        with handlers.signal_handlers(lambda: None):
            for number in numbers:
                self.assertNotIn(signal.getsignal(number), before)
        self.assertEqual([signal.getsignal(number) for number in numbers], before)


class OneProcessTests(WorkerSiteTestCase):
    def test_runs_delayed_messages_when_they_are_due(self):
        self.backend.send("app.note", {"text": "before"}, delay=0.01)
        self.start()
        wait_until(lambda: self.done("note") == [["before"]])
        begun = time.monotonic()
        self.backend.send("app.note", {"text": "later"}, delay=0.5)
        wait_until(lambda: len(self.done("note")) == 2)
        self.assertGreaterEqual(time.monotonic() - begun, 0.5)
        self.assertEqual(self.done("note")[1], ["later"])

    def test_runs_consumers(self):
        process = self.start()
        self.send("app.note", text="one")
        wait_until(lambda: self.done("note") == [["one"]])
        self.assertIn("app.note             app.consumers.take", self.printed)
        process.terminate()
        self.assertEqual(process.wait(PATIENCE), 0)

    def test_a_signal_lets_it_finish_the_message_in_hand_and_take_no_other(self):
        numbers = [signal.SIGTERM, signal.SIGINT]
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
            numbers.append(signal.SIGHUP)  # Unless the tests run with nohup.
        for number in numbers:
            with self.subTest(number=number):
                self.reset()
                process = self.start()
                self.send("app.hold", text="one")
                self.send("app.hold", text="two")
                wait_until(lambda: self.done("begun"))
                process.send_signal(number)
                wait_until(lambda: "with 1 messages in hand" in self.printed)
                self.assertIsNone(process.poll())
                self.write("release", "")
                self.assertEqual(process.wait(PATIENCE), 0)
                self.assertEqual(self.done("held"), [["one"]])
                self.assertEqual(self.backend.depths(), {"app.hold": 1})
                self.assertEqual(self.workers(), set())

    def test_a_second_signal_ends_it_at_once(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            with self.subTest(number=number):
                self.reset()
                process = self.start()
                self.send("app.hold", text="one")
                wait_until(lambda: self.done("begun"))
                process.terminate()
                wait_until(lambda: "with 1 messages in hand" in self.printed)
                self.assertIsNone(process.poll())
                process.send_signal(number)
                self.assertEqual(process.wait(PATIENCE), 128 + number)
                self.assertEqual(self.done("held"), [])

    def test_a_signal_ends_one_that_waits(self):
        process = self.start("--threads=3")
        begun = time.monotonic()
        process.terminate()
        self.assertEqual(process.wait(PATIENCE), 0)
        self.assertLess(time.monotonic() - begun, PATIENCE)
        # Nor does what woke the threads stay.
        self.assertEqual(self.backend.depths(), {})

    def test_a_consumer_that_exits_ends_nothing(self):
        self.start()
        self.send("app.exit")
        self.send("app.note", text="after")
        wait_until(lambda: self.done("note") == [["after"]])
        self.assertIn("raised SystemExit", self.printed)

    def test_max_messages(self):
        process = self.start("--max-messages=3", "--threads=2")
        for number in range(5):
            self.send("app.note", text=str(number))
        self.assertEqual(process.wait(PATIENCE), 0)
        self.assertEqual(sorted(text for (text,) in self.done("note")), ["0", "1", "2"])
        self.assertEqual(self.backend.depths(), {"app.note": 2})

    def test_threads_run_side_by_side(self):
        self.start("--threads=3")
        for number in range(3):
            self.send("app.hold", text=str(number))
        wait_until(lambda: len(self.done("begun")) == 3)
        self.write("release", "")
        wait_until(lambda: len(self.done("held")) == 3)

    def test_channels(self):
        self.start("--channels=app.*", "--exclude=app.note")
        self.send("app.note", text="one")
        self.send("app.version")
        wait_until(lambda: self.done("version"))
        self.assertEqual(self.backend.depths(), {"app.note": 1})

    def test_reload_runs_changed_code_after_the_message_in_hand(self):
        # The reloader logs what it does, which shows in debug mode.
        path = self.directory / "site_settings.py"
        self.write("site_settings.py", path.read_text() + "DEBUG = True")
        self.start("--reload")
        self.send("app.version")
        wait_until(lambda: self.done("version"))
        self.send("app.hold", text="one")
        wait_until(lambda: self.done("begun"))
        path = self.directory / "app/consumers.py"
        text = path.read_text().replace("first", "second")

        def is_noticed():
            # The reloader compares times, and may not have seen the file before.
            self.write("app/consumers.py", text)
            time.sleep(0.5)
            return "changed, reloading" in self.printed

        wait_until(is_noticed)
        self.write("release", "")
        self.send("app.version")
        wait_until(lambda: len(self.done("version")) == 2)
        self.assertEqual(
            [words[0] for words in self.done("version")], ["first", "second"]
        )
        self.assertEqual(self.done("held"), [["one"]])

    def test_refuses_a_memory_backend(self):
        self.write("site_settings.py", 'SECRET_KEY = "tests"')
        code, output = self.run_command("runworker")
        self.assertEqual(code, 1)
        self.assertIn("CommandError: The channel backend 'default' is memory", output)

    def test_a_failing_system_check_keeps_it_from_starting(self):
        self.write("site_urls.py", "no_such_name")
        code, output = self.run_command("runworker")
        self.assertEqual(code, 1)
        self.assertIn("no_such_name", output)


class LostStoreTests(WorkerSiteTestCase):
    def test_is_waited_for(self):
        with RedisServer() as server:
            path = self.directory / "site_settings.py"
            text = path.read_text().replace(self.backend.location, server.url)
            self.write("site_settings.py", text)
            self.backend.close()
            self.backend = type(self.backend)("default", {"LOCATION": server.url})
            self.addCleanup(self.backend.close)
            process = self.start("--threads=2")
            server.kill()
            wait_until(lambda: "Nothing can be received" in self.printed)
            # Long enough for many tries, and an announcement.
            time.sleep(6)
            self.assertIsNone(process.poll())
            server.start()
            begun = time.monotonic()
            self.send("app.note", text="after")
            wait_until(lambda: self.done("note"))
            self.assertLess(time.monotonic() - begun, PATIENCE)
            wait_until(lambda: "answers again" in self.printed)
            wait_until(self.workers)
            self.assertEqual(self.printed.count("Nothing can be received"), 1)
            self.assertEqual(self.printed.count("answers again"), 1)
            self.assertNotIn("Traceback", self.printed)
            server.kill()
            wait_until(lambda: self.printed.count("Nothing can be received") == 2)
            process.terminate()
            self.assertEqual(process.wait(PATIENCE), 0)


class SupervisedTests(WorkerSiteTestCase):
    def test_processes_run_side_by_side_and_end_with_their_supervisor(self):
        process = self.start("--processes=2", ready=2)
        for number in range(2):
            self.send("app.hold", text=str(number))
        wait_until(lambda: len(self.done("begun")) == 2)
        self.assertEqual({int(pid) for _, pid in self.done("begun")}, self.workers())
        self.assertEqual(self.printed.count("Quit with"), 1)
        process.terminate()
        wait_until(lambda: "Stopping each worker process." in self.printed)
        self.assertIsNone(process.poll())
        self.write("release", "")
        self.assertEqual(process.wait(PATIENCE), 0)
        self.assertEqual(len(self.done("held")), 2)
        self.assertAllEnd()
        self.assertEqual(self.workers(), set())

    def test_an_interrupt_at_the_terminal_ends_no_message_in_hand(self):
        process = self.start("--processes=1", start_new_session=True)
        self.send("app.hold", text="one")
        wait_until(lambda: self.done("begun"))
        # A terminal sends it to all processes of the group.
        os.killpg(process.pid, signal.SIGINT)
        wait_until(lambda: "Stopping each worker process." in self.printed)
        self.assertIsNone(process.poll())
        self.write("release", "")
        self.assertEqual(process.wait(PATIENCE), 0)
        self.assertEqual(self.done("held"), [["one"]])

    def test_a_signal_to_all_processes_at_once_is_the_first_for_each(self):
        """As systemd sends it, unless it is told to send it to the supervisor."""
        supervisor = self.start("--processes=2", ready=2)
        self.send("app.hold", text="one")
        wait_until(lambda: self.done("begun"))
        for pid in [supervisor.pid, *self.workers()]:
            os.kill(pid, signal.SIGTERM)
        time.sleep(0.5)
        self.write("release", "")
        self.assertEqual(supervisor.wait(PATIENCE), 0)
        self.assertEqual(self.done("held"), [["one"]])
        self.assertAllEnd()

    def test_a_process_that_is_killed_is_replaced(self):
        self.start("--processes=2", ready=2)
        self.send("app.hold", text="lost")
        wait_until(lambda: self.done("begun"))
        pid = int(self.done("begun")[0][1])
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: len(self.workers() - {pid}) == 2)
        self.assertIn(f"(pid {pid}) has ended by SIGKILL", self.printed)
        self.assertTrue(has_ended(pid))
        self.send("app.note", text="after")
        wait_until(lambda: self.done("note"))

    def test_none_is_left_when_the_supervisor_is_killed(self):
        process = self.start("--processes=2", ready=2)
        self.send("app.hold", text="one")
        wait_until(lambda: self.done("begun"))
        process.kill()
        process.wait(PATIENCE)
        (busy,) = {int(pid) for _, pid in self.done("begun")}
        wait_until(lambda: all(has_ended(pid) for pid in self.pids() if pid != busy))
        self.write("release", "")
        self.assertAllEnd()
        self.assertEqual(self.done("held"), [["one"]])

    def test_a_consumer_that_hangs_does_not_outlive_the_supervisor(self):
        process = self.start("--processes=1")
        self.send("app.hold", text="one")
        wait_until(lambda: self.done("begun"))
        process.kill()
        process.wait(PATIENCE)
        self.assertAllEnd()
        self.assertEqual(self.done("held"), [])

    def test_max_messages_replaces_processes(self):
        self.start("--processes=1", "--max-messages=1")
        for _ in range(3):
            self.send("app.version")
        wait_until(lambda: len(self.done("version")) == 3)
        self.assertEqual(len({pid for _, pid in self.done("version")}), 3)

    def test_hang_up_brings_new_code(self):
        process = self.start("--processes=2", ready=2)
        before = self.workers()
        self.send("app.version")
        wait_until(lambda: self.done("version"))
        path = self.directory / "app/consumers.py"
        self.write("app/consumers.py", path.read_text().replace("first", "second"))
        process.send_signal(signal.SIGHUP)
        wait_until(lambda: len(self.workers()) == 2 and not self.workers() & before)
        wait_until(lambda: all(map(has_ended, before)))
        self.send("app.version")
        wait_until(lambda: len(self.done("version")) == 2)
        self.assertEqual(
            [words[0] for words in self.done("version")], ["first", "second"]
        )
        self.assertIsNone(process.poll())

    def test_hang_up_with_broken_code_leaves_all_running(self):
        process = self.start("--processes=2", ready=2)
        before = self.workers()
        self.write("app/consumers.py", "no_such_name")
        process.send_signal(signal.SIGHUP)
        wait_until(lambda: "before it was ready. Those that run go on" in self.printed)
        self.assertIn("no_such_name", self.printed)
        self.assertEqual(self.workers(), before)
        self.send("app.note", text="after")
        wait_until(lambda: self.done("note"))


class DatabaseTests(DatabaseSiteTestCase):
    def test_runs_consumers_in_several_processes(self):
        process = self.start("--processes=2", ready=2)
        for number in range(2):
            self.send("app.hold", text=str(number))
        wait_until(lambda: len(self.done("begun")) == 2)
        self.write("release", "")
        wait_until(lambda: len(self.done("held")) == 2)
        process.terminate()
        self.assertEqual(process.wait(PATIENCE), 0)
        self.assertAllEnd()
        self.assertEqual(self.workers(), set())
