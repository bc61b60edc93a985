"""
The opening handshake of a WebSocket (RFC 6455, section 4.2).

The request is checked before anybody hears of it. The answer is made later,
when the consumer of django.websocket.connect has chosen a subprotocol or has
turned the client away.
"""

import logging
import re
from email.utils import formatdate
from http import HTTPStatus
from typing import NamedTuple

from websockets.datastructures import Headers
from websockets.exceptions import InvalidHandshake
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.http11 import Request
from websockets.server import ServerProtocol

from django.channels.exceptions import ChannelError
from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.http import HttpRequest
from django.http.request import is_same_domain

logger = logging.getLogger("django.channels.interface")

VERSION = "13"

# What a browser sends as Origin for a page (RFC 6454, section 7). "null", as for
# a sandboxed page or a file, is none of these.
_ORIGIN = re.compile(
    r"(https?)://((?:\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::[0-9]{1,5})?)", re.IGNORECASE
)
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}

# No memory between messages, and a window of 4 KB while one is compressed.
_COMPRESSION = ServerPerMessageDeflateFactory(
    server_no_context_takeover=True,
    client_no_context_takeover=True,
    server_max_window_bits=12,
    compress_settings={"memLevel": 5},
)


class Upgrade(NamedTuple):
    """The request of a handshake, as the HTTP side has parsed it."""

    method: str
    protocol: str  # "HTTP/1.1"
    headers: list  # (name, value) in the order in which they came.
    path: str
    GET: list  # [[key, value]]
    META: dict  # As in the message of a request.
    client: list  # [address, port]
    scheme: str = "http"  # Or "https", also if a proxy says so.


class Refusal(ChannelError):
    """
    A handshake that is answered with an HTTP response instead of a WebSocket.

    `status` is that of the response, `text` a sentence for its body and `headers`
    are pairs to add. `reason` says in one word why, for counters.
    """

    def __init__(self, status, text, reason, headers=()):
        super().__init__(text)
        self.status = HTTPStatus(status)
        self.text = text
        self.reason = reason
        self.headers = headers

    def serialize(self):
        """Return the bytes of the response, after which the connection closes."""
        body = f"{self.text}\n".encode()
        lines = [
            f"HTTP/1.1 {self.status.value} {self.status.phrase}",
            f"Date: {formatdate(usegmt=True)}",
            "Content-Type: text/plain; charset=utf-8",
            f"Content-Length: {len(body)}",
            "Connection: close",
            *(f"{name}: {value}" for name, value in self.headers),
        ]
        return "\r\n".join([*lines, "", ""]).encode() + body


class Handshake:
    """
    A handshake that is in order and waits for its answer.

    `upgrade` is an Upgrade, `compression` says whether permessage-deflate (RFC
    7692) may be negotiated. Raise Refusal if the request is not in order, or comes
    from a page of another site.

    `extensions` are those that have been negotiated, `subprotocols` those that the
    client has offered. `queued` are frames to send after the answer, see queue().
    """

    __slots__ = ("extensions", "subprotocols", "queued", "_response")

    def __init__(self, upgrade, compression=False):
        headers = _select(upgrade.headers)
        _check_request(upgrade, headers)
        check_origin(headers.get_all("Origin"), upgrade.META, upgrade.scheme)
        protocol = _Negotiation(extensions=[_COMPRESSION] if compression else None)
        self._response = protocol.accept(Request(upgrade.path, headers))
        self.extensions = protocol.extensions
        self.subprotocols = protocol.offered
        self.queued = []
        # It refers to the protocol, which would have to wait for the collector.
        protocol.parser = None
        if self._response.status_code == HTTPStatus.UPGRADE_REQUIRED:
            raise Refusal(426, "Upgrade to websocket.", "upgrade", _UPGRADE)
        if self._response.status_code != HTTPStatus.SWITCHING_PROTOCOLS:
            raise Refusal(400, "The headers of the handshake are wrong.", "headers")

    def queue(self, frame, limits):
        """Keep a frame until after the answer. Return False if there are too many."""
        if (
            len(self.queued) >= limits.unsent_frames
            or sum(map(len, self.queued)) >= limits.unsent_bytes
        ):
            return False
        self.queued.append(frame)
        return True

    def answer(self, subprotocol, channel):
        """
        Return the bytes that accept, with one of `subprotocols` or None. `channel` is
        the send channel, for the log: clients fail with one that they do not offer.
        """
        if subprotocol is not None and subprotocol not in self.subprotocols:
            logger.error(
                "The subprotocol %r for %r was left out: its client does not offer it.",
                subprotocol,
                channel,
            )
        elif subprotocol is not None:
            self._response.headers["Sec-WebSocket-Protocol"] = subprotocol
        return self._response.serialize()


class _Negotiation(ServerProtocol):
    """Leaves the subprotocol open, for a consumer chooses it."""

    offered = ()

    def select_subprotocol(self, subprotocols):
        self.offered = list(subprotocols)


_UPGRADE = [("Upgrade", "websocket"), ("Sec-WebSocket-Version", VERSION)]
# Bytes of headers that take long to read. Some clients offer a token as subprotocol.
_LONGEST = {"Sec-WebSocket-Extensions": 1024, "Sec-WebSocket-Protocol": 8192}
_OTHERS = {"connection", "content-length", "origin", "transfer-encoding", "upgrade"}


def _select(pairs):
    """Return the Headers that a handshake is made of."""
    headers = Headers()
    try:
        for name, value in pairs:
            if name.lower() in _OTHERS or name.lower().startswith("sec-websocket-"):
                headers[name] = value
    except (InvalidHandshake, ValueError) as exc:
        raise Refusal(400, "A header is wrong.", "headers") from exc
    return headers


def _check_request(upgrade, headers):
    if upgrade.method != "GET":
        raise Refusal(405, "Use the method GET.", "method", [("Allow", "GET")])
    if upgrade.protocol != "HTTP/1.1":
        raise Refusal(505, "Use HTTP/1.1.", "protocol")
    if "Transfer-Encoding" in headers or any(
        length != "0" for length in headers.get_all("Content-Length")
    ):
        raise Refusal(400, "A handshake has no body.", "body")
    for name, longest in _LONGEST.items():
        if sum(map(len, headers.get_all(name))) > longest:
            raise Refusal(431, f"{name} is too long.", "headers")
    if headers.get_all("Sec-WebSocket-Version") != [VERSION]:
        raise Refusal(426, f"Use the version {VERSION}.", "version", _UPGRADE)


def check_origin(origins, meta, scheme="http"):
    """
    Raise Refusal if a page of another site opens the WebSocket (RFC 6455, section
    10.2), or if it is opened under a name that is not in ALLOWED_HOSTS.

    `origins` are the values of the Origin header, none if the client is no browser.
    `scheme` is that of the request: a page without TLS is not of the same site then.
    A page may be of the host that the request is for, or match one of
    CHANNELS_ALLOWED_ORIGINS, such as "https://*.example.com" or "*".
    """
    request = HttpRequest()
    request.META = meta
    try:
        host = request.get_host()
    except DisallowedHost as exc:
        raise Refusal(400, "The host is not one of this site.", "host") from exc
    if not origins:
        return
    allowed = getattr(settings, "CHANNELS_ALLOWED_ORIGINS", [])
    is_secure = scheme == "https" or request.is_secure()
    if len(origins) == 1:
        if "*" in allowed or origins[0] in allowed:
            return
        if match := _ORIGIN.fullmatch(origins[0]):
            its_scheme, netloc = match[1].lower(), match[2]
            if _is_allowed(its_scheme, netloc, host, is_secure, allowed):
                return
    raise Refusal(403, "The origin is not allowed.", "origin")


def _is_allowed(scheme, netloc, host, is_secure, allowed):
    netloc = _without_default_port(scheme, netloc)
    # A page without TLS may have been changed on its way.
    if scheme == "https" or not is_secure:
        if netloc == _without_default_port(scheme, host):
            return True
    for pattern in allowed:
        its_scheme, _, its_netloc = pattern.partition("://")
        if its_scheme.lower() == scheme and is_same_domain(
            netloc,
            _without_default_port(scheme, its_netloc.removeprefix("*")),
        ):
            return True
    return False


def _without_default_port(scheme, netloc):
    return netloc.lower().removesuffix(_DEFAULT_PORTS[scheme])
