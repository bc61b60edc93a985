"""
WebSockets of tests, without sockets and without an interface server.

What happens to them becomes the messages that an interface server sends, in its
order: see django.channels.interfaces.server.reports.
"""

import base64
import json
import secrets
from collections import deque

from django.channels.interfaces.server.deliveries import parse_delivery
from django.channels.interfaces.server.handshakes import Handshake, Refusal, Upgrade
from django.channels.interfaces.server.phases import CONNECTING, ENDED, OPEN
from django.channels.interfaces.server.reports import Reports
from django.channels.interfaces.server.timings import Timing
from django.channels.layers import DEFAULT_CHANNEL_ALIAS, channels
from django.channels.requests import encode_request
from django.test.client import RequestFactory
from django.test.interfaces import Interface

# Codes of RFC 6455, section 7.4.1.
GOING_AWAY = 1001
ABNORMAL = 1006


class WebSocketClient:
    """
    A client that has asked for a WebSocket at `path`, which may have a query.

    `client` is a test client whose cookies and defaults are sent, `headers` are a
    dict of headers to add, such as "Origin", and `subprotocols` those to offer.
    `secure` says whether the scheme is wss. `backend` is the alias of the channel
    backend. Whatever the client does, the consumers run that are then due; what
    they raise is raised, unless `raise_exceptions` is false.

    `status_code` is that of the answer to the handshake, 101 if it was accepted, and
    `subprotocol` what was chosen then, or None. `close_code` and `close_reason` are
    those with which the WebSocket was closed, by whichever side, or None and "".
    """

    def __init__(
        self,
        runs,
        path="/",
        *,
        client,
        headers=None,
        subprotocols=(),
        secure=False,
        backend=DEFAULT_CHANNEL_ALIAS,
        raise_exceptions=True,
    ):
        self.status_code = None
        self.subprotocol = None
        self.close_code = None
        self.close_reason = ""
        self.phase = CONNECTING
        self.timing = Timing(Interface.limits)
        self._runs = runs
        self._raises = raise_exceptions
        self._messages = deque()
        backend = channels[backend]
        if backend not in runs.interfaces:
            runs.interfaces[backend] = Interface(backend)
        self._interface = runs.interfaces[backend]
        # The send channel of the WebSocket.
        self.channel = self._interface.open(self)
        self._connect(self._upgrade(client, path, headers, subprotocols, secure))

    def _upgrade(self, client, path, headers, subprotocols, secure):
        """Return the Upgrade that asks for the WebSocket."""
        factory = RequestFactory()
        factory.defaults, factory.cookies = client.defaults, client.cookies
        handshake = {
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Key": base64.b64encode(secrets.token_bytes(16)).decode(),
            "Sec-WebSocket-Version": "13",
        }
        if subprotocols:
            handshake["Sec-WebSocket-Protocol"] = ", ".join(subprotocols)
        handshake |= headers or {}
        request = factory.get(path, secure=secure, headers=handshake)
        message = encode_request(request, self.channel)
        meta = message["META"]
        meta.setdefault("HTTP_HOST", request._get_raw_host())
        return Upgrade(
            method="GET",
            protocol="HTTP/1.1",
            headers=list(handshake.items()),
            path=message["path"],
            GET=message["GET"],
            META=meta,
            client=message["client"],
            scheme=message["scheme"],
        )

    def _connect(self, upgrade):
        self._reports = Reports(self._interface, self, upgrade)
        try:
            self._handshake = Handshake(upgrade)
        except Refusal as refusal:
            self._refuse(refusal.status.value)
            return
        if not self._reports.connect(upgrade, list(self._handshake.subprotocols)):
            self._accept()
        self.run()

    @property
    def is_open(self):
        """Whether messages go both ways."""
        return self.phase is OPEN

    @property
    def state(self):
        """What consumers have asked to be told with each message, a dict."""
        return self._reports.state or {}

    def run(self):
        """Run all consumers that are due, see ChannelsTestMixin.run_consumers()."""
        self._runs.run(raise_exceptions=self._raises)

    # What the client does.

    def send(self, message):
        """Send a str or bytes."""
        self._check_open()
        size = len(message.encode() if isinstance(message, str) else message)
        self._reports.receive(message, size)
        self._go_on()
        self.run()

    def send_json(self, value):
        """Send `value` as JSON text."""
        self.send(json.dumps(value))

    def receive(self):
        """
        Return the next message that came, a str or bytes. Raise AssertionError if
        there is none.
        """
        self.run()
        if not self._messages:
            raise AssertionError(f"No message has come: {self._describe()}.")
        return self._messages.popleft()

    def receive_json(self):
        """Return the value in the next message, which is JSON text."""
        return json.loads(self.receive())

    @property
    def messages(self):
        """The messages that have come and have not been received, a list."""
        self.run()
        return list(self._messages)

    def close(self, code=1000, reason=""):
        """Close the WebSocket, as a page does that is left; with 1005, without code."""
        if self.phase is OPEN:
            self._end(code, reason)
            self.run()

    def abort(self):
        """Lose the connection, without a close frame: consumers hear the code 1006."""
        self.close(ABNORMAL)

    def _check_open(self):
        if self.phase is not OPEN:
            raise AssertionError(f"The message cannot be sent: {self._describe()}.")

    def _describe(self):
        if self.phase is OPEN:
            return "the WebSocket is open"
        if self.close_code is None:
            return f"the handshake was answered with {self.status_code}"
        return f"the WebSocket was closed with {self.close_code}"

    # What its interface server does.

    def deliver(self, message, in_group=False):
        """Do what `message`, a dict that came on the send channel, says."""
        if "acknowledged" in message:
            self._acknowledge(message)
            return
        delivery = parse_delivery(message)
        # What goes to a group answers no handshake.
        if self.phase is CONNECTING and delivery.accepts and not in_group:
            self._accept(delivery.subprotocol)
        if delivery.state is not None:
            self._reports.state = delivery.state
        if delivery.opcode is not None and self.phase is not ENDED:
            is_text = message.get("content") is not None
            self._messages.append(delivery.data.decode() if is_text else delivery.data)
        if delivery.close is not None:
            self._close(delivery.close, delivery.reason)

    def _acknowledge(self, message):
        if not self._reports.acknowledge(message["acknowledged"]):
            return
        if self.phase is CONNECTING:
            if message.get("failed"):
                # Consumers hear of its end: what was done may need undoing.
                self._reports.end(ABNORMAL)
                self._refuse(500)
            else:
                self._accept()
        self._go_on()

    def _accept(self, subprotocol=None):
        self.phase, self.status_code = OPEN, 101
        # Logs one that was not offered, which browsers take for a failure.
        self._handshake.answer(subprotocol, self.channel)
        if subprotocol in self._handshake.subprotocols:
            self.subprotocol = subprotocol

    def _refuse(self, status):
        self.phase, self.status_code = ENDED, status
        self._messages.clear()
        self._leave()

    def _close(self, code, reason):
        if self.phase is CONNECTING:
            self._refuse(503 if code == GOING_AWAY else 403)
        elif self.phase is OPEN:
            self._end(code, reason)

    def _end(self, code, reason):
        self.phase = ENDED
        self.close_code, self.close_reason = code, reason
        self._reports.end(code)
        self._leave()

    def _leave(self):
        self._interface.leave(self.channel)
        self._go_on()

    def _go_on(self):
        """Send consumers what may go now."""
        self._reports.send_waiting()
        if self.phase is ENDED and self._reports.is_over:
            self._interface.close(self.channel)
