from io import BytesIO

from django.channels.exceptions import InvalidMessage
from django.channels.messages import clean_message
from django.channels.requests import encode_request
from django.core.handlers.wsgi import WSGIRequest
from django.http import HttpRequest
from django.test import RequestFactory, SimpleTestCase, override_settings


class RequestMessageTests(SimpleTestCase):
    def make(self, method="get", path="/foo/bar/", *args, **kwargs):
        request = getattr(RequestFactory(), method)(path, *args, **kwargs)
        return clean_message(encode_request(request, "answers!1"))

    def test_keys(self):
        message = self.make(
            path="/foo/bar/?query=value&query=other&empty=",
            secure=True,
            headers={"X-Header": "value"},
            REMOTE_PORT="4711",
        )
        meta = message.pop("META")
        self.assertEqual(
            message,
            {
                "response_channel": "answers!1",
                "method": "GET",
                "scheme": "https",
                "path": "/foo/bar/",
                "script_name": "",
                "GET": [["query", "value"], ["query", "other"], ["empty", ""]],
                "client": ["127.0.0.1", 4711],
            },
        )
        self.assertEqual(meta["HTTP_X_HEADER"], "value")
        self.assertEqual(meta["QUERY_STRING"], "query=value&query=other&empty=")

    def test_only_listed_keys_of_the_environ_travel(self):
        message = self.make(REMOTE_USER="admin", SECRET="x", **{"app.object": object()})
        self.assertFalse(
            {"REMOTE_USER", "SECRET", "app.object", "wsgi.input"} & set(message["META"])
        )

    @override_settings(CHANNELS_META_KEYS=["REMOTE_USER"])
    def test_settings_list_other_keys(self):
        message = self.make(REMOTE_USER="admin", SECRET="x")
        self.assertEqual(message["META"]["REMOTE_USER"], "admin")
        self.assertNotIn("SECRET", message["META"])

    def test_numbers_of_the_environ_travel_as_text(self):
        message = self.make(CONTENT_LENGTH=12)
        self.assertEqual(message["META"]["CONTENT_LENGTH"], "12")

    def test_the_query_keeps_its_order(self):
        message = self.make(path="/?a=1&b=2&a=%C3%B6&broken=%F6;c")
        self.assertEqual(
            message["GET"],
            [["a", "1"], ["b", "2"], ["a", "ö"], ["broken", "\ufffd;c"]],
        )

    def test_unknown_port(self):
        for port in ["", "http"]:
            with self.subTest(port=port):
                message = self.make(REMOTE_PORT=port)
                self.assertEqual(message["client"], ["127.0.0.1", None])

    def test_script_name(self):
        message = self.make(SCRIPT_NAME="/prefix")
        self.assertEqual(message["script_name"], "/prefix")
        self.assertEqual(message["path"], "/prefix/foo/bar/")

    def test_a_request_is_rebuilt(self):
        request = HttpRequest.channel_decode(
            self.make(
                "post",
                "/f%C3%B6o/?a=1",
                b"name=value",
                content_type="application/x-www-form-urlencoded",
                secure=True,
                headers={"host": "testserver:8000", "cookie": "session=abc"},
            )
            | {"body": "bmFtZT12YWx1ZQ=="}
        )
        self.assertIsInstance(request, WSGIRequest)
        self.assertEqual(request.method, "POST")
        self.assertEqual(request.path, "/föo/")
        self.assertEqual(request.GET.dict(), {"a": "1"})
        self.assertEqual(request.POST.dict(), {"name": "value"})
        self.assertEqual(request.COOKIES, {"session": "abc"})
        self.assertEqual(
            request.build_absolute_uri(), "https://testserver:8000/f%C3%B6o/?a=1"
        )

    def test_what_is_no_request(self):
        message = self.make()
        for change in [
            {"META": None},
            {"META": []},
            {"META": 1},
        ]:
            with (
                self.subTest(change=change),
                self.assertRaisesMessage(InvalidMessage, "describes no HTTP request"),
            ):
                HttpRequest.channel_decode(message | change, BytesIO())
        with self.assertRaisesMessage(InvalidMessage, "KeyError: 'script_name'"):
            HttpRequest.channel_decode({"META": {}, "method": "GET"})

    def test_a_body_that_is_not_base64(self):
        for body in ["no base64", 1]:
            with (
                self.subTest(body=body),
                self.assertRaisesMessage(InvalidMessage, "'body' is not base64 text"),
            ):
                HttpRequest.channel_decode(self.make() | {"body": body})

    def test_the_least_that_describes_a_request(self):
        request = HttpRequest.channel_decode(
            {
                "method": "GET",
                "scheme": "http",
                "path": "/prefix/föo/",
                "script_name": "/prefix",
                "META": {"HTTP_HOST": "testserver"},
            }
        )
        self.assertEqual(request.path, "/prefix/föo/")
        self.assertEqual(request.path_info, "/föo/")
        self.assertEqual(
            request.build_absolute_uri(), "http://testserver/prefix/f%C3%B6o/"
        )
        self.assertEqual(request.body, b"")

    def test_keys_that_may_not_travel_are_left_out(self):
        message = self.make()
        message["META"] |= {"REMOTE_USER": "admin", "wsgi.input": "x"}
        request = HttpRequest.channel_decode(message)
        self.assertNotIn("REMOTE_USER", request.META)
        self.assertEqual(request.body, b"")

    def test_a_class_of_requests_decodes_to_itself(self):
        class OwnRequest(WSGIRequest):
            pass

        self.assertIs(type(OwnRequest.channel_decode(self.make())), OwnRequest)
        self.assertIs(type(HttpRequest.channel_decode(self.make())), WSGIRequest)

    def test_the_method_of_the_message_counts(self):
        message = self.make("post")
        self.assertEqual(message["META"]["REQUEST_METHOD"], "POST")
        request = HttpRequest.channel_decode(message | {"method": "PUT"})
        self.assertEqual(request.method, "PUT")
        self.assertEqual(request.META["REQUEST_METHOD"], "PUT")

    def test_a_rewritten_path_is_not_rewritten_again(self):
        request = HttpRequest.channel_decode(
            self.make(
                "get",
                "/",
                PATH_INFO="/page/",
                SCRIPT_URL="/prefix/page/",
            )
        )
        self.assertEqual((request.path, request.path_info), ("/prefix/page/", "/page/"))
        self.assertEqual(request.META["SCRIPT_URL"], "/prefix/page/")
