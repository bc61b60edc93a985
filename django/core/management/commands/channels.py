import json
import os
import sys
import time

from django.channels.exceptions import BackendUnavailable, Unhealthy
from django.channels.health import check_backend, check_worker
from django.channels.layers import channels
from django.channels.overview import format_overview, overview
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError

CLEAR = "\033[H\033[2J\033[3J"


def seconds(value):
    """Return the number in `value`, or raise ValueError unless it is above 0."""
    number = float(value)
    if not 0 < number < float("inf"):
        raise ValueError
    return number


class Command(BaseCommand):
    help = "Shows what waits on channels and who works there, or checks that all works."

    # It also has to work when something is wrong.
    requires_system_checks = []

    def add_arguments(self, parser):
        parser.add_argument(
            "--backend",
            metavar="ALIAS",
            help="The channel backend to look at. Defaults to all of them.",
        )
        parser.add_argument(
            "--json",
            action="store_true",
            help="Print a JSON document, with --watch one on each line.",
        )
        parser.add_argument(
            "--watch",
            type=seconds,
            nargs="?",
            const=2,
            metavar="SECONDS",
            help="Print anew after every 2 seconds, or as many as given.",
        )
        parser.add_argument(
            "--check",
            action="store_true",
            help="Check that messages get through, and exit with 1 if they do not.",
        )
        parser.add_argument(
            "--worker",
            action="store_true",
            help="With --check, check that a worker answers as well.",
        )
        parser.add_argument(
            "--timeout",
            type=seconds,
            default=5,
            help="With --check, the number of seconds to wait. Defaults to 5.",
        )

    def handle(self, **options):
        aliases = [options["backend"]] if options["backend"] else list(channels)
        if options["worker"] and not options["check"]:
            raise CommandError("--worker goes with --check.")
        try:
            backends = [channels[alias] for alias in aliases]
            if options["check"]:
                self.check_health(backends, **options)
            elif options["watch"]:
                self.watch(backends, **options)
            else:
                self.stdout.write(self.show(backends, options["json"], indent=2))
        except ImproperlyConfigured as exc:
            raise CommandError(str(exc)) from exc
        except BackendUnavailable as exc:
            raise CommandError(f"The store does not answer: {exc}") from exc

    def check_health(self, backends, worker, timeout, **options):
        """Say that all is well, or raise CommandError."""
        for backend in backends:
            if worker and backend.process_local:
                raise CommandError(
                    f"The channel backend {backend.alias!r} is {backend.describe()}, "
                    "which is in each process by itself: the workers of another one "
                    "cannot be checked from here."
                )
            try:
                check_backend(backend.alias, timeout)
                if worker:
                    check_worker(backend.alias, timeout)
            except Unhealthy as exc:
                raise CommandError(str(exc)) from exc
            self.stdout.write(
                f"The channel backend {backend.alias!r} works"
                + (", and a worker answers." if worker else ".")
            )

    def watch(self, backends, **options):
        """Print again and again until somebody has seen enough."""
        try:
            while True:
                self.stdout.write(self.show_or_tell(backends, options["json"]))
                self.stdout.flush()
                time.sleep(options["watch"])
        except KeyboardInterrupt:
            pass
        except BrokenPipeError:
            # Python would try to write the rest at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    def show_or_tell(self, backends, as_json):
        """Return what show() returns, or the text for a store that is away."""
        try:
            text = self.show(backends, as_json)
        except BackendUnavailable as exc:
            error = f"The store does not answer: {exc}"
            text = json.dumps({"error": error}) if as_json else error
        if as_json:
            return text
        heading = time.strftime("%Y-%m-%d %H:%M:%S")
        return f"{CLEAR if self.stdout.isatty() else ''}{heading}\n\n{text}\n"

    def show(self, backends, as_json, indent=None):
        """Return the text about all backends."""
        found = [overview(backend) for backend in backends]
        if as_json:
            return json.dumps({"backends": found}, indent=indent)
        return "\n\n".join(map(format_overview, found))
