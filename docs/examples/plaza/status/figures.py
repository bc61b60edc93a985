"""What the page shows: what the management command channels prints."""

from django.channels import channels
from django.channels.overview import overview


def figures():
    """Return the context of figures.html. Raise BackendUnavailable."""
    about = overview(channels["default"])
    # Without inboxes: the news that a response has been read stays there until it
    # expires, if nobody waits for it any more.
    queues = about["channels"]
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
