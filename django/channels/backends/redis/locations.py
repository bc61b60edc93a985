"""
Where Redis is, and how to find the server that takes writes.

LOCATION is one of these, or a list of them to spread the queues over:

    redis://user:password@host:6379/0
    rediss://host:6379/0                                   over TLS
    unix:///run/redis/redis.sock?db=0
    redis+sentinel://host1:26379,host2:26379/service/0     asks Sentinel
    redis+cluster://host1:6379,host2:6379                  asks a cluster

rediss+sentinel:// and rediss+cluster:// use TLS. What stands behind "?" are
options of redis-py's connections.
"""

from urllib.parse import urlsplit

from redis.connection import Connection, parse_url
from redis.crc import key_slot
from redis.exceptions import ConnectionError, RedisError

from django.channels.exceptions import InvalidChannelBackend

# Seconds to wait for a reply, and for a connection, unless given.
SOCKET_TIMEOUT = 3
CONNECT_TIMEOUT = 1

# Seconds for which a pop blocks at most: what a connection that nobody answers
# any more can delay a receiver by.
BLOCK = SOCKET_TIMEOUT - 1

DEFAULTS = {
    "socket_timeout": SOCKET_TIMEOUT,
    "socket_connect_timeout": CONNECT_TIMEOUT,
    "protocol": 2,
}


class Server:
    """A server with a fixed address, given by `url`."""

    # True if another server may take over what this one has not passed on yet.
    replicated = False

    def __init__(self, url, options):
        self.options = DEFAULTS | parse_url(url) | options
        self.connection_class = self.options.pop("connection_class", Connection)
        if "path" not in self.options:
            self.options.setdefault("socket_keepalive", True)
        self.name = self.options.get("path") or "{host}:{port}".format(
            **{"host": "localhost", "port": 6379} | self.options
        )
        timeout = self.options["socket_timeout"] or SOCKET_TIMEOUT
        # Seconds for which a pop may block, so that its reply comes in time.
        self.block = min(BLOCK, max(timeout - 1, timeout / 2))

    def connect(self, key):
        """
        Return a connection to the server that has `key`. Raise a RedisError if
        there is none.
        """
        return self.open()

    def open(self, **address):
        """Return a connection to the server at an address, if not the own one."""
        connection = self.connection_class(**self.options | address)
        connection.connect()
        return connection


class Discovered(Server):
    """A server that others know, whose addresses are in `url`."""

    def __init__(self, url, options):
        parts = urlsplit(url)
        scheme = parts.scheme.partition("+")[0]
        user, _, hosts = parts.netloc.rpartition("@")
        self.hosts = [split_host(host) for host in hosts.split(",")]
        path = self.read_path(parts.path)
        own = f"{scheme}://{user}{'@' if user else ''}localhost{path}"
        super().__init__(f"{own}?{parts.query}" if parts.query else own, options)
        self.name = f"{hosts}{parts.path}"

    def read_path(self, path):
        """Return the part of the URL's path that names a database."""
        return path

    def ask(self, connection, *command):
        """Return the reply to a command, and close the connection."""
        try:
            connection.send_command(*command)
            return connection.read_response(disable_decoding=True)
        finally:
            connection.disconnect()

    def ask_first(self, function):
        """
        Return function(host, port) for the first of the hosts that answers, which
        is asked first the next time.
        """
        error = ConnectionError(f"None of {self.name} answers.")
        hosts = self.hosts
        for host in hosts:
            try:
                answer = function(*host)
            except RedisError as exc:
                error = exc
            else:
                # A new list, as other threads may be reading this one.
                self.hosts = [host, *(other for other in hosts if other != host)]
                return answer
        raise error


class SentinelServer(Discovered):
    """The server that is the master of a service, which sentinels know."""

    replicated = True

    def __init__(self, url, options):
        options = dict(options)
        self.sentinel_options = DEFAULTS | options.pop("sentinel", {})
        super().__init__(url, options)
        self.sentinel_class = self.connection_class

    def read_path(self, path):
        self.service, _, database = path.strip("/").partition("/")
        return f"/{database}"

    def connect(self, key):
        host, port = self.ask_first(self._ask_sentinel)
        connection = self.open(host=host, port=port)
        connection.send_command("ROLE")
        if connection.read_response(disable_decoding=True)[0] != b"master":
            connection.disconnect()
            raise ConnectionError(f"{host}:{port} is not the master any more.")
        return connection

    def _ask_sentinel(self, host, port):
        connection = self.sentinel_class(host=host, port=port, **self.sentinel_options)
        command = ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.service)
        address = self.ask(connection, *command)
        if address is None:
            raise ConnectionError(f"The sentinels know no service {self.service!r}.")
        return address[0].decode(), int(address[1])


class ClusterServer(Discovered):
    """The server of a cluster that has the slot of a key."""

    replicated = True

    def connect(self, key):
        slot = key_slot(key.encode())
        asked, ranges = self.ask_first(self._ask_node)
        for first, last, (host, port, *_), *_ in ranges:
            if first <= slot <= last:
                # Without a host, it is the one that was asked.
                host = host.decode() if host else asked
                return self.open(host=host, port=int(port))
        raise ConnectionError(f"No server of the cluster has the slot {slot}.")

    def _ask_node(self, host, port):
        options = self.options | {"host": host, "port": port}
        return host, self.ask(self.connection_class(**options), "CLUSTER", "SLOTS")


def split_host(text):
    """Return the host and the port in "host:port"."""
    parts = urlsplit(f"//{text}")
    return parts.hostname or "localhost", parts.port or 6379


KINDS = {
    "redis": Server,
    "rediss": Server,
    "unix": Server,
    "redis+sentinel": SentinelServer,
    "rediss+sentinel": SentinelServer,
    "redis+cluster": ClusterServer,
    "rediss+cluster": ClusterServer,
}


def parse_location(url, options, place):
    """
    Return the server at `url`, to which redis-py connects with `options`. `place`
    names the setting in the InvalidChannelBackend that a bad URL raises.
    """
    if not isinstance(url, str) or url.partition(":")[0] not in KINDS:
        raise InvalidChannelBackend(
            f"{place} must be a URL, or a list of URLs, that begin with one of "
            f"{', '.join(f'{scheme}://' for scheme in KINDS)}."
        )
    try:
        server = KINDS[url.partition(":")[0]](url, options)
        # It does not connect yet, but knows which options there are.
        server.connection_class(**server.options)
    except (ValueError, TypeError) as exc:
        # Without the URL, which may have a password.
        raise InvalidChannelBackend(
            f"{place} is not a URL of Redis, or the option CONNECTION has an argument "
            f"that redis-py does not know: {exc}"
        ) from exc
    return server
