"""
Finding out whether messages get through.

check_backend() sends a message to an inbox of its own and receives it, so it
needs no worker. check_worker() sends one on a channel that each worker serves
and waits for the answer. Neither leaves anything in the store.

HealthCheck is WSGI middleware (PEP 3333) that answers with what they find, to
load balancers and the like.
"""

import logging
import secrets
import time

from django.channels.channel import Channel
from django.channels.exceptions import Unhealthy
from django.channels.layers import DEFAULT_CHANNEL_ALIAS, channels
from django.channels.registry import Consumer, registry
from django.db import close_old_connections

logger = logging.getLogger("django.channels.health")

PING_CHANNEL = "django.channels.ping"
HEALTH_PREFIX = "django.channels.health"

TIMEOUT = 5  # Seconds.


class PingConsumer(Consumer):
    """Answers the messages of check_worker(), in each worker."""

    internal = True

    def __init__(self):
        super().__init__(self.answer)

    def answer(self, response_channel, backend, **message):
        Channel(response_channel, backend).send({"pong": True})


registry.register_built_in(PingConsumer(), PING_CHANNEL, backend=None)


def check_backend(alias=DEFAULT_CHANNEL_ALIAS, timeout=TIMEOUT):
    """
    Check that the channel backend `alias` carries messages.

    Raise Unhealthy, with a sentence that says what is wrong, if it does not
    within `timeout` seconds.
    """
    backend = channels[alias]
    inbox, message = new_inbox(), {"token": secrets.token_hex(8)}
    if run_check(backend, lambda: echo(backend, inbox, message, timeout)) != message:
        raise Unhealthy(
            f"The channel backend {alias!r} did not return a message within "
            f"{timeout:.3g} seconds."
        )


def check_worker(alias=DEFAULT_CHANNEL_ALIAS, timeout=TIMEOUT):
    """
    Check that a worker runs consumers of the channel backend `alias`.

    Raise Unhealthy, with a sentence that says what is wrong, if none answers
    within `timeout` seconds. On a process-local backend the workers are threads
    of this process.
    """
    backend = channels[alias]
    inbox = new_inbox()
    if run_check(backend, lambda: ping(backend, inbox, timeout)) is None:
        raise Unhealthy(
            f"No worker of the channel backend {alias!r} answered within "
            f"{timeout:.3g} seconds: none runs, or all are busy."
        )


def new_inbox():
    return f"{HEALTH_PREFIX}.{secrets.token_hex(8)}!"


def run_check(backend, check):
    """Return what `check` returns. Raise Unhealthy if the backend fails."""
    try:
        return check()
    except Exception as exc:
        reason = str(exc).rstrip(".") or type(exc).__name__
        raise Unhealthy(
            f"The channel backend {backend.alias!r}, {backend.describe()}, fails: "
            f"{reason}."
        ) from exc


def echo(backend, inbox, message, timeout):
    """Return what comes in `inbox` after `message` has been sent there, or None."""
    backend.send(f"{inbox}1", message)
    received = backend.receive([inbox], timeout)
    return received and received[1]


def ping(backend, inbox, timeout):
    """Return the answer of a worker, or None."""
    message = {"response_channel": f"{inbox}1", "backend": backend.alias}
    Channel(PING_CHANNEL, backend.alias).send(message)
    received = backend.receive([inbox], timeout)
    if received is None and not take_back(backend, inbox):
        # A worker has just taken it.
        received = backend.receive([inbox], min(timeout, 1))
    return received


def take_back(backend, inbox):
    """
    Remove the message that would be answered to `inbox` from the queue, and return
    whether it was there. Those of other checks go to its end, but only once, so
    that none stays there for ever.
    """
    others, found = [], False
    while not found and (received := backend.receive([PING_CHANNEL])) is not None:
        _, message = received
        found = message.get("response_channel") == f"{inbox}1"
        if not found and not message.get("passed_on"):
            others.append(message | {"passed_on": True})
    for message in others:
        backend.send(PING_CHANNEL, message)
    return found


class HealthCheck:
    """
    WSGI middleware that answers requests for two paths, and leaves all others to
    `application`:

    * `path`: 200 if the channel backend `alias` carries messages, else 503;
    * `worker_path`: 200 if a worker answers as well, else 503.

    With None for a path there is none. A check waits `timeout` seconds at most.
    What is wrong is logged and not told to the client.
    """

    def __init__(
        self,
        application,
        path="/healthz",
        worker_path="/healthz/worker",
        alias=DEFAULT_CHANNEL_ALIAS,
        timeout=TIMEOUT,
    ):
        self.application = application
        self.alias = alias
        self.timeout = timeout
        self.checks = {path: [check_backend]}
        self.checks[worker_path] = [check_backend, check_worker]
        self.checks.pop(None, None)

    def __call__(self, environ, start_response):
        checks = self.checks.get(environ.get("PATH_INFO"))
        if checks is None:
            return self.application(environ, start_response)
        method = environ["REQUEST_METHOD"]
        if method not in ("GET", "HEAD"):
            status, text = "405 Method Not Allowed", "Only GET and HEAD."
        else:
            status, text = self.check(checks)
        body = f"{text}\n".encode()
        headers = [
            ("Content-Type", "text/plain; charset=utf-8"),
            ("Content-Length", str(len(body))),
            ("Cache-Control", "no-store"),
        ]
        if status.startswith("405"):
            headers.append(("Allow", "GET, HEAD"))
        start_response(status, headers)
        return [b"" if method == "HEAD" else body]

    def check(self, checks):
        """Return the status and the text to answer with."""
        begun = time.monotonic()
        close_old_connections()
        try:
            for check in checks:
                left = self.timeout - (time.monotonic() - begun)
                check(self.alias, max(left, 0.1))
        except Unhealthy as exc:
            logger.warning("%s", exc)
            what = "No worker answers." if check is check_worker else "No messages."
            return "503 Service Unavailable", what
        finally:
            close_old_connections()
        return "200 OK", "OK"
