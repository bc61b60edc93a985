import os

from django.channels.backends.redis import RedisBackend


class IsolatedRedisBackend(RedisBackend):
    """
    Keeps the messages of test processes that run beside each other apart, and those
    of several aliases.
    """

    def __init__(self, alias, params):
        super().__init__(alias, params)
        self._set_prefixes()

    def reset(self):
        super().reset()
        self._set_prefixes()

    def _set_prefixes(self):
        for shard in self.shards:
            shard.prefix = f"{self.options['PREFIX']}-{os.getpid()}-{self.alias}:"
