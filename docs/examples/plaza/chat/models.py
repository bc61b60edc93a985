import uuid

from django.channels import Group
from django.conf import settings
from django.db import models
from django.urls import reverse


class Room(models.Model):
    """A place to talk."""

    name = models.CharField(max_length=50, unique=True)
    slug = models.SlugField(unique=True)

    class Meta:
        ordering = ["name"]

    def __str__(self):
        return self.name

    def get_absolute_url(self):
        return reverse("chat:room", kwargs={"room": self.slug})

    @property
    def group(self):
        """The Group of the WebSockets that are in the room."""
        return Group(f"chat.{self.slug}")

    def people(self):
        """
        Return the names of those who are in the room, and forget who is not.

        Nobody tells when a server dies with the WebSockets that it held. The group
        forgets them then, and so they are nobody's presence any more.
        """
        # First these and then the group, which people join before they get a row.
        presences = list(self.presences.select_related("user"))
        members = set(self.group)
        gone = [row.pk for row in presences if row.channel not in members]
        self.presences.filter(pk__in=gone).delete()
        return sorted(
            {row.user.get_username() for row in presences if row.channel in members}
        )


class Presence(models.Model):
    """Whose a WebSocket in a room is. Somebody with two tabs has two of them."""

    room = models.ForeignKey(Room, models.CASCADE, related_name="presences")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE)
    channel = models.CharField("send channel", max_length=200, unique=True)

    def __str__(self):
        return f"{self.user} in {self.room}"


class Line(models.Model):
    """What somebody has said."""

    room = models.ForeignKey(Room, models.CASCADE, related_name="lines")
    author = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE)
    text = models.CharField(max_length=500)
    time = models.DateTimeField(auto_now_add=True)
    # Made by the page, which sends a line again if it has not come back.
    key = models.UUIDField(default=uuid.uuid4, editable=False)

    class Meta:
        ordering = ["pk"]
        constraints = [
            models.UniqueConstraint(fields=["author", "key"], name="said_once")
        ]

    def __str__(self):
        return self.text

    def describe(self):
        """Return what pages are told of the line."""
        return {
            "id": self.pk,
            "author": self.author.get_username(),
            "text": self.text,
            "time": self.time,
            "key": self.key.hex,
        }
