"""The Lua scripts of this package, which the servers keep by their hashes."""

import hashlib
from pathlib import Path


class Script:
    """A Lua script in the file `name` of this package."""

    def __init__(self, name):
        self.source = (Path(__file__).parent / name).read_bytes()
        self.digest = hashlib.sha1(self.source).hexdigest()


SCRIPTS = {
    name: Script(f"{name}.lua")
    for name in (
        "announce",
        "delay",
        "due",
        "inboxes",
        "join",
        "leave",
        "look",
        "pop",
        "push",
        "restore",
    )
}


def script_command(name, keys, *arguments):
    """Return the command that runs a script which the server knows."""
    return ("EVALSHA", SCRIPTS[name].digest, len(keys), *keys, *arguments)


def with_source(command):
    """Return a command of script_command() for a server that does not know it."""
    if command[0] != "EVALSHA":
        return command
    (source,) = [
        script.source for script in SCRIPTS.values() if script.digest == command[1]
    ]
    return ("EVAL", source, *command[2:])
