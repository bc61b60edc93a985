import threading
from pathlib import Path
from wsgiref.util import FileWrapper

from django.channels import Channel, channels, consumer
from django.channels.backends.contract import PATIENCE
from django.channels.interfaces.exchange import RequestMessage
from django.channels.interfaces.wsgi import Switch
from django.channels.registry import registry
from django.channels.worker import Worker
from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.core.handlers.wsgi import WSGIHandler, WSGIRequest
from django.core.signals import request_finished, request_started
from django.db import connection
from django.test import (
    RequestFactory,
    SimpleTestCase,
    TransactionTestCase,
    override_settings,
)
from django.test.client import FakePayload

from . import views
from .utils import MEMORY, wait_until, with_workers

HANDLER_PATH = "channels.test_wsgi.HeaderMiddleware"


def HeaderMiddleware(get_response):
    def middleware(request):
        response = get_response(request)
        response["X-Middleware"] = "ran"
        return response

    return middleware


class Result:
    """What a WSGI server has been given for a request."""

    def __init__(self, application, path="/hello/", body=b"", **environ):
        self.environ = RequestFactory()._base_environ(
            **{
                "PATH_INFO": path,
                "CONTENT_LENGTH": str(len(body)),
                "wsgi.input": FakePayload(body),
                **environ,
            }
        )
        self.iterable = application(self.environ, self.start_response)

    def start_response(self, status, headers):
        self.status = status
        self.headers = headers

    @property
    def content(self):
        try:
            return b"".join(self.iterable)
        finally:
            self.iterable.close()


class HandlerTestCase(SimpleTestCase):
    def setUp(self):
        views.seen.clear()
        self.enterContext(registry.isolate())
        self.enterContext(
            override_settings(ROOT_URLCONF="channels.urls", MIDDLEWARE=[])
        )


class SameAsBeforeTests(HandlerTestCase):
    """What works without channels works the same with them."""

    def test_the_view_answers(self):
        result = Result(WSGIHandler())
        self.assertEqual(result.status, "200 OK")
        self.assertEqual(result.headers, [("Content-Type", "text/html; charset=utf-8")])
        self.assertEqual(result.content, b"Hello")

    def test_the_server_gets_the_response_of_the_view(self):
        result = Result(WSGIHandler())
        self.assertIs(result.iterable, views.seen["response"])

    def test_the_view_runs_in_the_thread_of_the_server(self):
        Result(WSGIHandler())
        self.assertEqual(views.seen["thread"], threading.get_ident())

    def test_the_view_sees_the_environ_of_the_server(self):
        live = object()
        result = Result(WSGIHandler(), **{"middleware.object": live})
        self.assertIs(views.seen["request"].environ, result.environ)
        self.assertIs(views.seen["request"].META["middleware.object"], live)

    @override_settings(MIDDLEWARE=[HANDLER_PATH])
    def test_middleware_runs(self):
        self.assertIn(("X-Middleware", "ran"), Result(WSGIHandler()).headers)

    def test_signals(self):
        senders = []

        def record(sender, signal, **kwargs):
            senders.append((signal, sender, kwargs.get("environ")))

        for signal in [request_started, request_finished]:
            signal.connect(record)
            self.addCleanup(signal.disconnect, record)
        result = Result(WSGIHandler())
        self.assertEqual(senders, [(request_started, WSGIHandler, result.environ)])
        result.iterable.close()
        self.assertEqual(senders[1:], [(request_finished, WSGIHandler, None)])

    def test_exception_in_the_view(self):
        with self.assertLogs("django.request", "ERROR"):
            self.assertEqual(
                Result(WSGIHandler(), "/fails/").status, "500 Internal Server Error"
            )

    @override_settings(DEBUG_PROPAGATE_EXCEPTIONS=True)
    def test_propagated_exception(self):
        with self.assertRaisesMessage(ValueError, "The view has failed."):
            Result(WSGIHandler(), "/fails/")

    def test_streamed_parts_are_made_as_they_are_read(self):
        result = Result(WSGIHandler(), "/stream/")
        parts = iter(result.iterable)
        self.assertNotIn("parts", views.seen)
        self.assertEqual(next(parts), b"0")
        self.assertEqual(views.seen["parts"], [0])
        self.assertEqual(list(parts), [b"1", b"2"])
        result.iterable.close()

    def test_the_body_is_read_as_the_view_reads_it(self):
        body = FakePayload(b"12345678")
        result = Result(
            WSGIHandler(),
            "/read-some/",
            **{"wsgi.input": body, "CONTENT_LENGTH": "8", "REQUEST_METHOD": "POST"},
        )
        self.assertEqual(result.content, b"1234")
        self.assertEqual(len(body), 4)

    def test_file_wrapper_of_the_server_is_used(self):
        result = Result(WSGIHandler(), "/file/", **{"wsgi.file_wrapper": FileWrapper})
        self.assertIsInstance(result.iterable, FileWrapper)
        self.assertEqual(result.content, Path(views.__file__).read_bytes())

    def test_async_view(self):
        result = Result(WSGIHandler(), "/hello-async/")
        self.assertEqual(result.content, b"Hello from a coroutine")

    def test_handler_with_a_request_class_of_its_own(self):
        class OwnRequest(WSGIRequest):
            pass

        class Handler(WSGIHandler):
            request_class = OwnRequest

        Result(Handler())
        self.assertIsInstance(views.seen["request"], OwnRequest)

    def test_handler_with_a_get_response_of_its_own(self):
        class Handler(WSGIHandler):
            def get_response(self, request):
                response = super().get_response(request)
                response["X-Handler"] = "own"
                return response

        self.assertIn(("X-Handler", "own"), Result(Handler()).headers)

    def test_switched_off(self):
        self.addCleanup(setattr, Switch, "on", True)
        consumer("django.wsgi.request")(lambda **kwargs: self.fail("It was called."))
        Switch.on = False
        self.assertEqual(Result(WSGIHandler()).content, b"Hello")


class AtomicRequestsTests(TransactionTestCase):
    available_apps = []

    def test_atomic_requests(self):
        self.addCleanup(
            connection.settings_dict.__setitem__,
            "ATOMIC_REQUESTS",
            connection.settings_dict["ATOMIC_REQUESTS"],
        )
        with override_settings(ROOT_URLCONF="channels.urls"):
            for value in [True, False]:
                with self.subTest(value=value):
                    connection.settings_dict["ATOMIC_REQUESTS"] = value
                    content = Result(WSGIHandler(), "/atomic/").content
                    self.assertEqual(content, str(value).encode())


class BuiltInConsumerTests(HandlerTestCase):
    def test_each_request_is_a_message(self):
        built_in = registry.built_in("django.wsgi.request")
        messages = []

        def spy(channel, message):
            messages.append((channel, message))
            built_in(channel, message)

        spy.converts_exceptions = True
        registry.register(spy, ["django.wsgi.request"])
        self.assertEqual(Result(WSGIHandler()).content, b"Hello")
        self.assertEqual(self.client.get("/hello/").content, b"Hello")
        self.assertEqual(
            [channel for channel, _ in messages], ["django.wsgi.request"] * 2
        )
        for _, message in messages:
            self.assertIsInstance(message, RequestMessage)
            self.assertEqual(message["path"], "/hello/")
            self.assertEqual(len(dict(message)), len(message))
            message.close()

    def test_a_request_that_comes_as_a_message_alone(self):
        message = {
            "response_channel": "tests.answers!1",
            "method": "POST",
            "scheme": "http",
            "path": "/echo/",
            "script_name": "",
            "META": {"HTTP_HOST": "testserver", "CONTENT_LENGTH": "5"},
            "body": "aGVsbG8=",
        }
        channels["default"].flush()
        registry.get("django.wsgi.request")("django.wsgi.request", message)
        channel, answer = channels["default"].receive(["tests.answers!"])
        self.assertEqual(channel, "tests.answers!1")
        self.assertEqual((answer["status"], answer["content"]), (200, "hello"))


class TestClientTests(HandlerTestCase):
    def test_live_response(self):
        response = self.client.get("/template/")
        self.assertContains(response, "<p>value</p>", html=True)
        self.assertEqual(response.context["name"], "value")
        self.assertTemplateUsed(response, "channels/page.html")
        self.assertEqual(response.wsgi_request.path, "/template/")
        self.assertEqual(response.resolver_match.func, views.template)

    def test_exceptions_are_raised(self):
        with self.assertRaisesMessage(ValueError, "The view has failed."):
            self.client.get("/fails/")

    def test_site_consumer_answers(self):
        @consumer("django.wsgi.request")
        def hello_world(response_channel, path, **kwargs):
            Channel(response_channel).send({"content": f"Consumed {path}"})

        response = self.client.get("/anything/")
        self.assertEqual(response.content, b"Consumed /anything/")

    def test_exceptions_of_a_site_consumer_are_raised(self):
        @consumer("django.wsgi.request")
        def fails(**kwargs):
            raise ValueError("The consumer has failed.")

        with self.assertRaisesMessage(ValueError, "The consumer has failed."):
            self.client.get("/anything/")


class SiteConsumerTests(HandlerTestCase):
    """A site's own consumer of django.wsgi.request."""

    def answer(self, *messages, path="/foo/", **environ):
        """Return the result if the consumer sends `messages`."""

        @consumer("django.wsgi.request")
        def answer(response_channel, **message):
            self.message = message
            for message in messages:
                Channel(response_channel).send(message)

        with registry.isolate():
            return Result(WSGIHandler(), path, **environ)

    def tearDown(self):
        self.assertEqual(channels["default"].depths(), {})
        super().tearDown()

    def test_answer(self):
        with registry.isolate():

            @consumer("django.wsgi.request")
            def hello_world(response_channel, path, **kwargs):
                self.thread = threading.get_ident()
                Channel(response_channel).send(
                    {"mimetype": "text/plain", "content": f"Hello {path}"}
                )

            result = Result(WSGIHandler(), "/foo/")
        self.assertEqual(result.status, "200 OK")
        self.assertEqual(result.headers, [("Content-Type", "text/plain")])
        self.assertEqual(result.content, b"Hello /foo/")
        self.assertEqual(self.thread, threading.get_ident())

    def use(self, function):
        consumer("django.wsgi.request")(function)

    def test_message(self):
        seen = []

        @consumer("django.wsgi.request")
        def remember(response_channel, **message):
            seen.append(message)
            Channel(response_channel).send({"content": ""})

        Result(
            WSGIHandler(), "/foo/", b"abc", QUERY_STRING="a=1", REQUEST_METHOD="POST"
        ).content
        (message,) = seen
        self.assertEqual(message["channel"], "django.wsgi.request")
        self.assertEqual((message["method"], message["path"]), ("POST", "/foo/"))
        self.assertEqual((message["GET"], message["body"]), ([["a", "1"]], "YWJj"))

    def test_streamed_answer_from_another_thread(self):
        @consumer("django.wsgi.request")
        def start(response_channel, **kwargs):
            Channel(response_channel).send({"content": "start ", "more": True})
            Channel("tests.rest").send({"to": response_channel})

        @consumer("tests.rest")
        def rest(to, **kwargs):
            for number in range(3):
                Channel(to).send({"content": f"{number} ", "more": True})
            Channel(to).send({"content": "end"})

        result = Result(WSGIHandler())
        self.assertIs(result.iterable.streaming, True)
        self.assertEqual(result.content, b"start 0 1 2 end")

    def test_exception(self):
        self.use(lambda **kwargs: {}["missing"])
        with self.assertLogs("django.request", "ERROR") as logs:
            result = Result(WSGIHandler(), "/foo/")
        self.assertEqual(result.status, "500 Internal Server Error")
        self.assertIn("KeyError: 'missing'", logs.output[0])

    @override_settings(DEBUG=True)
    def test_exception_in_debug_mode_shows_the_debug_page(self):
        self.use(lambda **kwargs: {}["missing"])
        with self.assertLogs("django.request", "ERROR"):
            result = Result(WSGIHandler(), "/foo/", HTTP_ACCEPT="text/html")
        self.assertIn(b"KeyError at /foo/", result.content)

    def test_exception_after_the_answer(self):
        @consumer("django.wsgi.request")
        def fails(response_channel, **kwargs):
            Channel(response_channel).send({"content": "sent"})
            raise KeyError

        with self.assertLogs("django.request", "ERROR"):
            result = Result(WSGIHandler())
        self.assertEqual(result.status, "500 Internal Server Error")
        # What was sent stays in the inbox until it is next looked at.
        self.assertNotIn(b"sent", result.content)
        self.use_next_answer()

    def use_next_answer(self):
        """Show that the thread's next request gets the answer that is meant for it."""
        with registry.isolate():
            del registry._registry["default", "django.wsgi.request"]

            @consumer("django.wsgi.request")
            def next_one(response_channel, **kwargs):
                Channel(response_channel).send({"content": "next"})

            with self.assertLogs("django.channels.inbox", "WARNING"):
                self.assertEqual(Result(WSGIHandler()).content, b"next")

    def test_second_answer_is_dropped(self):
        @consumer("django.wsgi.request")
        def twice(response_channel, **kwargs):
            for content in ["first", "second"]:
                Channel(response_channel).send({"content": content})

        self.assertEqual(Result(WSGIHandler()).content, b"first")
        self.use_next_answer()

    def test_nonsense(self):
        sent = []

        @consumer("django.wsgi.request")
        def nonsense(response_channel, **kwargs):
            Channel(response_channel).send(sent[-1])

        for message, fault in [
            ({}, "A response needs 'content', 'bytes' or 'status'."),
            ({"status": 99}, "'status' of a response must be from 200 to 599"),
            ({"content": "", "headers": [["a", "b\r\nc"]]}, "must be of one line"),
        ]:
            sent.append(message)
            with (
                self.subTest(message=message),
                self.assertLogs("django.request", "ERROR") as logs,
            ):
                result = Result(WSGIHandler(), "/foo/")
            self.assertEqual(result.status, "500 Internal Server Error")
            self.assertEqual(result.content, b"Server Error (500)")
            self.assertIn("/foo/", logs.output[0])
            self.assertIn(fault, logs.output[0])

    @override_settings(DEBUG=True)
    def test_nonsense_in_debug_mode_tells_the_fault(self):
        @consumer("django.wsgi.request")
        def nonsense(response_channel, **kwargs):
            Channel(response_channel).send({"status": 99})

        with self.assertLogs("django.request", "ERROR"):
            content = Result(WSGIHandler()).content
        self.assertIn(b"'status' of a response must be from 200 to 599", content)

    @override_settings(CHANNELS={"default": {"BACKEND": MEMORY, "EXPIRY": 0.1}})
    def test_no_answer(self):
        self.use(lambda **kwargs: None)
        with self.assertLogs("django.request", "ERROR") as logs:
            result = Result(WSGIHandler(), "/foo/")
        self.assertEqual(result.status, "504 Gateway Timeout")
        msg = b"The request was not answered within 0.1 seconds."
        self.assertEqual(result.content, msg)
        self.assertIn("Gateway Timeout: /foo/", logs.output[0])

    def test_static_files_are_not_for_the_consumer(self):
        self.use(lambda **kwargs: self.fail("It was called."))
        with override_settings(
            STATIC_URL="/static/",
            INSTALLED_APPS=["django.contrib.staticfiles", "django.contrib.admin"],
        ):
            result = Result(
                StaticFilesHandler(WSGIHandler()), "/static/admin/css/base.css"
            )
            self.assertEqual(result.status, "200 OK")
            result.iterable.close()

    @override_settings(CHANNELS_MAX_BODY_SIZE=2)
    def test_body_that_is_too_large(self):
        self.use(lambda **kwargs: self.fail("It was called."))
        with self.assertLogs("django.request", "WARNING") as logs:
            result = Result(WSGIHandler(), "/foo/", b"abc", REQUEST_METHOD="POST")
        self.assertTrue(result.status.startswith("413 "), result.status)
        self.assertIn("CHANNELS_MAX_BODY_SIZE", logs.output[0])


@override_settings(
    CHANNELS={
        "default": {"BACKEND": "channels.remote.RemoteBackend", "EXPIRY": PATIENCE}
    }
)
@with_workers
class RemoteTests(HandlerTestCase):
    """Requests that a worker answers which is not in the process."""

    def setUp(self):
        super().setUp()
        worker = Worker(channels["default"])
        thread = threading.Thread(target=worker.run, daemon=True)
        thread.start()
        self.addCleanup(thread.join, PATIENCE)
        self.addCleanup(worker.stop)

    @override_settings(MIDDLEWARE=[HANDLER_PATH])
    def test_a_worker_answers(self):
        result = Result(WSGIHandler(), "/hello/")
        self.assertEqual(result.content, b"Hello")
        self.assertIn(("X-Middleware", "ran"), result.headers)
        self.assertNotEqual(views.seen["thread"], threading.get_ident())

    def test_body_and_bytes(self):
        body = bytes(range(256))
        result = Result(WSGIHandler(), "/echo/", body, REQUEST_METHOD="POST")
        self.assertEqual(result.content, body)

    def test_stream(self):
        self.assertEqual(Result(WSGIHandler(), "/stream/").content, b"012")

    def test_exception_in_the_view(self):
        with self.assertLogs("django.request", "ERROR"):
            result = Result(WSGIHandler(), "/fails/")
            self.assertEqual(result.status, "500 Internal Server Error")

    def test_exception_in_the_consumer(self):
        consumer("django.wsgi.request")(lambda **kwargs: {}["missing"])
        with (self.assertLogs("django.channels.worker", "ERROR"),):
            result = Result(WSGIHandler())
        self.assertEqual(result.status, "500 Internal Server Error")
        self.assertEqual(result.content, b"Server Error (500)")

    @override_settings(DATA_UPLOAD_MAX_MEMORY_SIZE=2)
    def test_body_that_is_too_large(self):
        with self.assertLogs("django.security.RequestDataTooBig", "ERROR"):
            result = Result(WSGIHandler(), "/echo/", b"abc", REQUEST_METHOD="POST")
        self.assertEqual(result.status, "400 Bad Request")

    def test_threads_get_the_answers_meant_for_them(self):
        wrong = []

        def ask(body):
            for _ in range(20):
                result = Result(WSGIHandler(), "/echo/", body, REQUEST_METHOD="POST")
                if result.content != body:
                    wrong.append(body)

        threads = [
            threading.Thread(target=ask, args=[b"%d" % number]) for number in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        self.assertEqual(wrong, [])
        wait_until(lambda: channels["default"].depths() == {})


@override_settings(
    CHANNELS={"default": {"BACKEND": "channels.remote.RemoteBackend", "CAPACITY": 1}}
)
@with_workers
class TooBusyTests(HandlerTestCase):
    def test_full(self):
        channels["default"].send("django.wsgi.request", {})
        with self.assertLogs("django.request", "ERROR") as logs:
            result = Result(WSGIHandler(), "/foo/")
        self.assertEqual(result.status, "503 Service Unavailable")
        self.assertEqual(result.content, b"The server is too busy.")
        self.assertIn("holds 1 unread messages", logs.output[0])
