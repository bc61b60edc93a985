"""
The groups of RedisBackend. What is known of a group lies on one shard: a sorted
set of the inboxes with members, by when they expire, and for each of them the
set of its members.
"""

from django.channels.backends.redis.scripts import script_command


class RedisGroups:
    """The part of RedisBackend that has to do with groups."""

    def _group_keys(self, group, inbox):
        shard = self._ranked(group)[0]
        return shard, [shard.key("group", group), shard.key("members", group, inbox)]

    def join(self, group, inbox, channels):
        shard, keys = self._group_keys(group, inbox)
        lifetime = round(self.expiry * 1000)
        command = script_command("join", keys, inbox, lifetime, *channels)
        return shard.session.call(command)[0]

    def renew(self, group, inbox, channels):
        if not self.join(group, inbox, []):
            self.join(group, inbox, channels)

    def leave(self, group, inbox, channels):
        shard, keys = self._group_keys(group, inbox)
        shard.session.call(script_command("leave", keys, inbox, *channels))

    def inboxes(self, group):
        shard = self._ranked(group)[0]
        key = shard.key("group", group)
        (inboxes,) = shard.session.call(script_command("inboxes", [key]))
        return [inbox.decode() for inbox in inboxes]

    def members(self, group):
        inboxes, shard = self.inboxes(group), self._ranked(group)[0]
        if not inboxes:
            return {}
        keys = [shard.key("members", group, inbox) for inbox in inboxes]
        members = shard.session.call(*(("SMEMBERS", key) for key in keys))
        return {
            inbox: [channel.decode() for channel in channels]
            for inbox, channels in zip(inboxes, members)
            if channels
        }
