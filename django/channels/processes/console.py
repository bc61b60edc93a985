"""Where a process says what happens in it."""

import logging

from django.conf import settings
from django.utils.log import AdminEmailHandler, RequireDebugTrue

LOGGER = "django.channels"


def log_to_console(without=()):
    """
    Write the log of channels to the standard error stream, unless the site has
    it written somewhere already. Django's default logs to a console in debug mode
    only, and a process has no other place to tell that it is in trouble. The names
    of loggers in `without` are left out.
    """
    logger = logging.getLogger(LOGGER)
    if not any(writes(handler) for handler in handlers_of(logger)):
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        handler.addFilter(lambda record: record.name not in without)
        logger.addHandler(handler)


def handlers_of(logger):
    """Yield the handlers that the records of `logger` come to."""
    while logger is not None:
        yield from logger.handlers
        logger = logger.parent if logger.propagate else None


def writes(handler):
    """Return whether `handler` takes records, but for mails about some of them."""
    if isinstance(handler, AdminEmailHandler):
        return False
    return settings.DEBUG or not any(
        isinstance(condition, RequireDebugTrue) for condition in handler.filters
    )
