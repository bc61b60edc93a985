"""The examples of docs/topics/channels.txt on handing off work."""

import inspect
import logging
import textwrap
import threading
from collections import Counter
from unittest import mock

from django.channels import Channel, ChannelFull, consumer, publish_model_events
from django.channels.background import background
from django.channels.registry import registry
from django.channels.signals import worker_stopped
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import transaction
from django.db.models import F
from django.http import HttpResponse
from django.test import (
    SimpleTestCase,
    TestCase,
    TransactionTestCase,
    override_settings,
)
from django.test.channels import ChannelsTestMixin

from .layers import layer
from .models import Photo, Stats
from .opted_in import isolated_events
from .pages import DOCS

logger = logging.getLogger("tests.views")


# "Thumbnails".
def make_thumbnail(pk, **kwargs):
    missing = Photo.objects.filter(pk=pk, thumbnail="")
    photo = missing.first()
    if photo is None:
        return  # It has been deleted, or has a thumbnail already.
    name = default_storage.save(f"thumbnails/{pk}.png", shrink(photo.image))
    if not missing.update(thumbnail=name):
        default_storage.delete(name)  # Somebody else was faster.


def shrink(file):
    # The example uses Pillow.
    return ContentFile(file.read()[:5])


# "Statistics".
views = Counter()
lock = threading.Lock()


def count_view(ip_address, **kwargs):
    with lock:
        views[ip_address] += 1
        is_due = views.total() >= 100
    if is_due:
        write_views()


def write_views(**kwargs):
    with lock:
        batch = dict(views)
        views.clear()
    for ip_address, number in batch.items():
        Stats.objects.update_or_create(
            ip_address=ip_address,
            defaults={"count": F("count") + number},
            create_defaults={"count": number},
        )


SHRINK = f"{__name__}.shrink"
IN_MEMORY = {"default": {"BACKEND": "django.core.files.storage.InMemoryStorage"}}


class PageTests(SimpleTestCase):
    def test_page_has_these_functions(self):
        page = (DOCS / "topics/channels.txt").read_text(encoding="utf-8")
        for function in (make_thumbnail, count_view, write_views):
            code = textwrap.indent(inspect.getsource(function), " " * 4)
            with self.subTest(function=function.__name__):
                self.assertIn(code, page)


class ThumbnailTests(ChannelsTestMixin, TestCase):
    def setUp(self):
        self.enterContext(override_settings(STORAGES=IN_MEMORY))
        self.enterContext(registry.isolate())
        self.enterContext(isolated_events())
        consumer("channels.models.photo.post_save", "tests.thumbnail")(make_thumbnail)
        publish_model_events(Photo, signals=["post_save"])

    def create(self):
        with self.captureOnCommitCallbacks(execute=True):
            image = ContentFile(b"a large image", name="photo.png")
            return Photo.objects.create(image=image)

    def assertThumbnail(self, photo):
        photo.refresh_from_db()
        self.assertEqual(photo.thumbnail.name, f"thumbnails/{photo.pk}.png")
        with photo.thumbnail.open() as file:
            self.assertEqual(file.read(), b"a lar")
        self.assertEqual(len(default_storage.listdir("thumbnails")[1]), 1)

    def test_photo_that_is_saved_gets_a_thumbnail(self):
        photo = self.create()
        self.assertEqual(self.run_consumers(), 1)
        self.assertThumbnail(photo)
        # The consumer saves in a way that leads to no other event.
        self.assertEqual(len(self.sent_messages), 1)

    def test_photo_that_is_rolled_back_gets_none(self):
        with self.captureOnCommitCallbacks(execute=True):
            with self.assertRaises(ZeroDivisionError), transaction.atomic():
                Photo.objects.create(image=ContentFile(b"image", name="photo.png"))
                raise ZeroDivisionError
        self.assertNoMessageSent()

    def test_a_second_message_changes_nothing(self):
        photo = self.create()
        for _ in range(2):
            Channel("tests.thumbnail").send({"pk": photo.pk})
        self.assertEqual(self.run_consumers(), 3)
        self.assertThumbnail(photo)

    def test_photo_that_is_deleted_meanwhile(self):
        self.create().delete()
        self.assertEqual(self.run_consumers(), 1)
        self.assertEqual(default_storage.listdir("")[0], ["photos"])

    def test_of_two_workers_at_once_one_leaves_its_file(self):
        photo = self.create()

        def shrink_slowly(file):
            # Another worker does the same meanwhile.
            Photo.objects.update(thumbnail="thumbnails/other.png")
            return ContentFile(b"")

        with mock.patch(SHRINK, shrink_slowly):
            self.run_consumers()
        photo.refresh_from_db()
        self.assertEqual(photo.thumbnail.name, "thumbnails/other.png")
        self.assertEqual(default_storage.listdir("thumbnails"), ([], []))

    def test_what_was_lost_is_sent_again(self):
        photo = self.create()
        with mock.patch(SHRINK, lambda file: 1 / 0):
            with self.assertLogs("django.channels.worker", "ERROR"):
                self.run_consumers(raise_exceptions=False)
        for pk in Photo.objects.filter(thumbnail="").values_list("pk", flat=True):
            Channel("tests.thumbnail").send({"pk": pk})
        self.assertEqual(self.run_consumers(), 1)
        self.assertThumbnail(photo)


class StatisticsMixin:
    def setUp(self):
        self.enterContext(registry.isolate())
        consumer("tests.new_view")(count_view)
        worker_stopped.connect(write_views)
        self.addCleanup(worker_stopped.disconnect, write_views)
        self.addCleanup(views.clear)

    def view(self, number):
        for index in range(number):
            message = {"ip_address": f"192.0.2.{index % 2}"}
            Channel("tests.new_view").send(message)

    def stats(self):
        return dict(Stats.objects.values_list("ip_address", "count"))


class BatchTests(StatisticsMixin, ChannelsTestMixin, TestCase):
    def test_hundred_views_are_written_at_once(self):
        self.view(99)
        with self.assertNumQueries(0):
            self.run_consumers()
        self.view(1)
        self.run_consumers()
        self.assertEqual(self.stats(), {"192.0.2.0": 51, "192.0.2.1": 49})
        self.view(100)
        self.run_consumers()
        self.assertEqual(self.stats(), {"192.0.2.0": 101, "192.0.2.1": 99})


class RestTests(StatisticsMixin, TransactionTestCase):
    available_apps = ["channels"]

    def test_worker_that_stops_writes_what_it_has(self):
        self.view(3)
        background.stop()
        self.assertEqual(self.stats(), {"192.0.2.0": 2, "192.0.2.1": 1})


class FullTests(ChannelsTestMixin, TestCase):
    """ "When a channel is full"."""

    def setUp(self):
        self.enterContext(registry.isolate())
        self.enterContext(override_settings(CHANNELS=layer(CAPACITY=1)))
        self.calls = []

        @consumer("tests.work")
        def work(pk, **kwargs):
            self.calls.append(pk)

        self.work = work
        Channel("tests.work").send({"pk": 1})

    def test_drop(self):
        with self.assertLogs("tests.views", "WARNING") as logs:
            try:
                Channel("tests.work").send({"pk": 2})
            except ChannelFull:
                logger.warning("A view was not counted.")
        self.assertEqual(len(logs.records), 1)
        self.run_consumers()
        self.assertEqual(self.calls, [1])

    def test_do_it_at_once(self):
        try:
            Channel("tests.work").send({"pk": 2})
        except ChannelFull:
            self.work(2)
        self.assertEqual(self.calls, [2])
        self.run_consumers()
        self.assertEqual(self.calls, [2, 1])

    def test_refuse(self):
        def view(request):
            try:
                Channel("tests.work").send({"pk": 2})
            except ChannelFull:
                return HttpResponse(
                    "Please try again later.",
                    status=503,
                    headers={"Retry-After": "30"},
                )
            return HttpResponse("Done.")

        self.assertEqual(view(None).status_code, 503)
        self.run_consumers()
        self.assertEqual(view(None).status_code, 200)
        self.run_consumers()
        self.assertEqual(self.calls, [1, 2])
