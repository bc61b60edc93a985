"""Leads WebSockets to the consumers of the apps."""

from django.channels.routing import route_websockets

from .sockets import urlpatterns

route_websockets(urlpatterns)
