"""The channel backends of the CHANNELS setting, made when first used."""

from django.channels.exceptions import InvalidChannelBackend
from django.core.signals import setting_changed
from django.utils.connection import BaseConnectionHandler
from django.utils.module_loading import import_string

DEFAULT_CHANNEL_ALIAS = "default"


class ChannelLayerHandler(BaseConnectionHandler):
    """
    Access by alias to the backends of the CHANNELS setting.

    Unlike database connections, a backend is one for all threads: in memory
    it is the place where they meet.
    """

    settings_name = "CHANNELS"
    exception_class = InvalidChannelBackend

    # In tests, what keeps the messages of this process apart from those of others.
    isolation = ""

    def __init__(self, settings=None):
        super().__init__(settings)
        self._backends = {}

    def __getitem__(self, alias):
        try:
            return self._backends[alias]
        except KeyError:
            # If two threads are here at once, both get the one that is stored.
            return self._backends.setdefault(alias, self.create_connection(alias))

    def __setitem__(self, alias, backend):
        self._backends[alias] = backend

    def __delitem__(self, alias):
        del self._backends[alias]

    def create_connection(self, alias):
        try:
            params = self.settings[alias]
            path = params["BACKEND"]
        except KeyError as exc:
            missing = f"[{alias!r}]" + ("['BACKEND']" if alias in self.settings else "")
            raise InvalidChannelBackend(
                f"There is no CHANNELS{missing} in the settings."
            ) from exc
        try:
            backend_class = import_string(path)
        except ImportError as exc:
            raise InvalidChannelBackend(
                f"The channel backend {path!r} of CHANNELS[{alias!r}] cannot be "
                f"imported: {exc}"
            ) from exc
        backend = backend_class(alias, params)
        if self.isolation:
            backend.isolate(self.isolation)
        return backend

    def all(self, initialized_only=False):
        aliases = self._backends if initialized_only else self
        return [self[alias] for alias in list(aliases)]

    def reset(self):
        """Close all backends and read the setting anew."""
        self.close_all()
        self._backends = {}
        self._settings = None
        self.__dict__.pop("settings", None)


channels = ChannelLayerHandler()


def _channels_changed(*, setting, **kwargs):
    if setting == ChannelLayerHandler.settings_name:
        channels.reset()


setting_changed.connect(_channels_changed)
