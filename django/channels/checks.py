"""
System checks: what is wrong with the settings and the consumers of a site, before
the first message finds out. django.core.checks.channels registers them.
"""

import traceback
from importlib.util import find_spec

from django.channels.exceptions import (
    DuplicateConsumer,
    InvalidChannelBackend,
    InvalidChannelName,
)
from django.channels.interfaces.runserver import PACKAGES
from django.channels.interfaces.server.settings import read_limits
from django.channels.interfaces.wsgi import REQUEST_CHANNEL
from django.channels.layers import DEFAULT_CHANNEL_ALIAS, channels
from django.channels.registry import registry
from django.channels.routing import WEBSOCKET, Router
from django.conf import settings
from django.core.checks import Error, Warning
from django.core.exceptions import ImproperlyConfigured
from django.utils import autoreload

BACKENDS_OF_DJANGO = (
    "django.channels.backends.memory.MemoryBackend",
    "django.channels.backends.redis.RedisBackend",
    "django.channels.backends.database.DatabaseBackend",
)

# What a consumer raises that cannot be registered.
FAULTS = (ImproperlyConfigured, InvalidChannelName)


def check_backends():
    """Check that the backends of the CHANNELS setting can be made."""
    if not has_dicts():
        return [
            Error(
                "CHANNELS must be a dictionary of dictionaries.",
                hint="Each is a channel backend: "
                f'CHANNELS = {{"default": {{"BACKEND": "{BACKENDS_OF_DJANGO[0]}"}}}}',
                id="channels.E001",
            )
        ]
    errors = []
    if DEFAULT_CHANNEL_ALIAS not in settings.CHANNELS:
        errors.append(
            Error(
                f"There is no CHANNELS[{DEFAULT_CHANNEL_ALIAS!r}] in the settings.",
                hint="Requests travel on this backend.",
                id="channels.E002",
            )
        )
    for alias in settings.CHANNELS:
        errors += check_backend(alias)
    return errors


def check_backend(alias):
    """Check that the backend `alias` can be made."""
    try:
        channels[alias]
    except InvalidChannelBackend as exc:
        hint = None
        if isinstance(exc.__cause__, ImportError):
            hint = f"Django has {', '.join(map(repr, BACKENDS_OF_DJANGO))}."
        return [Error(str(exc), hint=hint, id="channels.E003")]
    except ImproperlyConfigured as exc:
        # A package is missing. The sentence tells how to install it.
        return [Error(f"CHANNELS[{alias!r}]: {exc}", id="channels.E004")]
    except Exception as exc:
        fault = f"CHANNELS[{alias!r}] cannot be used: {type(exc).__name__}: {exc}"
        return [Error(fault, id="channels.E003")]
    return []


def has_dicts():
    """Return whether CHANNELS is of the right kind, whatever is in it."""
    setting = settings.CHANNELS
    return isinstance(setting, dict) and all(
        isinstance(params, dict) for params in setting.values()
    )


def check_settings():
    """Check the settings of channels other than CHANNELS."""
    faults = [
        find_fault_of_limits(),
        find_fault_of_size(),
        find_fault_of_origins(),
        find_fault_of_keys(),
    ]
    return [Error(fault, id="channels.E005") for fault in faults if fault is not None]


def find_fault_of_limits():
    if not isinstance(settings.CHANNELS_LIMITS, dict):
        return "CHANNELS_LIMITS must be a dictionary."
    try:
        read_limits()
    except ImproperlyConfigured as exc:
        return str(exc)


def find_fault_of_size():
    size = settings.CHANNELS_MAX_BODY_SIZE
    if size is not None and (type(size) is not int or size < 0):
        return f"CHANNELS_MAX_BODY_SIZE must be a number of bytes or None: {size!r}."


def find_fault_of_origins():
    origins = settings.CHANNELS_ALLOWED_ORIGINS
    if not isinstance(origins, (list, tuple, set, frozenset)):
        return "CHANNELS_ALLOWED_ORIGINS must be a list."
    for origin in origins:
        if not is_origin(origin):
            return (
                f"CHANNELS_ALLOWED_ORIGINS has {origin!r}, which no origin matches. "
                "Use a scheme and a host without a path, such as 'https://example.com' "
                "or 'https://*.example.com', or '*' for all."
            )


def is_origin(value):
    """Return whether an origin (RFC 6454, section 6.2) may match `value`."""
    if not isinstance(value, str):
        return False
    scheme, separator, host = value.partition("://")
    return value in ("*", "null") or bool(scheme and separator and "/" not in host)


def find_fault_of_keys():
    keys = settings.CHANNELS_META_KEYS
    if not isinstance(keys, (list, tuple, set, frozenset)) or not all(
        isinstance(key, str) for key in keys
    ):
        return "CHANNELS_META_KEYS must be a list of strings."


def check_consumers():
    """Check that the consumers of all apps can be registered, and can run."""
    try:
        consumers = find_consumers()
    except FAULTS as exc:
        is_duplicate = isinstance(exc, DuplicateConsumer)
        places = exc.places if is_duplicate else [failing_place(exc)]
        return [Error(str(exc), hint=tell_places(*places), id="channels.E006")]
    return [
        *check_aliases(consumers),
        *check_routes(consumers),
        *check_packages(consumers),
    ]


def find_consumers():
    """Return the consumers of the site by (backend, channel)."""
    try:
        return registry.registered()
    except FAULTS as exc:
        # The development server starts again when the file at fault changes.
        autoreload._error_files.append(failing_place(exc)[0])
        raise


def failing_place(exc):
    """Return the file and the line of the site at which an exception was raised."""
    place = None
    for frame, line in traceback.walk_tb(exc.__traceback__):
        name = frame.f_globals.get("__name__", "")
        if place is None or not name.startswith(("django.", "importlib.")):
            place = frame.f_code.co_filename, line
    return place


def tell_places(*places):
    """Return a sentence that names files and lines, unless they are not known."""
    known = [f"{place[0]}, line {place[1]}" for place in places if place is not None]
    return f"See {' and '.join(known)}." if known else None


def check_aliases(consumers):
    """Check that consumers are those of backends that CHANNELS has."""
    if not has_dicts():
        return []  # Another check has told.
    return [
        Error(
            f"The consumer {consumer} of {channel!r} is registered for the channel "
            f"backend {alias!r}, which CHANNELS does not have.",
            hint=tell_places(consumer.place),
            id="channels.E007",
        )
        for (alias, channel), consumer in consumers.items()
        if alias not in settings.CHANNELS
    ]


def check_routes(consumers):
    """Check that URL patterns lead to channels that have a consumer."""
    errors = []
    # A router has several channels.
    for router in dict.fromkeys(consumers.values()):
        if not isinstance(router, Router):
            continue
        for name in router.routes.targets:
            try:
                router.consumers(name)
            except ImproperlyConfigured as exc:
                hint = tell_places(router.place)
                errors.append(Error(str(exc), hint=hint, id="channels.E008"))
    return errors


def check_packages(consumers):
    """Check that there is what serves WebSockets, if there are consumers of them."""
    missing = [package for package in PACKAGES if find_spec(package) is None]
    channel = next((name for _, name in consumers if name.startswith(WEBSOCKET)), None)
    if channel is None or not missing:
        return []
    return [
        Warning(
            f"{channel!r} has a consumer, but WebSockets cannot be served here: "
            f"{' and '.join(missing)} cannot be imported.",
            hint='python -m pip install "Django[gevent]"',
            id="channels.W001",
        )
    ]


def check_production():
    """Check that the backends are fit for several processes and much traffic."""
    try:
        consumers = find_consumers()
    except FAULTS:
        return []  # Other checks have told.
    warnings = []
    for alias in settings.CHANNELS if has_dicts() else []:
        if check_backend(alias):
            continue
        if channels[alias].for_development:
            warnings.append(warn_of_development(alias))
        handles = [name for backend, name in consumers if backend == alias]
        if channels[alias].process_local and set(handles) - {REQUEST_CHANNEL}:
            warnings.append(warn_of_processes(alias))
    return warnings


def warn_of_development(alias):
    return Warning(
        f"CHANNELS[{alias!r}] is {channels[alias].describe()}.",
        hint=f"Use {BACKENDS_OF_DJANGO[1]!r} in production.",
        id="channels.W003",
    )


def warn_of_processes(alias):
    return Warning(
        f"CHANNELS[{alias!r}] keeps messages and groups inside of each process. If "
        "several processes serve the site, what one of them sends does not reach the "
        "WebSockets and long polls of the others.",
        hint=(
            f"Use {BACKENDS_OF_DJANGO[1]!r}, or silence this warning if one process "
            "serves the site, or its consumers only do work for their own process."
        ),
        id="channels.W002",
    )
