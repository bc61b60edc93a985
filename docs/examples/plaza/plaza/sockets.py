"""
The paths of the WebSockets of the plaza, and the names of their channels.

They are part of the URLconf too, so that templates find their URLs.
"""

from django.channels.routing import path

urlpatterns = [
    path("chat/<slug:room>/socket/", "chat", name="chat-socket"),
    path("status/socket/", "status", name="status-socket"),
]
