"""
The channel backend on Redis or Valkey.

* backend: RedisBackend, which the CHANNELS setting names.
* groups: the part of it that has to do with groups.
* delays: how delayed messages come into their queues.
* shards: one server, or one part of a cluster, that holds some of the queues.
* sessions: the connection of one thread to one shard.
* locations: what LOCATION may say, and how the server is found.
* push.lua and the other scripts: what has to happen at once in the store.

The keys, of which each ends in the name of what it is for:

    django-channels:queue:myapp.new_view     a list of envelopes, oldest first
    django-channels:delayed:myapp.new_view   envelopes, by when they are due
    django-channels:delays                   queues with such, by the first of them
    django-channels:body:9c1f03aa77b2-1e     the text of a large envelope
    django-channels:group:chat               inboxes with members, by expiry
    django-channels:members:chat:<inbox>     the members in one inbox
    django-channels:processes                names of processes, by expiry
    django-channels:process:<name>           what a process says of itself

All expire by themselves. In a cluster the prefix is a hash tag, such as
"{django-channels:0}:", so that what is used together lies together.
"""

from django.channels.backends.redis.backend import RedisBackend

__all__ = ["RedisBackend"]
