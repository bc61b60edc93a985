"""The channel layers that are measured, and the servers that they need."""

import json
import tempfile
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from fork.base import run, say

from .inprocess import Caller

BACKENDS = "django.channels.backends"
MEMORY = {"BACKEND": f"{BACKENDS}.memory.MemoryBackend"}
REDIS = {"BACKEND": f"{BACKENDS}.redis.RedisBackend"}
DATABASE = {"BACKEND": f"{BACKENDS}.database.DatabaseBackend"}

# Messages that wait for a worker to drain them.
CAPACITY = 50_000

TITLES = {
    "memory": "memory",
    "text": "memory as text",
    "redis": "Redis",
    "socket": "Redis by socket",
    "sqlite": "SQLite",
    "postgresql": "PostgreSQL",
}
# Those that workers can share.
REMOTE = ("redis", "socket", "sqlite", "postgresql")


@dataclass(frozen=True)
class Store:
    """
    A channel layer: its settings, those of the database that it keeps messages
    in, and the URL of its server if that is Redis.
    """

    key: str
    channels: dict
    database: dict = None
    redis: str = ""

    @property
    def title(self):
        return TITLES[self.key]

    @property
    def environment(self):
        """Return what the environment of a site adds that uses the layer."""
        extra = {"BENCH_CHANNELS": json.dumps(self.channels), "BENCH_REDIS": self.redis}
        if self.database:
            extra["BENCH_DATABASE"] = json.dumps(self.database)
        return extra


class ServersProcess(Caller):
    module = "benchmarks.layers_servers"


@contextmanager
def open_stores(side, keys):
    """
    Give a dict of the Stores with these keys. Those that there is no server for
    are left out with a note.
    """
    with ExitStack() as stack:
        servers = stack.enter_context(ServersProcess(side))
        stores = {}
        if "memory" in keys:
            stores["memory"] = Store("memory", MEMORY | {"OPTIONS": {"THREADS": 0}})
        if "text" in keys:
            options = {"THREADS": 0, "SERIALIZE": True}
            stores["text"] = Store("text", MEMORY | {"OPTIONS": options})
        if "redis" in keys or "socket" in keys:
            stores |= redis_stores(servers.ask("start_redis"), keys)
        if "sqlite" in keys:
            folder = stack.enter_context(tempfile.TemporaryDirectory(dir=side.scratch))
            database = {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": f"{folder}/db.sqlite3",
            }
            stores["sqlite"] = database_store(side, "sqlite", database)
        if "postgresql" in keys:
            database = servers.ask("start_postgresql")
            if is_there("PostgreSQL", database):
                stores["postgresql"] = database_store(side, "postgresql", database)
        yield stores


def is_there(name, answer):
    """Return whether a server has been started, after a note if it has not."""
    if "missing" in answer:
        say(f"NOTE: its rows are left out, as {name} is not there: {answer['missing']}")
    return "missing" not in answer


def redis_stores(answer, keys):
    if not is_there("Redis", answer):
        return {}
    urls = {"redis": answer["tcp"], "socket": answer["socket"]}
    return {
        key: Store(key, REDIS | {"LOCATION": url, "CAPACITY": CAPACITY}, redis=url)
        for key, url in urls.items()
        if key in keys
    }


def database_store(side, key, database):
    """Return the Store of a database, in which tables are made."""
    store = Store(key, DATABASE, database)
    command = (side.python, "-m", "django", "migrate", "--skip-checks")
    env = side.environment(**store.environment)
    run(*command, "django_channels", cwd=side.scratch, env=env)
    return store
