from django.channels import channels
from django.conf import settings
from django.contrib.auth.models import User
from django.test import TestCase
from django.test.channels import ChannelsTestMixin
from django.urls import reverse

from . import consumers, views


class StatusTestCase(ChannelsTestMixin, TestCase):
    @classmethod
    def setUpTestData(cls):
        cls.admin = User.objects.create_superuser("admin")
        cls.ada = User.objects.create_user("ada")


class PageTests(StatusTestCase):
    def setUp(self):
        self.client.force_login(self.admin)

    def test_page_shows_channels(self):
        response = self.client.get(reverse("status:home"))
        self.assertContains(response, "visits.consumers.save_stat")

    def test_only_what_is_for_a_consumer_waits(self):
        for channel in ("status.tests!1", "status.chore"):
            channels["default"].send(channel, {"seconds": 0})
        response = self.client.get(reverse("status:home"))
        self.assertContains(response, "<dd>1</dd>", html=True)
        self.assertContains(response, "<td>1</td>", count=2, html=True)

    def test_page_shows_processes(self):
        backend = channels["default"]
        if backend.process_local:
            self.skipTest("There are no other processes.")
        self.addCleanup(backend.announce, "worker.1", {}, 0)
        worker = {"kind": "worker", "host": "web1", "pid": 812, "uptime": 75}
        worker |= {"drops": {"expired": 3}}
        backend.announce("worker.1", worker, 60)
        response = self.client.get(reverse("status:home"))
        self.assertContains(response, "web1:812")
        self.assertContains(response, "1.2 min")
        self.assertContains(response, '<th scope="row">expired</th>', html=True)

    def test_chores_are_handed_out(self):
        response = self.client.post(reverse("status:chores"), follow=True)
        self.assertContains(response, "200 chores are handed out.")
        self.assertMessageSent("status.chore", {"seconds": views.SECONDS}, count=200)

    def test_chores_are_as_many_as_there_is_room_for(self):
        layer = settings.CHANNELS["default"] | {"CAPACITY": 3}
        with self.settings(CHANNELS={"default": layer}):
            response = self.client.post(reverse("status:chores"), follow=True)
        self.assertContains(response, "3 chores are handed out.")

    def test_one_who_had_to_log_in_comes_back_to_the_page(self):
        response = self.client.get(reverse("status:chores"))
        self.assertRedirects(response, reverse("status:home"))
        self.assertNoMessageSent("status.chore")

    def test_chore_is_done(self):
        consumers.do_chore(seconds=0, channel="status.chore")


class WebSocketTests(StatusTestCase):
    def test_page_asks_for_figures(self):
        self.client.force_login(self.admin)
        socket = self.websocket(reverse("status-socket"))
        socket.send_json({})
        told = socket.receive_json()
        self.assertGreaterEqual(told["waiting"], 0)
        self.assertIn("visits.consumers.save_stat", told["html"])


class AccessTests(StatusTestCase):
    def test_only_for_staff(self):
        self.client.force_login(self.ada)
        for method, name in ((self.client.get, "home"), (self.client.post, "chores")):
            with self.subTest(name):
                url = reverse(f"status:{name}")
                self.assertRedirects(method(url), f"{reverse('login')}?next={url}")
        self.assertNoMessageSent("status.chore")
        socket = self.websocket(reverse("status-socket"))
        self.assertEqual((socket.is_open, socket.close_code), (False, 4403))

    def test_link_is_shown_to_staff(self):
        for user, shown in {self.admin: 1, self.ada: 0}.items():
            with self.subTest(user):
                self.client.force_login(user)
                response = self.client.get(reverse("visits:home"))
                link = f'href="{reverse("status:home")}"'
                self.assertContains(response, link, count=shown)
