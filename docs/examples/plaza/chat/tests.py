import uuid

from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.test import TestCase
from django.test.channels import ChannelsTestMixin
from django.urls import reverse

from .models import Line, Presence, Room


class ChatTestCase(ChannelsTestMixin, TestCase):
    @classmethod
    def setUpTestData(cls):
        cls.room = Room.objects.create(name="Garden", slug="garden")
        cls.ada = User.objects.create_user("ada")
        cls.grace = User.objects.create_user("grace")

    def enter(self, user, room="garden"):
        """Return the WebSocket of a page that `user` has opened, in a new browser."""
        self.client = self.client_class()
        self.client.force_login(user)
        return self.websocket(reverse("chat-socket", kwargs={"room": room}))

    def keep_line(self, text):
        return Line.objects.create(room=self.room, author=self.ada, text=text)

    def hear(self, socket, key):
        """Return the values under `key` in what has come on `socket`."""
        told = [socket.receive_json() for _ in socket.messages]
        return [value[key] for value in told if key in value]

    def texts(self, socket):
        return [line["text"] for lines in self.hear(socket, "lines") for line in lines]


class TalkTests(ChatTestCase):
    def test_all_in_the_room_hear_a_line(self):
        sockets = [self.enter(self.ada), self.enter(self.grace)]
        sockets[0].send_json({"text": "Hello", "key": uuid.uuid4().hex})
        for socket in sockets:
            ((line,),) = self.hear(socket, "lines")
            self.assertEqual((line["author"], line["text"]), ("ada", "Hello"))
        self.assertEqual(self.room.lines.get().author, self.ada)

    def test_rooms_are_apart(self):
        Room.objects.create(name="Bridge", slug="bridge")
        bridge = self.enter(self.grace, "bridge")
        self.enter(self.ada).send_json({"text": "Hello", "key": uuid.uuid4().hex})
        told = [bridge.receive_json() for _ in bridge.messages]
        self.assertEqual(told, [{"people": ["grace"]}])

    def test_line_that_is_sent_again_is_kept_once(self):
        socket = self.enter(self.ada)
        key = uuid.uuid4().hex
        for _ in range(2):
            socket.send_json({"text": "Hello", "key": key})
        first, second = self.hear(socket, "lines")
        self.assertEqual(first, second)
        self.assertEqual(first[0]["key"], key)
        self.assertEqual(Line.objects.count(), 1)

    def test_keys_are_those_of_one_author(self):
        line = self.keep_line("Hello")
        Line.objects.create(room=self.room, author=self.grace, key=line.key)
        with self.assertRaises(IntegrityError), transaction.atomic():
            Line.objects.create(room=self.room, author=self.ada, key=line.key)

    def test_what_cannot_be_said(self):
        socket, other = self.enter(self.ada), self.enter(self.grace)
        for text, error in {
            " ": "This field is required.",
            "a" * 501: "Ensure this value has at most 500 characters (it has 501).",
        }.items():
            with self.subTest(error):
                socket.send_json({"text": text, "key": "5" * 32})
                self.assertEqual(self.hear(socket, "error"), [error])
        socket.send_json({"text": "Hello", "key": 7})
        self.assertEqual(self.hear(socket, "error"), ["Enter a valid UUID."])
        self.assertFalse(Line.objects.exists())
        self.assertEqual(self.texts(other), [])

    def test_what_is_no_object_closes_the_websocket(self):
        socket = self.enter(self.ada)
        socket.send_json(["text"])
        self.assertEqual(socket.close_code, 1007)


class HistoryTests(ChatTestCase):
    def test_page_begins_with_the_last_lines(self):
        for number in range(51):
            self.keep_line(f"<Line {number}>")
        self.client.force_login(self.grace)
        response = self.client.get(self.room.get_absolute_url())
        self.assertNotContains(response, "Line 0")
        self.assertContains(response, "<p>&lt;Line 1&gt;</p>", html=True)
        self.assertEqual(response.context["lines"][-1].text, "<Line 50>")

    def test_page_gets_what_it_has_missed(self):
        seen = self.keep_line("Seen")
        self.keep_line("Missed")
        socket = self.enter(self.grace)
        socket.send_json({"after": seen.pk})
        self.assertEqual(self.texts(socket), ["Missed"])

    def test_page_asks_until_there_is_no_more(self):
        texts = [self.keep_line(f"{number}").text for number in range(150)]
        socket = self.enter(self.grace)
        after, heard, more = 0, [], True
        while more:
            socket.send_json({"after": after})
            told = [socket.receive_json() for _ in socket.messages][-1]
            after, more = told["lines"][-1]["id"], told["more"]
            heard += [line["text"] for line in told["lines"]]
        self.assertEqual(heard, texts)

    def test_question_without_a_line(self):
        self.keep_line("First")
        socket = self.enter(self.grace)
        for question in ({}, {"after": "?"}, {"after": -1}):
            with self.subTest(question):
                socket.send_json(question)
                self.assertEqual(self.texts(socket), ["First"])


class PresenceTests(ChatTestCase):
    def test_others_see_who_comes_and_goes(self):
        ada = self.enter(self.ada)
        grace = self.enter(self.grace)
        grace.close()
        self.assertEqual(self.hear(ada, "people"), [["ada"], ["ada", "grace"], ["ada"]])

    def test_lost_connection_is_one_who_goes(self):
        ada = self.enter(self.ada)
        self.enter(self.grace).abort()
        self.assertEqual(self.hear(ada, "people")[-1], ["ada"])

    def test_somebody_with_two_tabs_is_one(self):
        ada = self.enter(self.ada)
        tabs = [self.enter(self.grace), self.enter(self.grace)]
        self.assertEqual(self.hear(ada, "people")[-1], ["ada", "grace"])
        tabs[0].close()
        self.assertEqual(self.hear(ada, "people")[-1], ["ada", "grace"])
        tabs[1].close()
        self.assertEqual(self.hear(ada, "people")[-1], ["ada"])

    def test_whom_a_server_has_died_with_is_gone(self):
        ada = self.enter(self.ada)
        # Its server takes part in the group no longer, and nobody tells of it.
        Presence.objects.create(
            room=self.room, user=self.grace, channel="django.interface.dead!1"
        )
        ada.send_json({"after": 0})
        self.assertEqual(self.hear(ada, "people")[-1], ["ada"])
        self.assertEqual(Presence.objects.get().user, self.ada)

    def test_presence_that_was_forgotten_comes_back(self):
        ada = self.enter(self.ada)
        Presence.objects.all().delete()
        ada.send_json({"after": 0})
        self.assertEqual(self.hear(ada, "people")[-1], ["ada"])

    def test_pages_tell_who_is_where(self):
        self.enter(self.ada)
        response = self.client.get(reverse("chat:lobby"))
        self.assertContains(response, "ada is here.")
        response = self.client.get(self.room.get_absolute_url())
        self.assertContains(response, "<li>ada</li>", html=True)


class AccessTests(ChatTestCase):
    def test_pages_are_for_users(self):
        for url in (reverse("chat:lobby"), self.room.get_absolute_url()):
            with self.subTest(url):
                response = self.client.get(url)
                self.assertRedirects(response, f"{reverse('login')}?next={url}")

    def test_page_of_a_stranger_is_told_why(self):
        socket = self.websocket(reverse("chat-socket", kwargs={"room": "garden"}))
        self.assertEqual((socket.status_code, socket.close_code), (101, 4401))
        self.assertFalse(Presence.objects.exists())

    def test_room_is_not_told_of_strangers(self):
        socket = self.websocket(reverse("chat-socket", kwargs={"room": "garden"}))
        self.assertFalse(socket.is_open)
        self.assertNoMessageSent(self.room.group)

    def test_one_who_logs_out_hears_no_more(self):
        socket = self.enter(self.ada)
        self.client.logout()
        socket.send_json({"after": 0})
        self.assertEqual(socket.close_code, 4401)
        self.assertFalse(Presence.objects.exists())

    def test_there_is_no_such_room(self):
        self.assertEqual(self.enter(self.ada, "nowhere").status_code, 403)

    def test_address_of_the_websocket_is_no_page(self):
        response = self.client.get(reverse("chat-socket", kwargs={"room": "garden"}))
        self.assertContains(response, "address of a WebSocket", status_code=400)


class AdminTests(ChatTestCase):
    def test_admin_lists_rooms_and_lines(self):
        self.client.force_login(User.objects.create_superuser("admin"))
        self.keep_line("Hello")
        for model, text in {"room": "Garden", "line": "Hello"}.items():
            with self.subTest(model):
                response = self.client.get(reverse(f"admin:chat_{model}_changelist"))
                self.assertContains(response, text)
