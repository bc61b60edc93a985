"""Whom a request comes from, and which host it is for."""

import logging
from functools import lru_cache

from django.channels.interfaces.http.errors import RequestRefused
from django.channels.requests import parse_query
from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.http import HttpRequest

logger = logging.getLogger("django.security.DisallowedHost")


def forwarded(meta, address):
    """
    Return the address of the client and the scheme, as the proxy at `address` has
    them in X-Forwarded-For and X-Forwarded-Proto: it adds to the end of the one,
    and sets the other.
    """
    clients = meta.get("HTTP_X_FORWARDED_FOR", "").split(",")
    if client := clients[-1].strip():
        address = client, None
    scheme = meta.get("HTTP_X_FORWARDED_PROTO", "").strip().lower()
    return address, "https" if scheme == "https" else "http"


def decode_query(query):
    """Return [[key, value]] of a query, or raise RequestRefused if it has too many."""
    try:
        return parse_query(query, settings.DATA_UPLOAD_MAX_NUMBER_FIELDS)
    except ValueError as exc:
        raise RequestRefused(400, "There are too many parameters.") from exc


def named_host(meta):
    """Return the host that a request is for, as far as its client has named it."""
    if settings.USE_X_FORWARDED_HOST and "HTTP_X_FORWARDED_HOST" in meta:
        return meta["HTTP_X_FORWARDED_HOST"]
    return meta.get("HTTP_HOST", "")


@lru_cache(maxsize=1000)
def _allows_host(host, server_name, allowed_hosts, debug):
    request = HttpRequest()
    request.META = {"SERVER_NAME": server_name, "SERVER_PORT": "80"}
    if host:
        request.META["HTTP_HOST"] = request.META["HTTP_X_FORWARDED_HOST"] = host
    try:
        request.get_host()
        return True
    except DisallowedHost:
        return False


def check_host(host, server_name):
    """Raise RequestRefused if ALLOWED_HOSTS does not have `host`."""
    allowed = tuple(settings.ALLOWED_HOSTS)
    if not _allows_host(host, server_name, allowed, settings.DEBUG):
        logger.error("%r is not one of ALLOWED_HOSTS.", host)
        raise RequestRefused(400, "Bad Request (400)")
