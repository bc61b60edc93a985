import os
import re
import sys
from contextlib import nullcontext
from functools import partial
from ipaddress import ip_address

from django.channels.interfaces.server.listeners import (
    TcpAddress,
    UnixAddress,
    inherit,
)
from django.channels.interfaces.server.supervising import InterfaceSupervisor
from django.channels.layers import DEFAULT_CHANNEL_ALIAS, channels
from django.channels.processes.console import log_to_console
from django.channels.processes.link import take_link
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError
from django.core.management.commands.runserver import naiveip_re
from django.core.management.commands.runworker import positive
from django.utils import autoreload


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
            "--processes",
            type=positive,
            help=(
                "Start this many interface processes at the same address, and replace "
                "those that end. Without it this process does the work."
            ),
        )
        parser.add_argument(
            "--socket-mode",
            type=file_mode,
            default="660",
            metavar="MODE",
            help=(
                "The mode of a Unix socket. Defaults to 660: the proxy has to be of "
                "the same user or group. With 666 all users of the host may connect."
            ),
        )
        parser.add_argument(
            "--status",
            metavar="ADDR",
            help=(
                "Tell at this address:port of the loopback interface, or unix:path, "
                "what the processes do: / as JSON, /metrics for Prometheus and /health."
            ),
        )
        parser.add_argument(
            "--tls-certificate",
            metavar="FILE",
            help=(
                "Serve https and wss with the certificate in this PEM file, followed "
                "there by those that lead to its root. A proxy does so at less cost."
            ),
        )
        parser.add_argument(
            "--tls-key",
            metavar="FILE",
            help="The PEM file with the private key of the certificate.",
        )
        parser.add_argument(
            "--trust-proxy",
            action="store_true",
            help=(
                "Take the address and the scheme of clients from X-Forwarded-For and "
                "X-Forwarded-Proto. Only behind a proxy that sets both."
            ),
        )

    def handle(self, backend, **options):
        link = take_link()
        backend = self.get_backend(backend, **options)
        make_process = self.get_process(backend, **options)
        if options["verbosity"]:
            log_to_console(without=["django.channels.access"])
        if link is not None:
            with inherit() as listener:
                process = make_process(listener, link=link)
                process.start()
                process.run()
        elif options["processes"]:
            self.supervise(backend, **options)
        else:
            self.serve_alone(backend, make_process, **options)

    def get_backend(self, backend, workers, processes, **options):
        try:
            layer = channels[backend]
        except ImproperlyConfigured as exc:
            raise CommandError(str(exc)) from exc
        if workers and layer.process_local:
            raise CommandError(
                f"The channel backend {backend!r} is of one process, so that workers "
                "of --workers would hear nothing. Use Redis, or leave --workers out."
            )
        if processes and layer.process_local:
            raise CommandError(
                f"The channel backend {backend!r} is of one process, so that a group "
                "would have the clients of one of --processes only. Use Redis, or "
                "leave --processes out."
            )
        return layer

    def get_process(self, backend, trust_proxy, tls_certificate, tls_key, **options):
        """Return a function of a Listener that returns the InterfaceProcess."""
        try:
            from django.channels.interfaces.server.running import InterfaceProcess
            from django.channels.interfaces.server.tls import make_context
        except ModuleNotFoundError as exc:
            raise CommandError(
                f"runinterface needs the package {exc.name}: "
                'python -m pip install "Django[gevent]"'
            ) from exc
        context = None
        if (tls_certificate is None) != (tls_key is None):
            raise CommandError("--tls-certificate and --tls-key go together.")
        if tls_key is not None:
            try:
                context = make_context(tls_certificate, tls_key)
            except ImproperlyConfigured as exc:
                raise CommandError(str(exc)) from exc
        return partial(
            InterfaceProcess,
            alias=backend.alias,
            trust_proxy=trust_proxy,
            context=context,
        )

    def supervise(self, backend, addrport, processes, workers, **options):
        """Run several processes that serve, and workers."""
        with (
            listen(addrport, is_shared=True, **options) as listener,
            listen_for_status(**options) as status,
        ):
            InterfaceSupervisor(
                listener,
                # Checks have been made.
                [*autoreload.get_child_arguments(), "--skip-checks"],
                processes,
                lambda: self.tell(backend, listener, status),
                backend=backend,
                workers=workers,
                worker_command=worker_command(backend.alias),
                status=status,
            ).run()

    def serve_alone(self, backend, make_process, addrport, workers, **options):
        """Serve in this process, and run workers."""
        with (
            listen(addrport, **options) as listener,
            listen_for_status(**options) as status,
        ):
            process = make_process(
                listener,
                workers=workers,
                worker_command=worker_command(backend.alias),
                status=status,
            )
            process.start()
            self.tell(backend, listener, status)
            process.run()

    def tell(self, backend, listener, status):
        """Say what runs."""
        self.stdout.write(f"Channels: {backend.describe()}")
        if status is not None:
            self.stdout.write(f"Status at {status.name}.")
        self.stdout.write(f"Listening at {listener.name}. Quit with CONTROL-C.")
        self.stdout.flush()


def file_mode(value):
    """Return the mode of a file that octal digits stand for, or raise ValueError."""
    mode = int(value, 8)
    if not 0 < mode <= 0o777:
        raise ValueError
    return mode


file_mode.__name__ = "mode of a file"  # For the error of the parser.


def listen(text, socket_mode, is_shared=False, **options):
    """Return the Listener at an address, with `is_shared` for several processes."""
    address = parse_address(text, socket_mode)
    try:
        return address.share() if is_shared else address.listen()
    except OSError as exc:
        reason = exc.strerror.rstrip(".")
        raise CommandError(f"Cannot listen at {text}. {reason}.") from exc


def listen_for_status(status, **options):
    """Return the Listener of --status, or a context manager with None without it."""
    if status is None:
        return nullcontext()
    address = parse_address(status, options["socket_mode"])
    if isinstance(address, TcpAddress) and not is_loopback(address.host):
        raise CommandError(
            f"--status={status} could be asked from other hosts. Use an address such "
            "as 127.0.0.1:9000 or unix:/path/of/socket, and let a proxy pass on what "
            "others may see."
        )
    return listen(status, **options)


def is_loopback(host):
    """Return whether a host is this one, for this one only."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def parse_address(text, mode):
    """
    Return the address in "port", "host:port", "[v6]:port" or "unix:path". The file of
    a Unix socket gets the mode given.
    """
    if text.startswith("unix:") and len(text) > 5:
        return UnixAddress(text.removeprefix("unix:"), mode)
    match = re.match(naiveip_re, text)
    if match is None:
        raise CommandError(
            f"{text!r} is not a port number, address:port or unix:path of a socket."
        )
    address, ipv4, ipv6, _, port = match.groups()
    host = ipv6.strip("[]") if ipv6 else (address or "127.0.0.1")
    return TcpAddress(host, int(port))


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
