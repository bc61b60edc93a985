"""
TLS in the interface process itself, for where no proxy does it.

A connection begins with a handshake (RFC 8446), in its own greenlet and in the time
that the head of a request may take. From then on its socket is a TlsSocket, which
the hub can use for a WebSocket as it uses a plain one.
"""

import logging
import ssl
from contextlib import suppress
from socket import MSG_PEEK, SHUT_WR

import gevent
import gevent.ssl

from django.channels.interfaces.http.writing import simple_response
from django.channels.interfaces.server.handlers import READ_SIZE, ConnectionHandler
from django.channels.interfaces.server.servers import InterfaceServer
from django.channels.interfaces.server.wires import Wire
from django.core.exceptions import ImproperlyConfigured

logger = logging.getLogger("django.channels.interface")

# The first byte of a client that speaks TLS: the type of a record with a part of a
# handshake (RFC 8446, section 5.1).
HANDSHAKE = b"\x16"

# Bytes that a record has at most. The hub must not receive less at once: the rest
# would stay where it does not see it.
RECORD_SIZE = 2**14

WANTS = (ssl.SSLWantReadError, ssl.SSLWantWriteError)


class TlsSocket(gevent.ssl.SSLSocket):
    """
    A socket of gevent that ends as TLS asks for, with an alert (RFC 8446, section
    6.1), and that is as a plain one when it is not blocking.
    """

    def send(self, data, *args, **kwargs):
        if self.timeout != 0:
            return super().send(data, *args, **kwargs)
        try:
            return self.write(data)
        except WANTS:
            raise BlockingIOError from None

    def recv(self, size=RECORD_SIZE, flags=0):
        if self.timeout != 0:
            return super().recv(size, flags)
        try:
            return super().recv(max(size, RECORD_SIZE), flags)
        except WANTS:
            raise BlockingIOError from None

    def shutdown(self, how):
        self._say_end()
        # What comes from now on is not decrypted, and thrown away.
        super().shutdown(how)

    def close(self):
        self._say_end()
        super().close()

    def _say_end(self):
        if self._sslobj is not None:
            self.settimeout(0)
            with suppress(OSError, ValueError):
                self.unwrap()


class Context(gevent.ssl.SSLContext):
    sslsocket_class = TlsSocket


class TlsWire(Wire):
    """A Wire whose socket is a TlsSocket."""

    __slots__ = ()

    @staticmethod
    def take(sock):
        return sock

    def cut(self, data):
        # OpenSSL has made a record of what did not fit, and has to send all of it.
        self._has_begun = True
        super().cut(data)


class TlsHandler(ConnectionHandler):
    """Serves a connection with TLS."""

    def handle(self):
        try:
            is_secure = self._shake_hands()
        except OSError as exc:
            self.server.counters["tls.failed"] += 1
            logger.debug("A client has no TLS connection: %s", exc)
            is_secure = False
        if is_secure:
            super().handle()
        else:
            self.socket.close()

    def _shake_hands(self):
        """Return whether the client speaks TLS. Raise OSError if that goes wrong."""
        with gevent.Timeout(self.limits.head_time, TimeoutError):
            first = self.socket.recv(1, MSG_PEEK)
            if first == HANDSHAKE:
                self.socket = self.server.context.wrap_socket(
                    self.socket, server_side=True
                )
                return True
            self.server.counters["tls.plain"] += 1
            if first:
                self.socket.sendall(
                    simple_response(
                        400, "This port is for https.", server=self.server.name
                    )
                )
                self.socket.shutdown(SHUT_WR)
                while self.socket.recv(READ_SIZE):
                    pass
            return False

    def peek(self):
        # There is no looking into a record without taking it.
        if not self.buffer:
            self.socket.settimeout(0)
            self.buffer = self.socket.recv()
        return self.buffer[:1]


class TlsServer(InterfaceServer):
    """An InterfaceServer for https and wss, with `context`, see make_context()."""

    handler_class = TlsHandler
    wire_class = TlsWire
    scheme = "https"

    def __init__(self, *args, context, **options):
        self.context = context
        super().__init__(*args, **options)


def make_context(certificate, key):
    """
    Return the Context with files in PEM format: the certificate, followed by those
    that lead to its root, and its private key. Raise ImproperlyConfigured.
    """
    context = Context(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    for path in (certificate, key):
        try:
            with open(path, "rb"):
                pass
        except OSError as exc:
            raise ImproperlyConfigured(
                f"The file {path!r} cannot be read: {exc.strerror}."
            ) from exc
    try:
        context.load_cert_chain(certificate, key, password=_refuse_password)
    except ssl.SSLError as exc:
        if exc.reason == "KEY_VALUES_MISMATCH":
            sentence = f"The key in {key!r} is not that of the certificate."
        else:
            sentence = (
                f"There is no certificate in {certificate!r}, or no key in {key!r}."
            )
        raise ImproperlyConfigured(
            f"{sentence} Both have to be in PEM format."
        ) from exc
    return context


def _refuse_password():
    raise ImproperlyConfigured("The key must not have a password: nobody is asked.")
