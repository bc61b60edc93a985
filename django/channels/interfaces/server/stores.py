"""
Channel backends for a gevent hub.

The hub must never wait for a store. On Redis it talks to the server itself, by
connections of redis-py over gevent's sockets. Other backends are used from a
thread beside the hub, see django.channels.interfaces.server.relays.
"""

import gevent.ssl
from gevent import get_hub, socket
from gevent.local import local as greenlet_local
from redis.connection import SSLConnection

from django.channels.backends.redis import RedisBackend
from django.channels.interfaces.server.yielding import give_way

# Characters above which a message takes long.
LARGE = 2**16


def attempt(function):
    """
    Return what `function` returns and None, or None and what it raises: gevent
    prints what is raised in its threads.
    """
    try:
        return function(), None
    except Exception as exc:
        return None, exc


class Cooperative:
    """Mixed into a Connection of redis-py: lets other greenlets run while it waits."""

    def _connect(self):
        # Names are resolved, and the server is connected to, in a thread.
        connect = super(SSLConnection if self._is_tls else Cooperative, self)._connect
        plain, error = get_hub().threadpool.apply(attempt, (connect,))
        if error is not None:
            raise error
        sock = socket.socket(
            plain.family, plain.type, plain.proto, fileno=plain.detach()
        )
        sock.settimeout(self.socket_timeout)
        return self._wrap(sock) if self._is_tls else sock

    @property
    def _is_tls(self):
        return isinstance(self, SSLConnection)

    def _wrap(self, sock):
        """Return `sock` with TLS, as SSLConnection would, but not blocking."""
        context = gevent.ssl.SSLContext(gevent.ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = self.check_hostname
        context.verify_mode = self.cert_reqs
        if self.certfile or self.keyfile:
            context.load_cert_chain(
                self.certfile, self.keyfile, self.certificate_password
            )
        if self.ca_certs or self.ca_path or self.ca_data:
            context.load_verify_locations(self.ca_certs, self.ca_path, self.ca_data)
        else:
            context.load_default_certs()
        if self.ssl_min_version is not None:
            context.minimum_version = self.ssl_min_version
        if self.ssl_ciphers:
            context.set_ciphers(self.ssl_ciphers)
        return context.wrap_socket(sock, server_hostname=self.host)


class HubRedisBackend(RedisBackend):
    """
    A RedisBackend whose every greenlet has connections of its own, and lets others
    go ahead before each large message: to sign one of a megabyte takes milliseconds.
    """

    def __init__(self, alias, params):
        super().__init__(alias, params)
        for shard in self.shards:
            shard.local_class = greenlet_local
            shard.reset()
            plain = shard.server.connection_class
            shard.server.connection_class = type(
                f"Cooperative{plain.__name__}", (Cooperative, plain), {}
            )

    def push_command(self, shard, queue, messages, insist=False):
        if len(messages[0][1]) > LARGE:
            give_way()
        return super().push_command(shard, queue, messages, insist)

    def pack(self, message):
        packed = super().pack(message)
        if len(packed) > LARGE:
            give_way()
        return packed

    def open(self, envelope, queue, now):
        if len(envelope) > LARGE:
            give_way()
        return super().open(envelope, queue, now)

    def unpack(self, packed):
        if len(packed) > LARGE:
            give_way()
        return super().unpack(packed)
