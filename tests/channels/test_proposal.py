"""
The examples of the Channels proposal (Andrew Godwin, 2015), as it has them but
for imports and slips.
"""

from django.channels import Channel, channels, consumer
from django.channels.background import background
from django.channels.registry import registry
from django.shortcuts import render
from django.test import SimpleTestCase, TransactionTestCase, override_settings
from django.urls import path

from .models import Stats


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


urlpatterns = [path("some-view/", some_view)]


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
