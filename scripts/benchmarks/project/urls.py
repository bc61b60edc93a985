"""The views that are measured."""

from django.conf import settings
from django.http import FileResponse, HttpResponse
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


urlpatterns = [
    path("", hello),
    path("upload/", upload),
    path("download/", download),
]
