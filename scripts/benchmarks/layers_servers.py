"""
The process that runs the servers of the benchmark of layers.

It is asked as caller.py is, and starts the servers that the tests use. They end
with it, whichever way it ends.
"""

import sys
from pathlib import Path
from unittest import SkipTest

from benchmarks.caller import serve

import django

# Beside the package, as in a checkout of Django.
sys.path.append(str(Path(django.__file__).resolve().parent.parent / "tests"))


def start(make):
    """Return what a function tells of a server, or why there is none."""
    try:
        return make()
    except (SkipTest, AssertionError) as exc:
        return {"missing": str(exc)}


def start_redis():
    def make():
        from channels.redis_servers import shared_redis

        server = shared_redis()
        return {"tcp": server.url, "socket": server.unix_url}

    return start(make)


def start_postgresql():
    def make():
        from channels.databases import PostgreSQLServer, shared_server

        return shared_server(PostgreSQLServer).settings()

    return start(make)


if __name__ == "__main__":
    django.setup()
    serve([start_redis, start_postgresql])
