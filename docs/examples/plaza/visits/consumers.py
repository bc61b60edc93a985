"""The work of the app that no visitor waits for."""

from django.channels import consumer
from django.db.models import F

from .models import Stats


@consumer("visits.new_view")
def save_stat(ip_address, **kwargs):
    """
    Count a view of the page.

    The database adds the one, so that no count is lost when several threads or
    processes do so at once.
    """
    Stats.objects.update_or_create(
        ip_address=ip_address,
        defaults={"count": F("count") + 1},
        create_defaults={"count": 1},
    )
