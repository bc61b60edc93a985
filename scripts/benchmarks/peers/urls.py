"""The views that are measured."""

from benchmarks.project.urls import hello

from django.urls import path


async def hello_in_loop(request):
    return hello(request)


urlpatterns = [
    path("", hello),
    path("async/", hello_in_loop),
]
