"""The views that are measured."""

from django.conf import settings
from django.http import FileResponse, HttpResponse, StreamingHttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt


def hello(request):
    return HttpResponse("Hello World", content_type="text/plain")


@csrf_exempt
def upload(request):
    size = sum(len(chunk) for chunk in request.FILES["file"].chunks())
    return HttpResponse(str(size), content_type="text/plain")


def download(request):
    return FileResponse(open(settings.PAYLOAD, "rb"))


BLOCK = bytes(2**16)


def read(request):
    size = sum(len(block) for block in iter(lambda: request.read(2**16), b""))
    return HttpResponse(str(size), content_type="text/plain")


def stream(request):
    blocks = int(request.GET["size"]) // len(BLOCK)
    return StreamingHttpResponse(BLOCK for _ in range(blocks))


urlpatterns = [
    path("", hello),
    # An async view on Channels 4; see peers/urls.py.
    path("async/", hello),
    path("read/", read),
    path("stream/", stream),
    path("upload/", upload),
    path("download/", download),
]
