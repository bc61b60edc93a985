import asyncio
import threading

from django.db import connection
from django.http import FileResponse, HttpResponse, StreamingHttpResponse
from django.shortcuts import render

# What the views have seen, for the tests to look at.
seen = {}


def hello(request):
    seen["thread"] = threading.get_ident()
    seen["request"] = request
    seen["response"] = HttpResponse("Hello")
    return seen["response"]


async def hello_async(request):
    await asyncio.sleep(0)
    return HttpResponse("Hello from a coroutine")


def template(request):
    return render(request, "channels/page.html", {"name": "value"})


def fails(request):
    raise ValueError("The view has failed.")


def in_atomic_block(request):
    return HttpResponse(str(connection.in_atomic_block))


def echo(request):
    return HttpResponse(request.body, content_type="application/octet-stream")


def read_some(request):
    return HttpResponse(request.read(4))


def stream(request):
    def parts():
        for number in range(3):
            seen.setdefault("parts", []).append(number)
            yield str(number)

    return StreamingHttpResponse(parts())


def file(request):
    return FileResponse(open(__file__, "rb"))
