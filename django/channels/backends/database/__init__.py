"""
The channel backend on a database that Django supports.

It is for development and tests: processes meet in it without another server,
but a database does much more work for a message than Redis does.

* backend: DatabaseBackend, which the CHANNELS setting names.
* delays: the part of it that has to do with delayed messages.
* links: the connection of one thread, and what its errors mean.
* waiting: how a receiver learns that there may be a message.
* django.channels.models: the tables and what is done with them.
"""

from django.channels.backends.database.backend import DatabaseBackend

__all__ = ["DatabaseBackend"]
