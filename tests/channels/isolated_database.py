import os
from pathlib import Path

from django.apps import apps
from django.channels.backends.database import DatabaseBackend
from django.db import connections
from django.db.utils import load_backend


class IsolatedDatabaseBackend(DatabaseBackend):
    """
    Keeps messages in an SQLite file that this process has for its alias, in the
    folder of the database "channels_<alias>".
    """

    def __init__(self, alias, params):
        super().__init__(alias, {**params, "LOCATION": f"channels_{alias}"})

    def reset(self):
        settings = connections.settings[self.location]
        folder = Path(settings["NAME"]).parent
        settings["NAME"] = str(folder / f"{self.alias}-{os.getpid()}.sqlite3")
        if not os.path.exists(settings["NAME"]):
            self._make_tables(settings)
        super().reset()

    def _make_tables(self, settings):
        # Not by the connection of that database, which tests may be denied.
        wrapper = load_backend(settings["ENGINE"]).DatabaseWrapper(settings, "tables")
        connections["tables"] = wrapper
        try:
            with wrapper.schema_editor() as editor:
                for model in apps.all_models["django_channels"].values():
                    editor.create_model(model)
        finally:
            wrapper.close()
            del connections["tables"]

    def _check_location(self):
        """The app does not have to be installed for these tables."""
