"""
The examples of the Channels proposal (Andrew Godwin, 2015), as it has them but
for imports and slips.
"""

import json
import threading

from django.apps import apps
from django.channels import Channel, Group, channels, consumer
from django.channels.backends.contract import PATIENCE
from django.channels.background import background
from django.channels.registry import registry
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpResponse
from django.shortcuts import render
from django.test import SimpleTestCase, TransactionTestCase, override_settings
from django.urls import path

from .models import Signup, Stats
from .opted_in import published_models
from .test_wsgi import Result
from .utils import MEMORY, wait_until


# "More Events": a custom event off the request path.
def some_view(request):
    Channel("myapp.new_view").send({"ip_address": request.META["REMOTE_ADDR"]})
    return render(request, "signup.html")


def save_stat(ip_address, **kwargs):
    entry = Stats.objects.filter(ip_address=ip_address).first()
    if entry is None:
        entry = Stats(ip_address=ip_address)
    entry.count += 1
    entry.save()


# "More Events": a long poll that hears of new rows.
listeners = Group("tests.listeners")


def signup_view(request):
    if request.method == "POST":
        Signup.objects.create(email=request.POST["email"])
        return render(request, "thanks.html")
    return render(request, "signup.html")


def connected(response_channel, **kwargs):
    "New user connected, add them to listener list"
    listeners.add(response_channel)


def new_message(app_label, model_name, pk, **kwargs):
    "Someone signed up, broadcast it"
    instance = apps.get_model(app_label, model_name).objects.get(pk=pk)
    content = json.dumps({"action": "signup", "email": instance.email})
    message = HttpResponse(content).channel_encode()
    for listener in listeners:
        Channel(listener).send(message)
        listeners.remove(listener)


urlpatterns = [
    path("some-view/", some_view),
    path("signup/", signup_view),
    path("longpoll/", Channel("messaging.long-poll").as_view()),
]


class ServingRequestsTests(SimpleTestCase):
    """ "Serving Requests": a consumer answers with a raw response."""

    def test_hello_world(self):
        with registry.isolate():

            @consumer("django.wsgi.request")
            def hello_world(response_channel, path, **kwargs):
                Channel(response_channel).send(
                    {
                        "mimetype": "text/plain",
                        "content": "Hello World",
                    }
                )

            response = self.client.get("/foo/bar/?query=value")
        self.assertEqual(response.content, b"Hello World")
        self.assertEqual(response.headers["Content-Type"], "text/plain")

    def test_request_message(self):
        seen = []
        with registry.isolate():

            @consumer("django.wsgi.request")
            def remember(**message):
                seen.append(message)
                Channel(message["response_channel"]).send({"content": ""})

            self.client.get("/foo/bar/?query=value")
        (message,) = seen
        self.assertRegex(message["response_channel"], r"^django\.wsgi\.response\.")
        self.assertEqual(message["method"], "GET")
        self.assertEqual(message["path"], "/foo/bar/")
        self.assertEqual(message["GET"], [["query", "value"]])


@override_settings(ROOT_URLCONF="channels.test_proposal")
class CustomEventTests(TransactionTestCase):
    available_apps = ["channels"]

    def test_view_count(self):
        with registry.isolate():
            consumer("myapp.new_view")(save_stat)
            for _ in range(3):
                response = self.client.get("/some-view/")
                self.assertContains(response, "Sign up")
            background.stop()
        self.assertEqual(channels["default"].depths(), {})
        entry = Stats.objects.get()
        self.assertEqual((entry.ip_address, entry.count), ("127.0.0.1", 3))


class LongPollTests:
    """A client waits, and another signs up."""

    available_apps = ["channels"]

    def setUp(self):
        self.enterContext(registry.isolate())
        consumer("messaging.long-poll")(connected)
        # By a line in models.py: publish_model_events(Signup). The name of this app
        # is channels instead of myapp.
        self.enterContext(published_models())
        consumer("channels.models.signup.post_save")(new_message)
        # With what has been sent to clients that had their answer.
        self.addCleanup(channels["default"].flush)
        self.addCleanup(background.stop)

    def test_clients_that_wait_hear_of_a_signup(self):
        contents = []

        def wait():
            result = Result(WSGIHandler(), "/longpoll/")
            contents.append(json.loads(result.content))

        threads = [threading.Thread(target=wait, daemon=True) for _ in range(2)]
        for thread in threads:
            thread.start()
        wait_until(lambda: len(listeners) == 2)
        response = self.client.post("/signup/", {"email": "somebody@example.com"})
        self.assertContains(response, "Thanks")
        for thread in threads:
            thread.join(PATIENCE)
        event = {"action": "signup", "email": "somebody@example.com"}
        self.assertEqual(contents, [event, event])
        self.assertEqual(set(listeners), set())


@override_settings(ROOT_URLCONF="channels.test_proposal")
class LiveLongPollTests(LongPollTests, TransactionTestCase):
    pass


@override_settings(
    ROOT_URLCONF="channels.test_proposal",
    CHANNELS={"default": {"BACKEND": MEMORY, "OPTIONS": {"SERIALIZE": True}}},
)
class TextLongPollTests(LongPollTests, TransactionTestCase):
    pass
