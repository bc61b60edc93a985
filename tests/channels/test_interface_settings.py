from django.channels.exceptions import InvalidMessage
from django.core.exceptions import ImproperlyConfigured
from django.test import SimpleTestCase, override_settings

from .redis_servers import skip_without

try:
    from django.channels.interfaces.http.errors import RequestRefused
    from django.channels.interfaces.server.addressing import (
        check_host,
        decode_query,
        forwarded,
        named_host,
    )
    from django.channels.interfaces.server.contents import find_charset
    from django.channels.interfaces.server.settings import (
        KEYS,
        read_limits,
        room_for_connections,
    )
except ImportError:
    read_limits = None


class SettingsTestCase(SimpleTestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        if read_limits is None:
            skip_without("The packages gevent, gevent-websocket and websockets")


class LimitTests(SettingsTestCase):
    def test_defaults(self):
        limits = read_limits()
        self.assertEqual((limits.http.head, limits.head_time), (65536, 10))
        self.assertEqual(limits.websocket.message_size, 2**20)
        self.assertIsNone(limits.connections_per_address)
        self.assertIs(limits.websocket.compression, False)

    def test_each_key_changes_its_limit(self):
        for key, (part, field, kind) in KEYS.items():
            value = True if kind is bool else 7
            with self.subTest(key=key), self.settings(CHANNELS_LIMITS={key: value}):
                limits = read_limits()
                owner = getattr(limits, part) if part else limits
                self.assertEqual(getattr(owner, field), value)

    @override_settings(CHANNELS_MAX_BODY_SIZE=1000)
    def test_size_of_a_body(self):
        self.assertEqual(read_limits().body, 1000)

    def test_unknown_keys_are_refused(self):
        with (
            self.settings(CHANNELS_LIMITS={"SIZE": 1}),
            self.assertRaisesMessage(ImproperlyConfigured, "the key 'SIZE'"),
        ):
            read_limits()

    def test_what_is_no_limit_is_refused(self):
        for key, value in [
            ("SILENCE", 0),
            ("SILENCE", "60"),
            ("HEAD_SIZE", 0.5),
            ("HEAD_SIZE", None),
            ("COMPRESSION", 1),
            ("CONNECTIONS", True),
        ]:
            with (
                self.subTest(key=key, value=value),
                self.settings(CHANNELS_LIMITS={key: value}),
                self.assertRaisesMessage(
                    ImproperlyConfigured, f"CHANNELS_LIMITS[{key!r}] must be"
                ),
            ):
                read_limits()

    @override_settings(CHANNELS_LIMITS={"CONNECTIONS": None, "MESSAGE_RATE": None})
    def test_some_may_be_none(self):
        self.assertIsNone(read_limits().connections)

    def test_descriptors_leave_room_for_connections(self):
        self.assertGreater(room_for_connections(), 100)


class ForwardedTests(SettingsTestCase):
    """What a proxy tells of a client."""

    def test_the_last_address_counts_as_clients_can_send_the_others(self):
        meta = {"HTTP_X_FORWARDED_FOR": "10.0.0.1, 192.0.2.7"}
        self.assertEqual(
            forwarded(meta, ("127.0.0.1", 1)), (("192.0.2.7", None), "http")
        )

    def test_scheme(self):
        for text, scheme in [
            ("https", "https"),
            (" HTTPS ", "https"),
            ("gopher", "http"),
        ]:
            with self.subTest(text=text):
                meta = {"HTTP_X_FORWARDED_PROTO": text}
                address = ("127.0.0.1", 1)
                self.assertEqual(forwarded(meta, address), (address, scheme))


class AddressingTests(SettingsTestCase):
    def test_host_that_a_proxy_names(self):
        meta = {"HTTP_HOST": "inner", "HTTP_X_FORWARDED_HOST": "outer"}
        self.assertEqual(named_host(meta), "inner")
        with self.settings(USE_X_FORWARDED_HOST=True):
            self.assertEqual(named_host(meta), "outer")
            self.assertEqual(named_host({"HTTP_HOST": "inner"}), "inner")
        self.assertEqual(named_host({}), "")

    @override_settings(ALLOWED_HOSTS=["example.com"], DEBUG=False)
    def test_hosts(self):
        check_host("example.com", "127.0.0.1")
        for host in ["evil.example.com", ""]:
            with (
                self.subTest(host=host),
                self.assertLogs("django.security.DisallowedHost", "ERROR"),
                self.assertRaisesMessage(RequestRefused, "Bad Request (400)"),
            ):
                check_host(host, "127.0.0.1")

    @override_settings(DATA_UPLOAD_MAX_NUMBER_FIELDS=2)
    def test_query(self):
        self.assertEqual(decode_query("a=1&a=2"), [["a", "1"], ["a", "2"]])
        with self.assertRaisesMessage(RequestRefused, "too many parameters"):
            decode_query("a=1&a=2&a=3")


class CharsetTests(SettingsTestCase):
    def test_charset_of_the_content_type(self):
        for headers, charset in [
            ([("Content-Type", "text/html; charset=latin-1")], "iso8859-1"),
            ([("X-Other", "a"), ("content-type", "text/html")], "utf-8"),
            ([("X-Other", "a")], "utf-8"),
        ]:
            with self.subTest(headers=headers):
                self.assertEqual(find_charset(headers), charset)

    def test_charset_that_does_not_exist(self):
        with self.assertRaisesMessage(InvalidMessage, "has the charset 'klingon'."):
            find_charset([("Content-Type", "text/html; charset=klingon")])
