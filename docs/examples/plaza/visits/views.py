from contextlib import suppress

from django.channels import Channel, ChannelFull
from django.db.models import Q, Sum
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from .models import Stats
from .paving import pave


@never_cache
@require_safe
def home(request):
    """Show the counts, and leave the counting of this view to a consumer."""
    # With too many views waiting, this one goes uncounted: the page is worth more.
    with suppress(ChannelFull):
        Channel("visits.new_view").send({"ip_address": request.META["REMOTE_ADDR"]})
    return render(request, "visits/home.html", counts_for(request))


@never_cache
@require_safe
def counts(request):
    """Show the counts alone, for the script of the page."""
    return render(request, "visits/counts.html", counts_for(request))


def counts_for(request):
    """Return the context with all views, and those from the address of `request`."""
    address = request.META["REMOTE_ADDR"]
    sums = Stats.objects.aggregate(
        total=Sum("count", default=0),
        own=Sum("count", default=0, filter=Q(ip_address=address)),
    )
    return sums | {"address": address, "paving": pave(**sums)}
