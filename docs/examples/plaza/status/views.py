from contextlib import suppress
from functools import partial

from django.channels import Channel, ChannelFull
from django.contrib import messages
from django.contrib.admin.views.decorators import staff_member_required
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from .figures import figures

CHORES = 200
SECONDS = 0.05  # For each of them.

staff_only = partial(staff_member_required, login_url="login")


@never_cache
@require_safe
@staff_only
def home(request):
    """Show what waits and who works. The script of the page keeps it fresh."""
    return render(request, "status/home.html", figures() | {"chores": CHORES})


@staff_only
def hand_out(request):
    """Give the workers something to do, for the page to have something to show."""
    # One who had to log in again comes back by GET.
    if request.method == "POST":
        messages.success(request, f"{send_chores()} chores are handed out.")
    return redirect("status:home")


def send_chores():
    """Send as many chores as there is room for, and return their number."""
    chores, sent = Channel("status.chore"), 0
    with suppress(ChannelFull):
        while sent < CHORES:
            chores.send({"seconds": SECONDS})
            sent += 1
    return sent
