"""
What a client sees of workers that fail: requests of a WSGI server go through
Redis to the processes of runworker.
"""

import os
import signal
import threading

from django.channels import channels
from django.channels.backends.contract import PATIENCE
from django.core.handlers.wsgi import WSGIHandler
from django.test import override_settings

from .test_wsgi import Result
from .utils import wait_until, with_workers
from .worker_site import WorkerSiteTestCase

URLS = """
import os, sys, time
from pathlib import Path
from django.http import HttpResponse, StreamingHttpResponse
from django.urls import path

def note(*words):
    with open("done.txt", "a") as file:
        file.write(" ".join(map(str, words)) + chr(10))

def hello(request):
    return HttpResponse("Hello World")

def hold(request):
    note("begun", os.getpid())
    while not Path("release").exists():
        time.sleep(0.01)
    return HttpResponse("held")

def endless(request):
    def parts():
        note("begun", os.getpid())
        try:
            while True:
                yield b"x" * 1000
                time.sleep(0.01)
        finally:
            note("closed")
    return StreamingHttpResponse(parts())

def fail(request, name):
    if name == "RecursionError":
        return fail(request, name)
    raise {"SystemExit": SystemExit, "MemoryError": MemoryError,
           "KeyboardInterrupt": KeyboardInterrupt}[name]("from a view")

class Odd(HttpResponse):
    def channel_encode(self):
        return {"content": object()}

urlpatterns = [
    path("hello/", hello),
    path("hold/", hold),
    path("endless/", endless),
    path("fail/<name>/", fail),
    path("odd/", lambda request: Odd("odd")),
    path("large/", lambda request: HttpResponse(request.read())),
]
"""


@with_workers
class WorkerFaultTests(WorkerSiteTestCase):
    def setUp(self):
        super().setUp()
        self.write("site_urls.py", URLS)

    def make_backend(self):
        params = super().make_backend()
        # Requests of the test's own process, which gives up after EXPIRY.
        setting = override_settings(CHANNELS={"default": params | {"EXPIRY": 5}})
        self.enterContext(setting)
        self.addCleanup(lambda: channels["default"].close())
        return params | {"EXPIRY": 5}

    def get(self, path, **options):
        """Return the Result of a request, as a WSGI server would have it."""
        return Result(WSGIHandler(), path, HTTP_HOST="localhost", **options)

    def get_in_thread(self, path):
        results = []

        def get():
            results.append(self.get(path))
            channels["default"].release()

        thread = threading.Thread(target=get, daemon=True)
        thread.start()
        return thread, results

    def assertServes(self):
        """Assert that a worker answers, and that nothing is left in the store."""
        result = self.get("/hello/")
        self.assertEqual((result.status, result.content), ("200 OK", b"Hello World"))
        wait_until(lambda: self.backend.depths() == {})

    def test_requests_go_to_the_worker_and_back(self):
        self.start()
        self.assertServes()
        body = os.urandom(3_000_000)
        result = self.get("/large/", body=body, REQUEST_METHOD="POST")
        self.assertEqual((result.status, result.content == body), ("200 OK", True))
        self.assertServes()

    def test_without_a_worker_it_is_a_504_in_time(self):
        with self.assertLogs("django.request", "ERROR"):
            result = self.get("/hello/")
        self.assertEqual(result.status, "504 Gateway Timeout")

    def test_killed_in_a_view(self):
        """The request is lost with its worker: 504 when its time is over."""
        self.start("--processes=2", ready=2)
        thread, results = self.get_in_thread("/hold/")
        wait_until(lambda: self.done("begun"))
        ((pid,),) = self.done("begun")
        with self.assertLogs("django.request", "ERROR"):
            os.kill(int(pid), signal.SIGKILL)
            self.assertServes()
            thread.join(PATIENCE)
        self.assertEqual(results[0].status, "504 Gateway Timeout")
        # Another worker did not get it as well.
        self.assertEqual(len(self.done("begun")), 1)
        self.assertServes()

    def test_terminated_in_a_view(self):
        process = self.start()
        thread, results = self.get_in_thread("/hold/")
        wait_until(lambda: self.done("begun"))
        process.terminate()
        self.write("release", "")
        thread.join(PATIENCE)
        self.assertEqual(results[0].status, "200 OK")
        self.assertEqual(results[0].content, b"held")
        self.assertEqual(process.wait(PATIENCE), 0)

    def test_killed_in_the_middle_of_a_stream(self):
        process = self.start()
        result = self.get("/endless/")
        parts = iter(result.iterable)
        next(parts)
        process.kill()
        with self.assertRaisesMessage(Exception, "within 5 seconds"):
            for _ in range(1000):
                next(parts)
        result.iterable.close()

    def test_views_that_raise_what_ends_processes(self):
        self.start()
        for name in [
            "SystemExit",
            "KeyboardInterrupt",
            "MemoryError",
            "RecursionError",
        ]:
            with self.subTest(name=name):
                result = self.get(f"/fail/{name}/")
                self.assertEqual(result.status, "500 Internal Server Error")
                self.assertServes()

    def test_response_that_cannot_be_serialised(self):
        self.start()
        result = self.get("/odd/")
        self.assertEqual(result.status, "500 Internal Server Error")
        self.assertServes()
        self.assertIn("is of the type object", self.printed)

    def test_many_threads_get_each_its_own_answer(self):
        self.start("--threads=4")
        running = [self.get_in_thread("/hello/") for _ in range(20)]
        for thread, _ in running:
            thread.join(PATIENCE)
        statuses = {results[0].status for _, results in running}
        self.assertEqual(statuses, {"200 OK"})
        self.assertServes()
