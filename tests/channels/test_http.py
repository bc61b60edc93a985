from django.channels.exceptions import InvalidMessage
from django.channels.http import (
    request_to_message,
    response_from_message,
    response_to_messages,
)
from django.channels.messages import clean_message, encode_bytes
from django.core.handlers.channel import request_from_message
from django.core.handlers.wsgi import WSGIRequest
from django.http import HttpResponse, HttpResponseRedirect, StreamingHttpResponse
from django.test import RequestFactory, SimpleTestCase


class RequestMessageTests(SimpleTestCase):
    def make(self, method="get", path="/foo/bar/", *args, **kwargs):
        request = getattr(RequestFactory(), method)(path, *args, **kwargs)
        return clean_message(request_to_message(request, "answers!1"))

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

    def test_body_travels_as_base64(self):
        message = self.make("post", data=b"\x00\xff", content_type="text/plain")
        self.assertEqual(message["body"], "AP8=")
        self.assertEqual(message["META"]["CONTENT_LENGTH"], "2")

    def test_only_listed_keys_of_the_environ_travel(self):
        message = self.make(REMOTE_USER="admin", SECRET="x", **{"app.object": object()})
        self.assertFalse(
            {"REMOTE_USER", "SECRET", "app.object", "wsgi.input"} & set(message["META"])
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
        request = request_from_message(
            self.make(
                "post",
                "/f%C3%B6o/?a=1",
                {"name": "value"},
                secure=True,
                headers={"host": "testserver:8000", "cookie": "session=abc"},
            )
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
            {"method": 1},
            {"body": "no base64"},
            {"body": 1},
        ]:
            with (
                self.subTest(change=change),
                self.assertRaisesMessage(InvalidMessage, "describes no HTTP request"),
            ):
                request_from_message(message | change)
        with self.assertRaisesMessage(InvalidMessage, "KeyError: 'scheme'"):
            request_from_message({"META": {}, "method": "GET"})


class ResponseMessageTests(SimpleTestCase):
    def carry(self, response):
        """Return `response` as it is after crossing as messages."""
        messages = [
            clean_message(message) for message in response_to_messages(response)
        ]
        rest = iter(messages[1:])
        return response_from_message(messages[0], lambda: next(rest))

    def test_response_is_carried(self):
        response = HttpResponse(b"\x00\xff", status=201, reason="Made")
        response["X-Header"] = "välue"
        response.set_cookie("one", "1", httponly=True)
        response.set_cookie("two", "2")
        carried = self.carry(response)
        self.assertEqual(carried.content, b"\x00\xff")
        self.assertEqual(carried.status_code, 201)
        self.assertEqual(carried.reason_phrase, "Made")
        self.assertEqual(
            [item for item in carried.items() if item[0] != "Content-Length"],
            [
                *response.items(),
                ("Set-Cookie", "one=1; HttpOnly; Path=/"),
                ("Set-Cookie", "two=2; Path=/"),
            ],
        )

    def test_redirect_is_carried(self):
        carried = self.carry(HttpResponseRedirect("/there/"))
        self.assertEqual((carried.status_code, carried["Location"]), (302, "/there/"))

    def test_stream_is_carried(self):
        carried = self.carry(StreamingHttpResponse(iter(["a", b"b", "ü"])))
        self.assertIs(carried.streaming, True)
        self.assertEqual(list(carried), [b"a", b"b", "ü".encode()])

    def test_content_alone_is_a_response(self):
        response = response_from_message({"content": "Hellö"})
        self.assertEqual(response.status_code, 200)
        self.assertEqual(response.reason_phrase, "OK")
        self.assertEqual(response.content, "Hellö".encode())
        self.assertEqual(
            response.items(),
            [("Content-Type", "text/html; charset=utf-8"), ("Content-Length", "6")],
        )

    def test_content_follows_the_charset_of_its_type(self):
        message = {"content": "ö", "content_type": "text/plain; charset=latin-1"}
        self.assertEqual(response_from_message(message).content, b"\xf6")

    def test_mimetype_is_taken_as_content_type(self):
        response = response_from_message({"content": "", "mimetype": "text/plain"})
        self.assertEqual(response["Content-Type"], "text/plain")

    def test_bytes(self):
        message = {"bytes": encode_bytes(b"\x00\xff")}
        self.assertEqual(response_from_message(message).content, b"\x00\xff")

    def test_status_alone_is_a_response(self):
        response = response_from_message({"status": 204})
        self.assertEqual((response.status_code, response.content), (204, b""))
        self.assertNotIn("Content-Length", response)

    def test_repeated_headers_are_kept(self):
        message = {
            "content": "",
            "headers": [
                ["Vary", "Cookie"],
                ["set-cookie", "a=1"],
                ["VARY", "Accept"],
                ["Set-Cookie", "b=2"],
            ],
        }
        items = response_from_message(message).items()
        self.assertIn(("VARY", "Cookie, Accept"), items)
        self.assertEqual(
            [value for name, value in items if name == "Set-Cookie"], ["a=1", "b=2"]
        )

    def test_nonsense_is_refused_with_the_key(self):
        for message, fault in [
            ({}, "needs 'content', 'bytes' or 'status'"),
            ({"contnet": "x"}, "has no key 'contnet'"),
            ({"content": 1}, "'content' of a response must be of the type str"),
            ({"content": None}, "'content' of a response must be of the type str"),
            ({"content": "x", "bytes": ""}, "'content' or 'bytes', not both"),
            ({"bytes": "no base64"}, "'bytes' is not base64 text"),
            ({"status": "200"}, "'status' of a response must be of the type int"),
            ({"status": True}, "'status' of a response must be of the type int"),
            ({"status": 99}, "'status' of a response must be from 200 to 599"),
            ({"status": 101}, "'status' of a response must be from 200 to 599"),
            ({"status": 600}, "'status' of a response must be from 200 to 599"),
            ({"status": 200, "reason": "a\r\nb"}, "'reason'"),
            ({"content": "", "headers": {}}, "'headers' of a response"),
            ({"content": "", "headers": [["a"]]}, "pairs of strings"),
            ({"content": "", "headers": [["a", 1]]}, "pairs of strings"),
            (
                {"content": "", "headers": [["a", "b\r\nc: d"]]},
                "'a' must be of one line",
            ),
            (
                {"content": "", "headers": [["Set-Cookie", "b\nc"]]},
                "must be of one line",
            ),
            ({"content": "", "headers": [["a b", "c"]]}, "'a b' is not a valid name"),
            ({"content": "", "headers": [["", "c"]]}, "'' is not a valid name"),
            ({"content": "", "headers": [["ä", "c"]]}, "'ä' is not a valid name"),
            (
                {"content": "", "content_type": "a\nb"},
                "'content_type' of a response must be of one line",
            ),
            (
                {"content": "", "content_type": "text/plain; charset=no"},
                "does not fit the charset",
            ),
            ({"content": "", "more": 1}, "'more' of a response must be of the type"),
        ]:
            with (
                self.subTest(message=message),
                self.assertRaisesMessage(InvalidMessage, fault),
            ):
                response_from_message(message)
