"""
What happens on the WebSocket of a room.

A page asks {"after": 41} for the lines that it has not seen, when it connects and
then now and again. It says {"text": "Hello", "key": "..."}. It hears "lines",
"people" and "error".
"""

from plaza.websockets import PageConsumer

from django.shortcuts import get_object_or_404
from django.utils.functional import cached_property

from .forms import AfterForm, LineForm
from .models import Line, Presence, Room

MOST_LINES = 100


class Chat(PageConsumer):
    @cached_property
    def room(self):
        return get_object_or_404(Room, slug=self.kwargs["room"])

    def connect(self):
        self.state["is_here"] = True
        self.join(self.room.group.name)
        self.enter()
        self.tell_room({"people": self.room.people()})

    def disconnect(self, code):
        if "is_here" not in self.state:
            return  # It was refused.
        Presence.objects.filter(channel=self.send_channel).delete()
        self.tell_room({"people": self.room.people()})

    def receive(self, value):
        if "text" in value:
            self.say(value)
        else:
            self.catch_up(value)

    def say(self, value):
        """Keep a line, and tell it to all in the room."""
        form = LineForm(value)
        if not form.is_valid():
            errors = [error for errors in form.errors.values() for error in errors]
            self.send({"error": " ".join(errors), "key": value.get("key")})
            return
        # If it is said again, the first time may have ended before all were told.
        line, _ = Line.objects.get_or_create(
            author=self.user,
            key=form.cleaned_data["key"],
            defaults={"room": self.room, "text": form.cleaned_data["text"]},
        )
        self.tell_room({"lines": [line.describe()]})

    def catch_up(self, value):
        """Tell the page what it has not seen, and who is in the room."""
        form = AfterForm(value)
        after = form.cleaned_data["after"] if form.is_valid() else 0
        self.enter()
        lines = self.room.lines.filter(pk__gt=after).select_related("author")
        lines = lines[: MOST_LINES + 1]
        self.send(
            {
                "lines": [line.describe() for line in lines[:MOST_LINES]],
                "more": len(lines) > MOST_LINES,
                "people": self.room.people(),
            }
        )

    def enter(self):
        """Note who has the WebSocket."""
        Presence.objects.get_or_create(
            channel=self.send_channel,
            defaults={"room": self.room, "user": self.user},
        )

    def tell_room(self, value):
        self.send_group(self.room.group.name, value)


Chat.register("chat")
