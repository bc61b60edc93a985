"""
Telling pages of new sign-ups: by server-sent events, or by long polls.

A page names the last sign-up that it has, and gets those after it. It joins a group
before the database is asked, so that it misses none that comes meanwhile.
"""

import json

from django.channels import Channel, Group, consumer
from django.http import JsonResponse

from .models import Signup

STREAMS = Group("signups.streams")
POLLS = Group("signups.polls")

# How many sign-ups a page is told of that it has missed.
MOST = 100

BEGINNING = {
    "content_type": "text/event-stream",
    "headers": [["Cache-Control", "no-cache"], ["X-Accel-Buffering", "no"]],
    "content": "retry: 2000\n\n",
    "more": True,
}
RELOAD = {"content": "event: reload\ndata: There are too many.\n\n", "more": True}


@consumer("signups.stream")
def follow(response_channel, GET, META, **kwargs):
    """Begin the stream of a page with what it has missed."""
    client = Channel(response_channel)
    client.send(BEGINNING)
    STREAMS.add(response_channel)
    # Browsers send the header when they connect again.
    missed = signups_after(META.get("HTTP_LAST_EVENT_ID") or last_of(GET))
    if len(missed) > MOST:
        client.send(RELOAD)
        return
    for signup in missed:
        client.send(event(signup))


@consumer("signups.poll")
def poll(response_channel, GET, **kwargs):
    """Answer a page if it has missed something, else when there is something."""
    POLLS.add(response_channel)
    if missed := signups_after(last_of(GET)):
        # It asks again, and so gets the rest.
        Channel(response_channel).send(answer(missed[:MOST]))


@consumer("signups.models.signup.post_save")
def signed_up(pk, created, **kwargs):
    """Tell all pages of a sign-up."""
    signup = Signup.objects.filter(pk=pk).first()
    if created and signup:
        STREAMS.send(event(signup))
        # They ask again, and so get also what was said while they did not listen.
        POLLS.send(answer([]))


def last_of(GET):
    return dict(GET).get("after", "")


def signups_after(text):
    """Return those after the one whose primary key `text` is: one more than MOST."""
    try:
        after = int(text)
    except ValueError:
        after = 0
    return Signup.objects.filter(pk__gt=after)[: MOST + 1]


def event(signup):
    """Return the next part of a stream, which tells of a sign-up."""
    data = json.dumps(signup.describe())
    return {"content": f"id: {signup.pk}\ndata: {data}\n\n", "more": True}


def answer(signups):
    """Return the response to a long poll."""
    described = [signup.describe() for signup in signups]
    return JsonResponse({"signups": described}).channel_encode()
