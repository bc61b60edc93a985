from django.channels.background import background
from django.conf import settings
from django.contrib.auth.models import User
from django.test import (
    SimpleTestCase,
    TestCase,
    TransactionTestCase,
    override_settings,
)
from django.test.channels import ChannelsTestMixin
from django.urls import reverse

from .consumers import save_stat
from .models import Stats
from .paving import pave

MEMORY = "django.channels.backends.memory.MemoryBackend"
SEVERAL_THREADS = {"default": {"BACKEND": MEMORY, "OPTIONS": {"THREADS": 4}}}


class PageTests(ChannelsTestMixin, TestCase):
    def test_view_is_left_to_the_consumer(self):
        self.client.get(reverse("visits:home"), REMOTE_ADDR="192.0.2.7")
        self.assertMessageSent("visits.new_view", {"ip_address": "192.0.2.7"}, count=1)
        self.assertFalse(Stats.objects.exists())
        self.run_consumers()
        self.assertEqual(Stats.objects.get().count, 1)

    def test_counts(self):
        Stats.objects.create(ip_address="192.0.2.7", count=30)
        Stats.objects.create(ip_address="2001:db8::1", count=1204)
        for name in ("home", "counts"):
            with self.subTest(name):
                response = self.client.get(
                    reverse(f"visits:{name}"), REMOTE_ADDR="192.0.2.7"
                )
                self.assertContains(response, "<dd>1,234</dd>", html=True)
                self.assertContains(response, '<dd class="own">30</dd>', html=True)

    def test_first_visit(self):
        response = self.client.get(reverse("visits:home"))
        self.assertContains(response, "yours is on its way")

    def test_counts_are_no_view(self):
        response = self.client.get(reverse("visits:counts"))
        self.assertNoMessageSent("visits.new_view")
        self.assertIn("no-store", response.headers["Cache-Control"])

    def test_page_needs_no_room_on_the_channel(self):
        layer = settings.CHANNELS["default"] | {"CAPACITY": 1}
        with self.settings(CHANNELS={"default": layer}):
            for _ in range(2):
                response = self.client.get(reverse("visits:home"))
                self.assertEqual(response.status_code, 200)

    def test_admin_lists_stats(self):
        self.client.force_login(User.objects.create_superuser("admin"))
        Stats.objects.create(ip_address="192.0.2.7", count=30)
        response = self.client.get(reverse("admin:visits_stats_changelist"))
        self.assertContains(response, "192.0.2.7")


class ConsumerTests(TestCase):
    def test_views_add_up_by_address(self):
        for address in ("192.0.2.7", "2001:db8::1", "192.0.2.7"):
            save_stat(ip_address=address, channel="visits.new_view")
        self.assertEqual(
            dict(Stats.objects.values_list("ip_address", "count")),
            {"192.0.2.7": 2, "2001:db8::1": 1},
        )


@override_settings(CHANNELS=SEVERAL_THREADS)
class WorkerTests(TransactionTestCase):
    def test_threads_lose_no_visit(self):
        for _ in range(40):
            self.client.get(reverse("visits:home"), REMOTE_ADDR="192.0.2.7")
        background.stop()
        self.assertEqual(Stats.objects.get(ip_address="192.0.2.7").count, 40)


class PavingTests(SimpleTestCase):
    def test_one_stone_a_view(self):
        self.assertEqual(
            pave(total=4, own=2, size=6).stones,
            ["other", "own", "other", "own", "bare", "bare"],
        )

    def test_stones_stand_for_more_when_there_is_no_room(self):
        paving = pave(total=100, own=50, size=10)
        self.assertEqual(paving.views, 10)
        self.assertEqual(paving.stones, ["other", "own"] * 5)

    def test_nothing_is_paved_yet(self):
        self.assertEqual(pave(total=0, own=0, size=2).stones, ["bare", "bare"])
