from django.channels.backends.memory import MemoryBackend


class RemoteBackend(MemoryBackend):
    """Stands for a store outside of the process: workers run the consumers."""

    process_local = False
    default_options = MemoryBackend.default_options | {"SERIALIZE": True}
