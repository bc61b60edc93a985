import os
import re
import sys

from django.channels.layers import DEFAULT_CHANNEL_ALIAS, channels
from django.core.management.base import BaseCommand, CommandError
from django.core.management.commands.runserver import naiveip_re
from django.core.management.commands.runworker import positive


class Command(BaseCommand):
    """
    SIGTERM and SIGINT let requests in hand finish, close WebSockets with 1001, and
    end the process. SIGHUP restarts the workers of --workers, one after another,
    while connections stay open.
    """

    help = (
        "Serves HTTP and WebSockets, and leaves what comes to workers by way of "
        "channels."
    )

    def add_arguments(self, parser):
        parser.add_argument(
            "addrport",
            nargs="?",
            default="127.0.0.1:8000",
            help="Optional port number, or ipaddr:port, or unix:path of a socket.",
        )
        parser.add_argument(
            "--backend",
            default=DEFAULT_CHANNEL_ALIAS,
            metavar="ALIAS",
            help="The channel backend to send to. Defaults to 'default'.",
        )
        parser.add_argument(
            "--workers",
            type=positive,
            default=0,
            help="Start this many worker processes, and replace those that end.",
        )

        parser.add_argument(
            "--trust-proxy",
            action="store_true",
            help=(
                "Take the address and the scheme of clients from X-Forwarded-For and "
                "X-Forwarded-Proto. Only behind a proxy that sets both."
            ),
        )

    def handle(self, addrport, backend, workers, trust_proxy, **options):
        try:
            from django.channels.interfaces.server.running import InterfaceProcess
        except ModuleNotFoundError as exc:
            raise CommandError(
                f"runinterface needs the package {exc.name}: "
                'python -m pip install "Django[gevent]"'
            ) from exc
        layer = channels[backend]
        if workers and layer.process_local:
            raise CommandError(
                f"The channel backend {backend!r} is of one process, so that workers "
                "of --workers would hear nothing. Use Redis, or leave --workers out."
            )
        process = InterfaceProcess(
            parse_address(addrport),
            backend,
            workers=workers,
            worker_command=worker_command(backend),
            trust_proxy=trust_proxy,
        )
        process.start()
        self.stdout.write(f"Channels: {layer.describe()}")
        self.stdout.write(f"Listening at {process.address}. Quit with CONTROL-C.")
        self.stdout.flush()
        process.run()


def parse_address(text):
    """Return the address of gevent for "port", "host:port" or "[v6]:port"."""
    match = re.match(naiveip_re, text)
    if match is None:
        raise CommandError(f"{text!r} is not a port number or address:port.")
    address, ipv4, ipv6, _, port = match.groups()
    host = ipv6.strip("[]") if ipv6 else (address or "127.0.0.1")
    return host, int(port)


def worker_command(backend):
    """Return the command that runs a worker process of this site."""
    return [
        sys.executable,
        "-m",
        "django",
        "runworker",
        f"--backend={backend}",
        f"--settings={os.environ['DJANGO_SETTINGS_MODULE']}",
    ]
