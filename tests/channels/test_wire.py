"""
Requests and responses that cross as messages: in one thread, as text, and
between two, over a backend that is not of the process.
"""

import socket
import tempfile
import threading
import time
from io import BytesIO

from django.channels import Channel, channels, consumer
from django.channels.backends.contract import PATIENCE
from django.channels.bodies import WINDOW, open_body
from django.channels.exceptions import ResponseBroken, ResponseTimeout
from django.channels.inbox import thread_inbox
from django.channels.interfaces.exchange import RESPONSE_PREFIX
from django.channels.messages import encode_bytes
from django.channels.registry import registry
from django.channels.worker import Worker
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.handlers.wsgi import WSGIHandler
from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler
from django.core.signals import request_finished
from django.http import FileResponse, HttpResponse, StreamingHttpResponse
from django.http.request import UnreadablePostError
from django.test import SimpleTestCase, override_settings
from django.test.client import BOUNDARY, MULTIPART_CONTENT, encode_multipart
from django.urls import clear_script_prefix, path, re_path

from .test_bodies import BrokenInput
from .test_wsgi import Result
from .utils import MEMORY, wait_until, with_workers

CHUNK = 1024
LARGE = bytes(range(256)) * 400


class QuietHandler(WSGIRequestHandler):
    def log_message(self, *args):
        pass


# What the views have done, for the tests to look at.
events = []


def echo(request):
    return HttpResponse(request.read(), content_type="application/octet-stream")


def read_some(request):
    return HttpResponse(request.read(4))


def ignore_body(request):
    return HttpResponse("not read")


def lines(request):
    return HttpResponse(str(len(list(request))))


def upload(request):
    file = request.FILES["file"]
    return HttpResponse(file.read(), headers={"X-Name": file.name, "X-Size": file.size})


def unreadable(request):
    try:
        request.read()
    except UnreadablePostError as exc:
        return HttpResponse(f"unreadable: {exc}")


def echo_stream(request):
    """Answer the body while it is being read."""
    return StreamingHttpResponse(iter(lambda: request.read(CHUNK), b""))


def endless(request):
    def parts():
        try:
            while True:
                events.append("part")
                yield b"part"
        finally:
            events.append("closed")

    return StreamingHttpResponse(parts())


def breaks_off(request):
    def parts():
        yield b"part"
        raise ValueError("The view has failed.")

    return StreamingHttpResponse(parts())


def file(request):
    handle = tempfile.TemporaryFile()
    handle.write(LARGE)
    handle.seek(int(request.GET.get("start", 0)))
    response = FileResponse(handle)
    response._resource_closers.append(lambda: events.append(handle.closed))
    return response


async def async_stream(request):
    async def parts():
        for part in ["a", "b"]:
            yield part

    return StreamingHttpResponse(parts())


urlpatterns = [
    path("echo/", echo),
    path("read-some/", read_some),
    path("ignore-body/", ignore_body),
    path("lines/", lines),
    path("upload/", upload),
    path("unreadable/", unreadable),
    path("echo-stream/", echo_stream),
    path("endless/", endless),
    path("breaks-off/", breaks_off),
    path("file/", file),
    path("async-stream/", async_stream),
    path("longpoll/<int:number>/", Channel("tests.long-poll").as_view()),
    path("longpoll/<uuid:key>/", Channel("tests.long-poll").as_view()),
    re_path(r"^longpoll/(\d+)/(\w+)/$", Channel("tests.long-poll").as_view()),
    path("impatient/", Channel("tests.long-poll").as_view(timeout=0.05)),
    path("patient/", Channel("tests.long-poll").as_view(timeout=PATIENCE)),
]


class WireTests:
    """What holds on each kind of wire. Subclasses set the backend up."""

    def setUp(self):
        events.clear()
        self.enterContext(registry.isolate())
        self.backend = channels["default"]
        self.backend.flush()
        self.backend.chunk_size = CHUNK
        self.backend.expiry = PATIENCE
        self.application = WSGIHandler()

    def tearDown(self):
        # What was on its way to a client that left, the next request drops.
        inbox = thread_inbox(self.backend, RESPONSE_PREFIX)
        while self.backend.receive([inbox.name]):
            pass
        # Each test ends with nothing in the store, and nothing that goes on.
        wait_until(lambda: self.backend.depths() == {})

    def post(self, path, body, **environ):
        return Result(self.application, path, body, REQUEST_METHOD="POST", **environ)

    def test_bodies_of_any_size(self):
        for size in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 5 * CHUNK, len(LARGE)]:
            with self.subTest(size=size):
                self.assertEqual(
                    self.post("/echo/", LARGE[:size]).content, LARGE[:size]
                )

    def test_body_that_is_read_in_part(self):
        self.assertEqual(self.post("/read-some/", LARGE).content, LARGE[:4])

    def test_body_that_is_not_read(self):
        result = self.post("/ignore-body/", LARGE)
        self.assertEqual(result.content, b"not read")
        self.assertEqual(len(result.environ["wsgi.input"]), len(LARGE))

    def test_body_that_is_read_in_lines(self):
        body = b"line\n" * 1000
        self.assertEqual(self.post("/lines/", body).content, b"1000")

    def test_uploaded_file(self):
        data = {"file": SimpleUploadedFile("name.bin", LARGE)}
        body = encode_multipart(BOUNDARY, data)
        result = self.post("/upload/", body, CONTENT_TYPE=MULTIPART_CONTENT)
        self.assertEqual(result.content, LARGE)
        self.assertIn(("X-Name", "name.bin"), result.headers)
        self.assertIn(("X-Size", str(len(LARGE))), result.headers)

    def test_client_that_stops_half_way(self):
        for size in [10, 3 * CHUNK]:
            with self.subTest(size=size):
                result = self.post(
                    "/unreadable/",
                    b"",
                    CONTENT_LENGTH=str(size + 10),
                    **{"wsgi.input": BrokenInput(b"x" * size)},
                )
                self.assertEqual(result.content, b"unreadable: The connection is gone.")

    def test_client_that_sends_less_than_it_said(self):
        for size in [10, 3 * CHUNK]:
            with self.subTest(size=size):
                result = self.post(
                    "/echo/",
                    b"",
                    CONTENT_LENGTH=str(size + 10),
                    **{"wsgi.input": BytesIO(LARGE[:size])},
                )
                self.assertEqual(result.content, LARGE[:size])

    def test_body_is_answered_while_it_comes(self):
        result = self.post("/echo-stream/", LARGE)
        self.assertEqual(result.content, LARGE)

    def test_stream_waits_for_its_reader(self):
        result = Result(self.application, "/endless/")
        parts = iter(result.iterable)
        for _ in range(10):
            self.assertEqual(next(parts), b"part")
        self.assertLessEqual(events.count("part"), 10 + WINDOW + 1)
        result.iterable.close()
        wait_until(lambda: "closed" in events)

    def test_stream_is_closed_when_the_client_leaves(self):
        result = Result(self.application, "/endless/")
        next(iter(result.iterable))
        result.iterable.close()
        wait_until(lambda: events[-1:] == ["closed"])

    def test_stream_is_closed_when_nothing_of_it_is_read(self):
        Result(self.application, "/endless/").iterable.close()
        wait_until(lambda: events[-1:] in ([], ["closed"]))

    def test_stream_is_closed_when_a_server_loses_its_client(self):
        server = ThreadedWSGIServer(("127.0.0.1", 0), QuietHandler)
        self.addCleanup(server.server_close)
        server.set_app(self.application)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.shutdown)
        with socket.create_connection(server.server_address, PATIENCE) as client:
            client.sendall(b"GET /endless/ HTTP/1.1\r\nHost: testserver\r\n\r\n")
            while b"part" not in client.recv(1024):
                pass
            self.assertNotIn("closed", events)
        wait_until(lambda: events[-1:] == ["closed"])

    def test_client_that_leaves_is_told_of(self):
        left = []
        consumer("django.wsgi.disconnect")(lambda **message: left.append(message))
        result = Result(self.application, "/endless/")
        next(iter(result.iterable))
        result.iterable.close()
        if self.tells_disconnects:
            wait_until(lambda: left)
            self.assertEqual(left[0]["path"], "/endless/")
            self.assertRegex(left[0]["response_channel"], r"^django\.wsgi\.response\.")
        Result(self.application, "/ignore-body/").content
        self.assertLessEqual(len(left), 1)

    def test_file(self):
        for start in [0, 10, len(LARGE)]:
            with self.subTest(start=start):
                events.clear()
                result = Result(
                    self.application, "/file/", QUERY_STRING=f"start={start}"
                )
                self.assertEqual(result.content, LARGE[start:])
                self.assertIn(
                    ("Content-Length", str(len(LARGE) - start)), result.headers
                )
                wait_until(lambda: events)
                self.assertEqual(events, [True])

    def test_responses_end_once(self):
        ended = []

        def record(sender, **kwargs):
            ended.append(sender)

        request_finished.connect(record)
        self.addCleanup(request_finished.disconnect, record)
        for number, url in enumerate(["/ignore-body/", "/echo-stream/"], 1):
            self.post(url, b"body").content
            wait_until(lambda: len(ended) >= number * self.ends)
            self.assertEqual(len(ended), number * self.ends)

    def long_poll(self, answer):
        """Register the consumer of long polls, which hands `answer` its message."""

        @consumer("tests.long-poll")
        def connected(**message):
            events.append(message)
            if answer is not None:
                Channel(message["response_channel"]).send(answer)

    def test_view_that_hands_over_its_requests(self):
        self.long_poll({"content": "later"})
        result = self.post("/longpoll/7/", b"body", QUERY_STRING="a=1")
        self.assertEqual(result.content, b"later")
        self.assertEqual(result.status, "200 OK")
        (message,) = events
        self.assertEqual(message["channel"], "tests.long-poll")
        self.assertEqual(message["url_kwargs"], {"number": 7})
        self.assertEqual(message["method"], "POST")
        self.assertEqual(message["path"], "/longpoll/7/")
        self.assertEqual(message["GET"], [["a", "1"]])
        self.assertEqual(message["body"], "Ym9keQ==")

    def test_values_of_the_url_travel_as_json(self):
        self.long_poll({"content": ""})
        key = "12345678-1234-1234-1234-123456789abc"
        Result(self.application, f"/longpoll/{key}/").content
        Result(self.application, "/longpoll/7/word/").content
        self.assertEqual(
            [(message["url_args"], message["url_kwargs"]) for message in events],
            [([], {"key": key}), (["7", "word"], {})],
        )

    def test_body_that_middleware_has_read_is_handed_over(self):
        self.long_poll({"content": ""})
        data = {"file": SimpleUploadedFile("name.bin", b"x")}
        body = encode_multipart(BOUNDARY, data)
        with override_settings(MIDDLEWARE=["channels.test_wire.ReadingMiddleware"]):
            self.application = WSGIHandler()
            result = self.post("/longpoll/7/", body, CONTENT_TYPE=MULTIPART_CONTENT)
        self.assertEqual(result.status, "200 OK")
        self.assertEqual(events[0]["body"], encode_bytes(body))

    def test_body_that_middleware_has_begun_to_read_is_not_handed_over(self):
        self.long_poll({"content": ""})
        with override_settings(MIDDLEWARE=["channels.test_wire.PeekingMiddleware"]):
            self.application = WSGIHandler()
            result = self.post("/longpoll/7/", LARGE)
        self.assertEqual(result.status, "500 Internal Server Error")
        self.assertEqual(events, [])

    def test_script_name_of_any_letters(self):
        self.addCleanup(clear_script_prefix)
        result = Result(
            self.application,
            "/ignore-body/",
            SCRIPT_NAME="/й".encode().decode("latin-1"),
        )
        self.assertEqual(result.content, b"not read")

    def test_nothing_is_kept_of_answered_requests(self):
        for _ in range(3):
            self.post("/echo/", LARGE).content
            inbox = thread_inbox(self.backend, RESPONSE_PREFIX)
            self.assertEqual(inbox._arrived, {})

    def test_site_consumer_reads_a_body_that_breaks_off(self):
        @consumer("django.wsgi.request")
        def read(**message):
            body = open_body(self.backend, message)
            try:
                body.read()
            except OSError as exc:
                answer = {"content": str(exc)}
                Channel(message["response_channel"]).send(answer)

        for size in [10, 3 * CHUNK]:
            with self.subTest(size=size):
                result = self.post(
                    "/",
                    b"",
                    CONTENT_LENGTH=str(size + 10),
                    **{"wsgi.input": BrokenInput(b"x" * size)},
                )
                self.assertEqual(result.content, b"The connection is gone.")

    def test_nonsense_of_one_who_reads_a_body(self):
        for message in [{"read": 0}, {"read": 65}, {"read": "1"}, {"timeout": -1}]:
            self.long_poll(message)
            with (
                self.subTest(message=message),
                self.assertLogs("django.request", "ERROR") as logs,
            ):
                result = Result(self.application, "/longpoll/7/")
                self.assertEqual(result.status, "500 Internal Server Error")
                self.assertIn("must be a number above 0", logs.output[0])
            del registry._registry["default", "tests.long-poll"]

    def test_long_poll_that_nobody_answers(self):
        self.long_poll(None)
        with self.assertLogs("django.request", "ERROR"):
            result = Result(self.application, "/impatient/")
        self.assertEqual(result.status, "504 Gateway Timeout")
        self.assertEqual(
            result.content, b"The request was not answered within 0.05 seconds."
        )
        wait_until(lambda: events)

    def test_long_poll_that_waits_longer_than_others(self):
        self.backend.expiry = 0.2

        @consumer("tests.long-poll")
        def connected(response_channel, **message):
            time.sleep(0.5)
            Channel(response_channel).send({"content": "at last"})

        result = Result(self.application, "/patient/")
        self.assertEqual(result.content, b"at last")

    def test_handed_over_request_has_passed_middleware(self):
        self.long_poll({"content": "later"})
        middleware = ["channels.test_wire.RefusingMiddleware"]
        with override_settings(MIDDLEWARE=middleware):
            result = Result(WSGIHandler(), "/longpoll/7/")
        self.assertEqual(result.status, "403 Forbidden")
        self.assertEqual(events, [])


def ReadingMiddleware(get_response):
    def middleware(request):
        request.POST
        return get_response(request)

    return middleware


def PeekingMiddleware(get_response):
    def middleware(request):
        request.read(10)
        return get_response(request)

    return middleware


def RefusingMiddleware(get_response):
    return lambda request: HttpResponse("refused", status=403)


@override_settings(ROOT_URLCONF="channels.test_wire", MIDDLEWARE=[])
class HandedOverTests(SimpleTestCase):
    """Requests that are handed over where nothing else crosses as text."""

    def setUp(self):
        events.clear()
        self.enterContext(registry.isolate())

        @consumer("tests.long-poll")
        def connected(response_channel, **message):
            events.append(message)
            Channel(response_channel).send({"content": "later"})

    def test_handed_over(self):
        result = Result(WSGIHandler(), "/longpoll/7/", b"body", REQUEST_METHOD="POST")
        self.assertEqual(result.content, b"later")
        self.assertEqual(events[0]["body"], encode_bytes(b"body"))

    def test_large_body_is_sent_as_it_is_read(self):
        channels["default"].chunk_size = CHUNK
        self.addCleanup(delattr, channels["default"], "chunk_size")
        registry._registry.clear()

        @consumer("tests.long-poll")
        def connected(response_channel, **message):
            message["response_channel"] = response_channel
            body = open_body(channels["default"], message).read()
            Channel(response_channel).send({"bytes": encode_bytes(body)})

        result = Result(WSGIHandler(), "/longpoll/7/", LARGE, REQUEST_METHOD="POST")
        self.assertEqual(result.content, LARGE)

    def test_body_that_middleware_has_read(self):
        data = {"file": SimpleUploadedFile("name.bin", b"x")}
        body = encode_multipart(BOUNDARY, data)
        with override_settings(MIDDLEWARE=["channels.test_wire.ReadingMiddleware"]):
            with self.assertLogs("django.request", "ERROR") as logs:
                result = Result(
                    WSGIHandler(),
                    "/longpoll/7/",
                    body,
                    CONTENT_TYPE=MULTIPART_CONTENT,
                    REQUEST_METHOD="POST",
                )
        self.assertEqual(result.status, "500 Internal Server Error")
        self.assertIn("Middleware has read the body", logs.output[0])
        self.assertEqual(events, [])


@override_settings(
    ROOT_URLCONF="channels.test_wire",
    MIDDLEWARE=[],
    CHANNELS={
        "default": {
            "BACKEND": MEMORY,
            "EXPIRY": PATIENCE,
            "OPTIONS": {"SERIALIZE": True},
        }
    },
)
class TextWireTests(WireTests, SimpleTestCase):
    """One thread, and the text of messages between the two sides."""

    # The thread that is told of a client that left is the one that knows it.
    tells_disconnects = False
    ends = 1

    def test_exception_in_the_middle_of_a_response(self):
        result = Result(self.application, "/breaks-off/")
        with self.assertRaisesMessage(ValueError, "The view has failed."):
            result.content

    def test_the_test_client_sees_what_has_crossed(self):
        response = self.client.post("/echo/", LARGE, content_type="text/plain")
        self.assertEqual(response.content, LARGE)
        self.assertEqual(response.wsgi_request.META["CONTENT_TYPE"], "text/plain")
        self.assertNotIn("wsgi.file_wrapper", response.wsgi_request.environ)
        response = self.client.get("/file/")
        self.assertEqual(b"".join(response.streaming_content), LARGE)
        response = self.client.get("/file/", query_params={"start": 10})
        self.assertEqual(response.getvalue(), LARGE[10:])
        self.assertIs(self.client.get("/async-stream/").is_async, True)


@override_settings(
    ROOT_URLCONF="channels.test_wire",
    MIDDLEWARE=[],
    CHANNELS={
        "default": {"BACKEND": "channels.remote.RemoteBackend", "EXPIRY": PATIENCE}
    },
)
@with_workers
class RemoteWireTests(WireTests, SimpleTestCase):
    """A worker in a thread of its own, and a backend between the two."""

    tells_disconnects = True
    # The interface closes what it was given, and the worker what it sent.
    ends = 2

    def setUp(self):
        super().setUp()
        self.worker = worker = Worker(self.backend)
        thread = threading.Thread(target=worker.run, daemon=True)
        thread.start()
        self.addCleanup(thread.join, PATIENCE)
        self.addCleanup(worker.stop)

    def tearDown(self):
        # The worker has to be free.
        done = threading.Event()
        consumer("tests.done")(lambda **kwargs: done.set())
        Channel("tests.done").send({})
        self.worker.wake()
        self.assertTrue(done.wait(PATIENCE))
        super().tearDown()

    def test_exception_in_the_middle_of_a_response(self):
        with self.assertLogs("django.channels.request", "ERROR") as logs:
            result = Result(self.application, "/breaks-off/")
            with self.assertRaisesMessage(ResponseBroken, "ended early: ValueError"):
                result.content
            wait_until(lambda: logs.output)
        self.assertIn("'/breaks-off/' ended early", logs.output[0])
        self.assertIn("The view has failed.", logs.output[0])

    def test_stream_is_closed_when_its_reader_is_lost(self):
        self.backend.expiry = 0.3
        result = Result(self.application, "/endless/")
        wait_until(lambda: events[-1:] == ["closed"])
        with self.assertRaises((ResponseTimeout, ResponseBroken)):
            result.content
        self.backend.flush()

    def test_async_stream(self):
        self.assertEqual(Result(self.application, "/async-stream/").content, b"ab")
