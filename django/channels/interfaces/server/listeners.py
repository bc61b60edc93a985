"""
The sockets that interface processes listen at: TCP ports and Unix sockets.

Several processes at one TCP port have a socket each (SO_REUSEPORT), and the system
spreads connections over them. A socket that is bound and does not listen keeps the
port for them meanwhile. Processes at one Unix socket inherit it.
"""

import errno
import os
import socket
import stat
from contextlib import suppress
from typing import NamedTuple

# Connections that the system takes before a process does.
BACKLOG = 1024

# A Unix socket is for its user and its group: whoever can connect to it may say,
# with --trust-proxy, to be any client.
MODE = 0o660

# The variable of the environment that tells a process of the socket to inherit.
VARIABLE = "DJANGO_CHANNELS_LISTENER"


class Listener:
    """
    The bound socket `sock`. If it has a file that is to be removed in the end, `path`
    is that. If others listen at the same one it `is_inherited`.
    """

    def __init__(self, sock, path=None, is_inherited=False):
        sock.setblocking(False)
        self.sock = sock
        self.name = describe(sock)
        self.is_inherited = is_inherited
        self._path = path
        self._file = path and identify(path)

    @property
    def environ(self):
        """What has to be set in the environ of an interface server."""
        # With it a process leaves some connections for the others.
        environ = {"wsgi.multiprocess": self.is_inherited}
        if self.sock.family not in (socket.AF_INET, socket.AF_INET6):
            # For requests that do not tell the host: there is no name and no port.
            environ |= {"SERVER_NAME": "localhost", "SERVER_PORT": "80"}
        return environ

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.close()

    def close(self):
        """Give back the socket, and its file unless somebody else has replaced it."""
        self.sock.close()
        if self._file is not None and self._file == identify(self._path):
            with suppress(OSError):
                os.unlink(self._path)


class TcpAddress(NamedTuple):
    """A port of a host, which is a name or an IPv4 or IPv6 address."""

    host: str
    port: int

    def listen(self):
        """Return a Listener. Raise OSError, with a sentence, if it cannot be had."""
        sock = self._bind()
        sock.listen(BACKLOG)
        return Listener(sock)

    def share(self):
        """
        Return a Listener for processes that inherit() it, and not for this one.
        Raise OSError, with a sentence, if it cannot be had.
        """
        if not hasattr(socket, "SO_REUSEPORT"):
            raise OSError(
                errno.EOPNOTSUPP,
                "This system has no SO_REUSEPORT, so that only one process can listen "
                "there. Leave --processes out, or use a Unix socket.",
            )
        if self.port:
            # Others that have said SO_REUSEPORT as well would share it unasked.
            self._bind().close()
        sock = self._bind(is_shared=True)
        return Listener(sock)

    def _bind(self, is_shared=False):
        try:
            family, *_, address = socket.getaddrinfo(
                self.host, self.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
        except OSError as exc:
            raise OSError(exc.errno, f"{self.host!r}: {exc.strerror}") from exc
        return bind(family, address, is_shared)


class UnixAddress(NamedTuple):
    """A Unix socket, with the mode of its file."""

    path: str
    mode: int = MODE

    def listen(self):
        """
        Return a Listener, which may be inherited as well. A file that is left of
        another one is replaced. Raise OSError, with a sentence, if it cannot be had.
        """
        if not hasattr(socket, "AF_UNIX"):
            raise OSError(errno.EOPNOTSUPP, "This system has no Unix sockets.")
        path = os.path.abspath(self.path)
        remove_stale(path)
        sock = socket.socket(socket.AF_UNIX)
        # The file has its mode from the beginning.
        before = os.umask(0o777 & ~self.mode)
        try:
            sock.bind(path)
        except OSError as exc:
            sock.close()
            # A path that is too long has no number.
            raise OSError(exc.errno, exc.strerror or str(exc)) from exc
        finally:
            os.umask(before)
        sock.listen(BACKLOG)
        return Listener(sock, path)

    share = listen


def inherit():
    """Return the Listener of a process that was started with sharing(), or None."""
    descriptor = os.environ.pop(VARIABLE, None)
    if descriptor is None:
        return None
    sock = socket.socket(fileno=int(descriptor))
    if sock.family not in (socket.AF_INET, socket.AF_INET6):
        return Listener(sock, is_inherited=True)
    with sock:
        beside = bind(sock.family, sock.getsockname(), is_shared=True)
    beside.listen(BACKLOG)
    return Listener(beside)


def sharing(listener):
    """Return the arguments of subprocess.Popen for a process that is to inherit()."""
    descriptor = listener.sock.fileno()
    return {
        "environ": {**os.environ, VARIABLE: str(descriptor)},
        "pass_fds": [descriptor],
    }


def describe(sock):
    """Return the address of a socket, as people write it."""
    address = sock.getsockname()
    if not isinstance(address, tuple):
        return f"unix:{address}"
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def bind(family, address, is_shared=False):
    """Return a TCP socket that is bound, with `is_shared` beside others."""
    sock = socket.socket(family)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if is_shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(address)
    except OSError:
        sock.close()
        raise
    return sock


def remove_stale(path):
    """
    Remove the file of a Unix socket that nobody listens at. Raise OSError, with a
    sentence, if somebody does, or if it is something else.
    """
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise OSError(errno.EEXIST, "There is a file that is no socket.")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(1)
        try:
            sock.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except OSError as exc:
            raise OSError(
                exc.errno, f"Another process may listen there: {exc}."
            ) from exc
    raise OSError(errno.EADDRINUSE, "Another process listens there.")


def identify(path):
    """Return what tells a file from another one of its name, or None without one."""
    try:
        about = os.lstat(path)
    except OSError:
        return None
    return about.st_dev, about.st_ino
