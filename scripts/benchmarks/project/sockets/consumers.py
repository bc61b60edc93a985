"""What the worker of the benchmark of the interface server runs."""

from django.channels import Channel, Group, consumer

GROUP_PATH = "/group/"


@consumer("django.websocket.connect")
def connect(send_channel, path, **message):
    if path == GROUP_PATH:
        Group("members").add(send_channel)


@consumer("django.websocket.receive")
def receive(send_channel, path, data, **message):
    target = Group("members") if path == GROUP_PATH else Channel(send_channel)
    target.send(data)
