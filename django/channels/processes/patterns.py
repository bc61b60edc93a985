"""Choosing channels by patterns such as "myapp.*"."""

from fnmatch import fnmatchcase


class ChannelPatterns:
    """
    Serves the channels that match one of `include`, all if it is empty, and none
    of `exclude`. Both are lists of patterns in the manner of a shell.
    """

    def __init__(self, include=(), exclude=()):
        self.include = list(include)
        self.exclude = list(exclude)

    def serves(self, name):
        """Return whether the channel `name` is chosen."""
        return (not self.include or matches(name, self.include)) and not matches(
            name, self.exclude
        )

    def unmatched(self, names):
        """Return the patterns that match none of these channels."""
        return [
            pattern
            for pattern in self.include + self.exclude
            if not any(fnmatchcase(name, pattern) for name in names)
        ]


def matches(name, patterns):
    """Return whether the name of a channel matches one of `patterns`."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)
