import asyncio

from django.channels.exceptions import InvalidMessage, ResponseBroken
from django.channels.messages import clean_message, encode_bytes
from django.channels.replies import response_messages
from django.channels.responses import decode_response, split_message
from django.http import (
    HttpResponse,
    HttpResponseNotModified,
    HttpResponseRedirect,
    StreamingHttpResponse,
)
from django.test import SimpleTestCase


class ResponseMessageTests(SimpleTestCase):
    def carry(self, response):
        """Return `response` as it is after crossing as messages."""
        messages = map(clean_message, response_messages(response, 64))
        return decode_response(next(messages), messages)

    def test_response_is_carried(self):
        response = HttpResponse(b"\x00\xff", status=201, reason="Made")
        response["X-Header"] = "välue"
        response.set_cookie("one", "1", httponly=True)
        response.set_cookie("two", "2")
        carried = self.carry(response)
        self.assertEqual(carried.content, b"\x00\xff")
        self.assertEqual(carried.status_code, 201)
        self.assertEqual(carried.reason_phrase, "Made")
        self.assertEqual(list(carried.items()), list(response.items()))
        self.assertEqual(carried.cookies.output(), response.cookies.output())

    def test_redirect_is_carried(self):
        carried = self.carry(HttpResponseRedirect("/there/"))
        self.assertEqual((carried.status_code, carried["Location"]), (302, "/there/"))

    def test_large_content_is_split_and_joined(self):
        for content in ["x" * 1000, "ü€\U0001f600" * 100, bytes(range(256)) * 4, ""]:
            with self.subTest(content=content[:3]):
                response = HttpResponse(content)
                messages = list(response_messages(response, 64))
                for message in messages:
                    size = len(message.get("content", "").encode())
                    self.assertLessEqual(size, 64)
                    self.assertLessEqual(len(message.get("bytes", "")), 88)
                carried = decode_response(messages[0], iter(messages[1:]))
                self.assertEqual(b"".join(carried), response.content)
                self.assertEqual(list(carried.items()), list(response.items()))

    def test_a_part_that_is_split_says_that_more_is_to_come(self):
        parts = list(
            split_message({"bytes": encode_bytes(b"x" * 100), "more": True}, 64)
        )
        self.assertEqual([part["more"] for part in parts], [True, True])
        parts = list(split_message({"bytes": encode_bytes(b"x" * 100)}, 64))
        self.assertEqual([part.get("more") for part in parts], [True, None])

    def test_missing_content_type_is_carried(self):
        carried = self.carry(HttpResponseNotModified())
        self.assertEqual(list(carried.items()), [])
        self.assertEqual(carried.status_code, 304)

    def test_headers_keep_their_order(self):
        response = HttpResponse(headers={"X-First": "1", "Content-Type": "text/plain"})
        self.assertEqual(list(self.carry(response).items()), list(response.items()))

    def test_stream_is_carried(self):
        carried = self.carry(StreamingHttpResponse(iter(["a", b"b", "ü"])))
        self.assertIs(carried.streaming, True)
        self.assertEqual(list(carried), [b"a", b"b", "ü".encode()])

    def test_async_stream_is_carried(self):
        async def parts():
            yield "a"
            yield b"b"

        carried = self.carry(StreamingHttpResponse(parts()))
        self.assertEqual(list(carried), [b"a", b"b"])

    def test_async_stream_runs_in_one_task(self):
        tasks = set()

        async def parts():
            for part in "ab":
                await asyncio.sleep(0)
                tasks.add(asyncio.current_task())
                yield part

        self.assertEqual(list(self.carry(StreamingHttpResponse(parts()))), [b"a", b"b"])
        self.assertEqual(len(tasks), 1)

    def test_async_stream_is_closed(self):
        closed = []

        async def parts():
            try:
                while True:
                    yield "part"
            finally:
                await asyncio.sleep(0)
                closed.append(True)

        messages = response_messages(StreamingHttpResponse(parts()), 64)
        for _ in range(3):
            next(messages)
        messages.close()
        self.assertEqual(closed, [True])

    def test_async_stream_that_fails(self):
        async def parts():
            yield "part"
            raise ValueError("The view has failed.")

        messages = response_messages(StreamingHttpResponse(parts()), 64)
        with self.assertRaisesMessage(ValueError, "The view has failed."):
            list(messages)

    def test_a_stream_that_breaks_off(self):
        head = {"content": "a", "more": True}
        for part, error, msg in [
            ({"error": "KeyError"}, ResponseBroken, "ended early: KeyError"),
            ({"status": 500, "content": ""}, InvalidMessage, "A second response began"),
            ({"content": 1}, InvalidMessage, "'content' of a response must be"),
        ]:
            with self.subTest(part=part):
                parts = iter(decode_response(head, iter([part])))
                self.assertEqual(next(parts), b"a")
                with self.assertRaisesMessage(error, msg):
                    next(parts)
        with self.assertRaisesMessage(ResponseBroken, "The parts of the response"):
            list(decode_response(head, iter([])))

    def test_own_class_encodes_and_decodes(self):
        class UpperResponse(HttpResponse):
            def channel_encode(self):
                message = super().channel_encode()
                return message | {"content": message["content"].upper()}

            @classmethod
            def channel_decode(cls, message):
                response = super().channel_decode(message)
                response.decoded = True
                return response

        message = UpperResponse("text").channel_encode()
        self.assertEqual(message["content"], "TEXT")
        response = decode_response(message, response_class=UpperResponse)
        self.assertIs(type(response), UpperResponse)
        self.assertIs(response.decoded, True)

    def test_content_alone_is_a_response(self):
        response = decode_response({"content": "Hellö"})
        self.assertEqual(response.status_code, 200)
        self.assertEqual(response.reason_phrase, "OK")
        self.assertEqual(response.content, "Hellö".encode())
        self.assertEqual(
            list(response.items()), [("Content-Type", "text/html; charset=utf-8")]
        )

    def test_content_follows_the_charset_of_its_type(self):
        message = {"content": "ö", "content_type": "text/plain; charset=latin-1"}
        self.assertEqual(decode_response(message).content, b"\xf6")

    def test_mimetype_is_taken_as_content_type(self):
        response = decode_response({"content": "", "mimetype": "text/plain"})
        self.assertEqual(response["Content-Type"], "text/plain")

    def test_bytes(self):
        message = {"bytes": encode_bytes(b"\x00\xff")}
        self.assertEqual(decode_response(message).content, b"\x00\xff")

    def test_status_alone_is_a_response(self):
        response = decode_response({"status": 204})
        self.assertEqual((response.status_code, response.content), (204, b""))

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
        response = decode_response(message)
        self.assertEqual(response["Vary"], "Cookie, Accept")
        self.assertEqual(
            response.cookies.output(), "Set-Cookie: a=1\r\nSet-Cookie: b=2"
        )

    def test_cookies_that_no_parser_takes_go_out_as_they_came(self):
        lines = ["a=1; Path=/x", "a=1; Path=/y", "b=1;Path=/", "c d", 'e="', "=f"]
        message = {"content": "", "headers": [["Set-Cookie", line] for line in lines]}
        cookies = decode_response(message).cookies.values()
        self.assertEqual(
            [cookie.output(header="") for cookie in cookies],
            [f" {line}" for line in lines],
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
                decode_response(message)
