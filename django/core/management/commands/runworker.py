import sys

from django.channels.layers import DEFAULT_CHANNEL_ALIAS, channels
from django.channels.processes.console import log_to_console
from django.channels.processes.link import take_link
from django.channels.processes.patterns import ChannelPatterns
from django.channels.processes.supervisor import Supervisor
from django.channels.processes.worker import WorkerProcess
from django.channels.registry import registry
from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError
from django.utils import autoreload


def positive(value):
    """Return the integer in `value`, or raise ValueError unless it is above 0."""
    number = int(value)
    if number < 1:
        raise ValueError
    return number


positive.__name__ = "positive integer"  # For the error of the parser.


class Command(BaseCommand):
    """
    SIGTERM and SIGINT let all processes finish the messages in hand, and end with
    the exit code 0. A second one ends them at once. SIGHUP replaces the processes
    of --processes, one after another, by such with new code; without --processes
    it is as SIGTERM, as whoever looks after the process starts another.
    """

    help = "Runs the consumers of channels in processes of their own."

    # Made by prepare(), so that a process with --reload outlives a fault.
    requires_system_checks = []

    def add_arguments(self, parser):
        parser.add_argument(
            "--backend",
            default=DEFAULT_CHANNEL_ALIAS,
            metavar="ALIAS",
            help="The channel backend to receive from. Defaults to 'default'.",
        )
        parser.add_argument(
            "--channels",
            action="append",
            default=[],
            metavar="PATTERN",
            help=(
                "Run only the consumers of channels that match this pattern, such as "
                "'myapp.*'. Can be given more than once."
            ),
        )
        parser.add_argument(
            "--exclude",
            action="append",
            default=[],
            metavar="PATTERN",
            help=(
                "Leave out the channels that match this pattern. Can be given more "
                "than once."
            ),
        )
        parser.add_argument(
            "--threads",
            type=positive,
            default=1,
            help="The number of threads of each process. Defaults to 1.",
        )
        parser.add_argument(
            "--processes",
            type=positive,
            help=(
                "Start this many processes, and replace those that end. Without it "
                "this process does the work."
            ),
        )
        parser.add_argument(
            "--max-messages",
            type=positive,
            metavar="N",
            help="End each process after this many messages.",
        )
        parser.add_argument(
            "--reload",
            action="store_true",
            help="Start again when code changes. For development.",
        )
        parser.add_argument(
            "--skip-checks", action="store_true", help="Skip system checks."
        )

    def handle(self, **options):
        link = take_link()
        self.get_backend(options["backend"])
        if options["verbosity"]:
            log_to_console()
        if options["reload"]:
            if options["processes"]:
                raise CommandError("--reload is for one process: omit --processes.")
            autoreload.run_with_reloader(self.work, **options)
        elif options["processes"] and link is None:
            self.supervise(**options)
        else:
            self.work(link=link, **options)

    def supervise(self, **options):
        """Run the processes that run the consumers."""
        self.prepare(**options)
        command = autoreload.get_child_arguments()
        Supervisor(command, options["processes"]).run_with_signals()

    def work(self, link=None, **options):
        """Run the consumers in this process."""
        backend, patterns = self.prepare(is_supervised=link is not None, **options)
        process = WorkerProcess(
            backend,
            patterns.serves,
            threads=options["threads"],
            max_messages=options["max_messages"],
            link=link,
        )
        if options["reload"]:
            process.work_until_exit()
        else:
            process.run()

    def prepare(self, is_supervised=False, **options):
        """
        Return the backend and the ChannelPatterns, and tell of them. Raise
        CommandError unless there is something to run.
        """
        backend = self.get_backend(options["backend"])
        if not options["skip_checks"]:
            self.run_checks(is_supervised)
        patterns = ChannelPatterns(options["channels"], options["exclude"])
        consumers = self.find_consumers(backend.alias, patterns)
        for _, consumer in consumers:
            consumer.prepare()
        if options["verbosity"] and not is_supervised:
            self.tell(backend, consumers, options)
        return backend, patterns

    def get_backend(self, alias):
        try:
            backend = channels[alias]
        except ImproperlyConfigured as exc:
            raise CommandError(str(exc)) from exc
        if backend.process_local:
            raise CommandError(
                f"The channel backend {alias!r} is {backend.describe()}, which keeps "
                "messages inside of each process: none would come here. The processes "
                "that send them run the consumers by themselves. For workers of their "
                f"own, let CHANNELS[{alias!r}] name a backend that processes share, "
                "such as 'django.channels.backends.redis.RedisBackend'."
            )
        return backend

    def run_checks(self, is_supervised):
        # The supervisor has told of what is no error.
        if not is_supervised or any(
            message.is_serious() and not message.is_silenced()
            for message in checks.run_checks()
        ):
            self.check()

    def find_consumers(self, alias, patterns):
        """Return [(channel, consumer)] of the channels to serve."""
        names = registry.channels(alias)
        if unmatched := patterns.unmatched(names):
            raise CommandError(
                f"No channel with a consumer matches {unmatched[0]!r}. There are: "
                f"{', '.join(names) or 'none'}."
            )
        served = list(filter(patterns.serves, names))
        if not served:
            raise CommandError(
                "There is no channel to serve: "
                + (
                    "--exclude leaves none."
                    if names
                    else f"the channel backend {alias!r} has no consumers."
                )
            )
        return [(name, registry.get(name, alias)) for name in served]

    def tell(self, backend, consumers, options):
        """Say what is going to run."""
        width = max(len(name) for name, _ in consumers)
        processes, threads = options["processes"] or 1, options["threads"]
        lines = [
            f"Channel backend {backend.alias!r}: {backend.describe()}",
            *(f"  {name.ljust(width)}  {consumer}" for name, consumer in consumers),
            f"Running {count(processes, 'process', 'es')} with "
            f"{count(threads, 'thread')}{' each' if processes > 1 else ''}. Quit with "
            f"{'CTRL-BREAK' if sys.platform == 'win32' else 'CONTROL-C'}.",
        ]
        self.stdout.write("\n".join(lines))
        self.stdout.flush()


def count(number, noun, plural="s"):
    return f"{number} {noun}{'' if number == 1 else plural}"
