import json
from pathlib import Path
from unittest import skipUnless

from django.test import SimpleTestCase

from .utils import run_script

MEGABYTE = 2**20
SIZE = 256 * MEGABYTE

# Prints what crossed, and by how many bytes the process has grown at most.
SCRIPT = """
import json, sys, tempfile, threading
from pathlib import Path

from django.conf import settings

settings.configure(
    ROOT_URLCONF="__main__",
    ALLOWED_HOSTS=["*"],
    CHANNELS={"default": {"BACKEND": sys.argv[2], "OPTIONS": {"SERIALIZE": True}}},
)

from django.channels import channels
from django.channels.worker import Worker
from django.core.wsgi import get_wsgi_application
from django.http import FileResponse, HttpResponse, StreamingHttpResponse
from django.urls import path

size = int(sys.argv[1])


class Zeros:
    left = size

    def read(self, count):
        count = min(count, self.left)
        self.left -= count
        return bytes(count)

    readline = read


def upload(request):
    count = sum(len(part) for part in iter(lambda: request.read(65536), b""))
    return HttpResponse(str(count))


def stream(request):
    return StreamingHttpResponse(bytes(65536) for _ in range(size // 65536))


def file(request):
    handle = tempfile.TemporaryFile()
    handle.truncate(size)
    return FileResponse(handle)


urlpatterns = [path("upload/", upload), path("stream/", stream), path("file/", file)]


def kilobytes(key):
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1])


def ask(url, method="GET", **environ):
    response = application(
        {
            "REQUEST_METHOD": method,
            "PATH_INFO": url,
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "80",
            "wsgi.url_scheme": "http",
            "wsgi.input": Zeros(),
            **environ,
        },
        lambda status, headers: None,
    )
    count = content = 0
    for part in response:
        count += len(part)
        content = part
    response.close()
    return int(content) if method == "POST" else count


application = get_wsgi_application()
if not channels["default"].process_local:
    worker = Worker(channels["default"])
    threading.Thread(target=worker.run, daemon=True).start()
ask("/upload/", "POST", CONTENT_LENGTH="10")
before = kilobytes("VmHWM")
crossed = [
    ask("/upload/", "POST", CONTENT_LENGTH=str(size)), ask("/stream/"), ask("/file/")
]
print(json.dumps({"crossed": crossed, "grown": (kilobytes("VmHWM") - before) * 1024}))
"""


@skipUnless(Path("/proc/self/status").exists(), "Needs /proc.")
class LargeBodyTests(SimpleTestCase):
    """Bodies larger than a process may hold."""

    def check(self, backend):
        result = run_script(SCRIPT, str(SIZE), backend, timeout=300)
        self.assertEqual(result.stderr, "")
        measured = json.loads(result.stdout)
        self.assertEqual(measured["crossed"], [SIZE] * 3)
        self.assertLess(measured["grown"], 64 * MEGABYTE)

    def test_as_text_in_one_thread(self):
        self.check("django.channels.backends.memory.MemoryBackend")

    def test_over_a_backend_that_is_not_of_the_process(self):
        self.check("channels.remote.RemoteBackend")
