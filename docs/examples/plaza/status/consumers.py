"""
What happens on the WebSocket of the status page, and the chores that it hands out.

The page asks whenever it wants to know, so nothing runs while nobody looks.
"""

import time

from plaza.websockets import PageConsumer

from django.channels import consumer
from django.template.loader import render_to_string

from .figures import figures


class Status(PageConsumer):
    def is_allowed(self):
        return self.user.is_staff

    def receive(self, value):
        found = figures()
        html = render_to_string("status/figures.html", found)
        self.send({"waiting": found["waiting"], "html": html})


Status.register("status")


@consumer("status.chore")
def do_chore(seconds, **kwargs):
    """Keep a worker busy for a moment."""
    time.sleep(seconds)
