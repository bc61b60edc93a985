import json

from django.channels import Channel
from django.test import TestCase
from django.test.channels import ChannelsTestMixin
from django.urls import reverse

from . import consumers
from .models import Signup

ADA = {"name": "Ada", "email": "ada@example.com"}


class PageTests(ChannelsTestMixin, TestCase):
    def post(self, **data):
        # Messages are sent when the transaction is committed.
        with self.captureOnCommitCallbacks(execute=True):
            return self.client.post(reverse("signups:home"), data, follow=True)

    def test_signup(self):
        response = self.post(**ADA)
        self.assertRedirects(response, reverse("signups:home"))
        self.assertContains(response, "See you there, Ada!")
        self.assertContains(response, "<li>Ada</li>", html=True)
        self.assertMessageSent(
            "signups.models.signup.post_save",
            {"pk": Signup.objects.get().pk, "created": True},
            count=1,
        )

    def test_address_stays_private(self):
        self.assertNotContains(self.post(**ADA), "ada@example.com")

    def test_nobody_signs_up_twice(self):
        for _ in range(2):
            response = self.post(**ADA)
        self.assertContains(
            response, "Sign-up with this E-mail address already exists."
        )
        self.assertEqual(Signup.objects.count(), 1)

    def test_others_are_told(self):
        self.post(**ADA)
        self.run_consumers()
        event = self.assertMessageSent(consumers.STREAMS, count=1)
        self.assertIn('"name": "Ada"', event["content"])
        self.assertMessageSent(consumers.POLLS, count=1)

    def test_others_are_told_of_no_change(self):
        signup = Signup.objects.create(**ADA)
        with self.captureOnCommitCallbacks(execute=True):
            signup.save()
        self.assertEqual(self.run_consumers(), 1)
        self.assertNoMessageSent(consumers.STREAMS)

    def test_others_are_told_of_nobody_who_has_gone(self):
        with self.captureOnCommitCallbacks(execute=True):
            Signup.objects.create(**ADA).delete()
        self.run_consumers()
        self.assertNoMessageSent(consumers.STREAMS)


class PollTests(ChannelsTestMixin, TestCase):
    def test_page_gets_what_it_has_missed(self):
        seen = Signup.objects.create(**ADA)
        missed = Signup.objects.create(name="Grace", email="grace@example.com")
        response = self.client.get(reverse("signups:poll"), {"after": seen.pk})
        self.assertEqual(
            response.json(), {"signups": [{"id": missed.pk, "name": "Grace"}]}
        )

    def test_page_asks_until_there_is_no_more(self):
        Signup.objects.bulk_create(
            Signup(name=f"{number}", email=f"{number}@example.com")
            for number in range(consumers.MOST + 1)
        )
        last, names = 0, []
        while len(names) <= consumers.MOST:
            response = self.client.get(reverse("signups:poll"), {"after": last})
            signups = response.json()["signups"]
            last = signups[-1]["id"]
            names += [signup["name"] for signup in signups]
        self.assertEqual(names, [f"{number}" for number in range(len(names))])

    def test_page_waits_for_news(self):
        seen = Signup.objects.create(**ADA)
        response = self.client.get(reverse("signups:poll"), {"after": seen.pk})
        self.assertEqual(response.status_code, 504)


class StreamTests(ChannelsTestMixin, TestCase):
    def follow(self, **message):
        """Return what is sent to a page that asks for the stream."""
        message = {"GET": [], "META": {}} | message
        page = Channel("signups.tests!1")
        consumers.follow(response_channel=page.name, **message)
        return [sent.message for sent in self.sent_messages if sent.target == page]

    def test_page_begins_after_the_last_that_it_has(self):
        seen = Signup.objects.create(**ADA)
        missed = Signup.objects.create(name="Grace\n", email="grace@example.com")
        for message in (
            {"GET": [["after", str(seen.pk)]]},
            {"GET": [["after", "0"]], "META": {"HTTP_LAST_EVENT_ID": str(seen.pk)}},
        ):
            with self.subTest(message):
                beginning, event = self.follow(**message)[-2:]
                self.assertEqual(beginning["content_type"], "text/event-stream")
                number, data, *rest = event["content"].split("\n")
                self.assertEqual((number, rest), (f"id: {missed.pk}", ["", ""]))
                data = json.loads(data.removeprefix("data: "))
                self.assertEqual(data, missed.describe())

    def test_page_without_a_last_one_gets_all(self):
        Signup.objects.create(**ADA)
        # Python makes no number of that many digits.
        for after in ("", "none", "9" * 5000):
            with self.subTest(after[:4]):
                _, told = self.follow(GET=[["after", after]])[-2:]
                self.assertIn('"name": "Ada"', told["content"])

    def test_page_that_has_missed_too_much_is_loaded_again(self):
        Signup.objects.bulk_create(
            Signup(name=f"{number}", email=f"{number}@example.com")
            for number in range(consumers.MOST + 1)
        )
        self.assertEqual(self.follow()[1:], [consumers.RELOAD])

    def test_page_follows(self):
        self.follow()
        self.assertIn("signups.tests!1", consumers.STREAMS)
