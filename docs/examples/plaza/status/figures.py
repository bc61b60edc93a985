"""What the page shows: what the management command channels prints."""

from django.channels import channels
from django.channels.overview import overview


def figures():
    """Return the context of figures.html. Raise BackendUnavailable."""
    about = overview(channels["default"])
    queues = [*about["channels"], about["inboxes"]]
    ages = [queue["oldest"] for queue in queues if queue["depth"]]
    return {
        "about": about,
        "waiting": sum(queue["depth"] for queue in queues),
        "oldest": max(ages, default=None),
        "sockets": sum(
            interface["websockets"]["open"] for interface in about["interfaces"]
        ),
        "dropped": sum(about["drops"].values()),
    }
