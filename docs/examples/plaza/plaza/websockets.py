"""What the WebSockets of the plaza have in common."""

from django.channels.permissions import LoginRequiredMixin
from django.channels.websockets import JSONWebSocketConsumer


class PageConsumer(LoginRequiredMixin, JSONWebSocketConsumer):
    """Receives objects, from pages of users who are logged in."""

    def handle_no_permission(self):
        if self.event == "connect":
            # A script is not told why a handshake fails, and would try again.
            self.accept()
        super().handle_no_permission()

    @classmethod
    def decode(cls, data):
        value = super().decode(data)
        if not isinstance(value, dict):
            raise ValueError("Pages send objects.")
        return value
