from django.channels import Channel, InvalidMessage, consumer
from django.channels.backends.contract import PATIENCE
from django.channels.users import load_user, user_state, websocket_request
from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.auth.models import AnonymousUser, User
from django.contrib.sessions.middleware import SessionMiddleware
from django.core.exceptions import ImproperlyConfigured
from django.test import SimpleTestCase, TestCase, override_settings

from .test_interface import InterfaceTestCase, connect
from .test_routing import WorkerMixin

COOKIES = "django.contrib.sessions.backends.signed_cookies"
MIDDLEWARE = [
    "channels.test_websocket_users.plain_middleware",
    "channels.test_websocket_users.HeaderSessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "channels.test_websocket_users.GuestMiddleware",
]


def plain_middleware(get_response):
    return get_response


class HeaderSessionMiddleware(SessionMiddleware):
    """Takes the key of the session from a header."""

    def process_request(self, request):
        request.session = self.SessionStore(request.headers.get("X-Session"))


class GuestMiddleware(AuthenticationMiddleware):
    """Gives those who are not logged in a name."""

    def process_request(self, request):
        super().process_request(request)
        if not request.user.is_authenticated:
            request.user.name = "guest"


class UsersTestCase(WorkerMixin, TestCase):
    @classmethod
    def setUpTestData(cls):
        cls.user = User.objects.create_user("ada", password="secret")

    def cookies(self):
        """Return the META of a client with the cookies of the test client."""
        pairs = [f"{name}={item.value}" for name, item in self.client.cookies.items()]
        return {"HTTP_COOKIE": "; ".join(pairs)}

    def log_in(self):
        self.client.force_login(self.user)
        return self.cookies()


class RequestTests(UsersTestCase):
    def setUp(self):
        super().setUp()

        @consumer("django.websocket.connect")
        @websocket_request
        def connect(request, send_channel, **message):
            self.request = request
            Channel(send_channel).send({"content": request.user.get_username()})

    def test_user(self):
        META = self.log_in()
        self.assertEqual(self.connect(META=META), [{"content": "ada"}])
        self.assertEqual(self.request.user, self.user)
        self.assertEqual(
            self.request.session.session_key, self.client.session.session_key
        )

    @override_settings(SESSION_ENGINE=COOKIES)
    def test_user_by_signed_cookies(self):
        META = self.log_in()
        self.assertEqual(self.connect(META=META), [{"content": "ada"}])
        forged = {"HTTP_COOKIE": META["HTTP_COOKIE"] + "x"}
        self.assertEqual(self.connect(META=forged), [{"content": ""}])

    def test_nobody(self):
        for META in [{}, {"HTTP_COOKIE": f"{settings.SESSION_COOKIE_NAME}=unknown"}]:
            with self.subTest(META=META):
                self.assertEqual(self.connect(META=META), [{"content": ""}])
                self.assertIsInstance(self.request.user._wrapped, AnonymousUser)

    def test_request_is_that_of_the_handshake(self):
        META = {"QUERY_STRING": "a=1&a=2", "HTTP_X_TEST": "yes", "HTTP_COOKIE": "b=3"}
        self.connect("/chat/grüß/", META=META, scheme="https")
        self.assertEqual(self.request.method, "GET")
        self.assertEqual(self.request.path, "/chat/grüß/")
        self.assertEqual(self.request.GET.getlist("a"), ["1", "2"])
        self.assertEqual(self.request.headers["X-Test"], "yes")
        self.assertEqual(self.request.COOKIES, {"b": "3"})
        self.assertEqual(self.request.get_host(), "testserver")
        self.assertIs(self.request.is_secure(), True)
        self.assertEqual(self.request.body, b"")

    def test_inactive_user(self):
        META = self.log_in()
        User.objects.update(is_active=False)
        self.assertEqual(self.connect(META=META), [{"content": ""}])

    def test_changed_password(self):
        META = self.log_in()
        self.user.set_password("changed")
        self.user.save()
        self.assertEqual(self.connect(META=META), [{"content": ""}])

    def test_new_secret_key_logs_nobody_out(self):
        META = self.log_in()
        keys = {"SECRET_KEY": "new", "SECRET_KEY_FALLBACKS": [settings.SECRET_KEY]}
        with self.settings(**keys):
            # Not by the messages of the test, which have keys of their own.
            self.assertEqual(self.connect(META=META), [{"content": "ada"}])
            # The client still has its session, whose key it cannot be told.
            self.assertTrue(self.client.session.exists(self.client.session.session_key))
            self.assertEqual(self.connect(META=META), [{"content": "ada"}])

    def test_session_can_be_saved(self):
        META = self.log_in()
        self.connect(META=META)
        self.request.session["seen"] = 7
        self.request.session.save()
        self.assertEqual(self.client.session["seen"], 7)

    @override_settings(MIDDLEWARE=MIDDLEWARE)
    def test_middleware_of_the_site(self):
        self.log_in()
        META = {"HTTP_X_SESSION": self.client.session.session_key}
        self.assertEqual(self.connect(META=META), [{"content": "ada"}])
        self.connect(META=self.cookies())
        self.assertEqual(self.request.user.name, "guest")

    @override_settings(MIDDLEWARE=[])
    def test_without_middleware(self):
        self.assertEqual(self.connect(META=self.log_in()), [{"content": "ada"}])


class DecoratorTests(WorkerMixin, SimpleTestCase):
    META = {"HTTP_HOST": "testserver", "REQUEST_METHOD": "GET"}

    def test_keeps_name_and_keys(self):
        @websocket_request
        def connect(request, **message):
            "Connected."
            return message

        self.assertEqual(connect.__name__, "connect")
        self.assertEqual(connect.__doc__, "Connected.")
        message = {"path": "/", "META": self.META, "channel": "chat.connect"}
        self.assertEqual(connect(**message), message)

    def test_coroutine_function(self):
        @consumer("django.websocket.connect")
        @websocket_request
        async def coroutine(request, **message):
            self.calls.append(request.path)

        self.connect("/chat/")
        self.assertEqual(self.calls, ["/chat/"])

    def test_other_messages_have_no_request(self):
        @websocket_request
        def receive(request, **message):
            self.fail("Not called.")

        msg = "Only the message of django.websocket.connect describes a request."
        with self.assertRaisesMessage(InvalidMessage, msg):
            receive(path="/", data={"content": ""})

    @override_settings(INSTALLED_APPS=["django.contrib.sessions"])
    def test_without_users(self):
        @websocket_request
        def connect(request, **message):
            self.fail("Not called.")

        msg = "The users of WebSockets need 'django.contrib.auth' in INSTALLED_APPS."
        with self.assertRaisesMessage(ImproperlyConfigured, msg):
            connect(path="/", META=self.META)


class StateTests(UsersTestCase):
    def setUp(self):
        super().setUp()

        @consumer("django.websocket.connect")
        @websocket_request
        def connect(request, send_channel, **message):
            Channel(send_channel).send({"state": user_state(request)})

        @consumer("django.websocket.receive")
        def receive(send_channel, state, **message):
            user = load_user(state)
            if user.is_authenticated:
                Channel(send_channel).send({"content": user.get_username()})
            else:
                Channel(send_channel).send({"close": 4401})

        self.connect(META=self.log_in())

    def assertHeard(self, answer):
        self.assertEqual(self.receive(content=""), [answer])

    def test_later_messages_have_the_user(self):
        self.assertEqual(self.state["user"], self.user.pk)
        self.assertHeard({"content": "ada"})

    def test_nobody(self):
        self.state = {}
        self.assertHeard({"close": 4401})
        self.connect()
        self.assertEqual(self.state, {})

    def test_logout(self):
        self.client.logout()
        self.assertHeard({"close": 4401})

    def test_expired_session(self):
        session = self.client.session
        session.set_expiry(-1)
        session.save()
        self.assertHeard({"close": 4401})

    def test_user_who_may_not_log_in_any_more(self):
        User.objects.update(is_active=False)
        self.assertHeard({"close": 4401})

    def test_changed_password(self):
        self.user.set_password("changed")
        self.user.save()
        self.assertHeard({"close": 4401})

    def test_primary_keys_that_messages_cannot_hold(self):
        user = get_user_model()(pk=7)
        user.pk = key = type("Key", (), {"__str__": lambda self: "a-key"})()
        request = type("Request", (), {"user": user, "session": self.client.session})
        self.assertIs(user.pk, key)
        self.assertEqual(user_state(request)["user"], "a-key")


class SignedCookieStateTests(StateTests):
    def setUp(self):
        self.enterContext(self.settings(SESSION_ENGINE=COOKIES))
        super().setUp()

    def test_logout(self):
        # The cookie is all there is: nobody can tell that its owner dropped it.
        self.client.logout()
        self.assertHeard({"content": "ada"})

    def test_expired_session(self):
        with self.settings(SESSION_COOKIE_AGE=-1):
            self.assertHeard({"close": 4401})


CONSUMERS = """
from django.channels import Channel, consumer
from django.channels.users import load_user, user_state, websocket_request

@consumer("django.websocket.connect")
@websocket_request
def connect(request, send_channel, **message):
    if request.user.is_authenticated:
        Channel(send_channel).send({"state": user_state(request)})
    else:
        Channel(send_channel).send({"close": True})

@consumer("django.websocket.receive")
def receive(send_channel, state, **message):
    Channel(send_channel).send({"content": load_user(state).get_username()})
"""

SETTINGS = """
INSTALLED_APPS += [
    "django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions"
]
DATABASES = {
    "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3"}
}
"""

LOG_IN = """
from django.contrib.auth import SESSION_KEY, BACKEND_SESSION_KEY, HASH_SESSION_KEY
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
user = User.objects.create_user("ada")
session = SessionStore()
session[SESSION_KEY] = str(user.pk)
session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
session[HASH_SESSION_KEY] = user.get_session_auth_hash()
session.create()
print("session", session.session_key)
"""


class InterfaceTests(InterfaceTestCase):
    """A user of a site by the interface server."""

    workers = 0
    settings_text = SETTINGS

    def make_backend(self):
        return {"BACKEND": "django.channels.backends.memory.MemoryBackend"}

    def start_interface(self):
        self.write("app/consumers.py", CONSUMERS)
        self.assertEqual(self.run_command("migrate", "-v", "0"), (0, ""))
        super().start_interface()

    def test_user(self):
        _, output = self.run_command("shell", "-v", "0", "-c", LOG_IN)
        key = output.split()[-1]
        url = f"ws://127.0.0.1:{self.port}/"
        headers = {"Cookie": f"sessionid={key}"}
        with connect(url, additional_headers=headers, open_timeout=PATIENCE) as client:
            client.send("who am I?")
            self.assertEqual(client.recv(PATIENCE), "ada")
        with self.assertRaisesMessage(Exception, "403"):
            self.socket()
