from django.contrib.auth.decorators import login_required
from django.shortcuts import get_object_or_404, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from .models import Room

# Lines that a page begins with.
LINES = 50


@never_cache
@require_safe
@login_required
def lobby(request):
    """List the rooms, and who is in them."""
    return render(request, "chat/lobby.html", {"rooms": Room.objects.all()})


@never_cache
@require_safe
@login_required
def room(request, room):
    """Show the last lines of a room. The script of the page goes on from there."""
    room = get_object_or_404(Room, slug=room)
    lines = room.lines.select_related("author").order_by("-pk")[:LINES]
    return render(request, "chat/room.html", {"room": room, "lines": lines[::-1]})
