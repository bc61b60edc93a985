"""
What a request asks for (RFC 9112, section 3.2), and of which host.

    /foo/?query=value                       origin-form, of nearly all requests
    http://example.com/foo/?query=value     absolute-form, as proxies get it
    *                                       asterisk-form, of OPTIONS
    example.com:443                         authority-form, of CONNECT: refused
"""

import re

from django.channels.interfaces.http.errors import RequestRefused

# RFC 3986, section 3.2.2, without what no name in use has: percent-encoding and
# delimiters. The comma is one of these, so a repeated Host does not match.
# Which host it may be is for ALLOWED_HOSTS to say.
_host_re = re.compile(r"(?:[A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?")

_absolute_re = re.compile("https?://([^/]*)(/.*)?", re.IGNORECASE)


def check_host(head):
    """
    Set `host` of `head` to its Host header. Raise RequestRefused unless there is
    one that is valid; HTTP/1.0 may have none (RFC 9112, section 3.2).
    """
    head.host = host = head.fields.get("host", "")
    if not _host_re.fullmatch(host):
        if "host" in head.fields:
            raise RequestRefused(400, "The Host header is not one valid host.")
        if head.version == "1.1":
            raise RequestRefused(400, "A request needs a Host header.")


def resolve_target(head):
    """
    Set `path` and `host` of `head` to what a target says that is no path. Raise
    RequestRefused unless it is of a form that its method may have.
    """
    if head.method == "CONNECT":
        raise RequestRefused(501, "This server is no proxy.")
    if head.target == "*" and head.method == "OPTIONS":
        return
    match = _absolute_re.fullmatch(head.path)
    if match is None or not _host_re.fullmatch(match[1]):
        raise RequestRefused(400, "The target is neither a path nor an HTTP URL.")
    set_host(head, match[1])
    head.path = match[2] or "/"


def set_host(head, host):
    """
    Set `host` of `head` to that of its absolute target. A Host header must be
    the same (RFC 9112, section 3.2), so whoever reads either reads one host.
    """
    if head.host:
        if head.host.lower() != host.lower():
            raise RequestRefused(400, "Target and Host header name different hosts.")
        return
    head.host = head.fields["host"] = host
    head.headers.insert(0, ("host", host))
