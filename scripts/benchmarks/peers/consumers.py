"""What answers WebSockets, and the worker that some leave it to."""

from channels.consumer import AsyncConsumer
from channels.generic.websocket import AsyncWebsocketConsumer

WORKER = "echo"  # A channel.


class Echo(AsyncWebsocketConsumer):
    """Echoes in the process of the server."""

    # What needs no layer is faster without.
    channel_layer_alias = None

    async def receive(self, text_data=None, bytes_data=None):
        await self.send(text_data=text_data, bytes_data=bytes_data)


class Relay(AsyncWebsocketConsumer):
    """Has a worker echo."""

    async def receive(self, text_data=None, bytes_data=None):
        message = {"type": "echo", "channel": self.channel_name, "text": text_data}
        await self.channel_layer.send(WORKER, message)

    async def echoed(self, message):
        await self.send(text_data=message["text"])


class EchoWorker(AsyncConsumer):
    async def echo(self, message):
        answer = {"type": "echoed", "text": message["text"]}
        await self.channel_layer.send(message["channel"], answer)


class Member(AsyncWebsocketConsumer):
    """Sends what it hears to all members of a group."""

    groups = ["members"]

    async def receive(self, text_data=None, bytes_data=None):
        message = {"type": "heard", "text": text_data}
        await self.channel_layer.group_send("members", message)

    async def heard(self, message):
        await self.send(text_data=message["text"])
