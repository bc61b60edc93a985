"""
The same requests, at random, with and without channels between the server and
the view: views see the same, and clients get the same.
"""

import json
from io import BytesIO
from unittest import skipUnless

from django.channels import channels
from django.channels.interfaces.wsgi import Switch
from django.channels.registry import registry
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpResponse, StreamingHttpResponse
from django.test import SimpleTestCase, override_settings
from django.test.client import BOUNDARY, MULTIPART_CONTENT, encode_multipart
from django.urls import clear_script_prefix, re_path
from django.utils.http import urlencode

from .test_wsgi import Result
from .utils import MEMORY, in_ci

try:
    from hypothesis import given, settings
    from hypothesis import strategies as st
except ImportError:
    st = None

EXPIRES = "Fri, 01 Jan 2100 00:00:00 GMT"


# What the view answers next.
answer = {}


def attempt(function):
    """Return what a function returns, or the kind of exception that it raises."""
    try:
        return function()
    except Exception as exc:
        return type(exc).__name__


def read_whole(request):
    return b"".join(iter(lambda: request.read(7), b"")).hex()


def describe_body(request):
    """Read the body in the way that a parameter of the URL names."""
    return {
        "read": lambda: read_whole(request),
        "body": lambda: request.body.hex(),
        "lines": lambda: [line.hex() for line in request],
        "form": lambda: [
            list(request.POST.lists()),
            [
                [key, file.name, file.content_type, file.read().hex()]
                for key, file in request.FILES.items()
            ],
        ],
        "nothing": lambda: None,
    }[request.META["HTTP_X_MODE"]]()


def report(request):
    seen = {
        "method": request.method,
        "path": request.path,
        "path_info": request.path_info,
        "scheme": request.scheme,
        "content_type": request.content_type,
        "encoding": request.encoding,
        "GET": attempt(lambda: list(request.GET.lists())),
        "COOKIES": request.COOKIES,
        "headers": dict(request.headers),
        "host": attempt(request.get_host),
        "uri": attempt(request.build_absolute_uri),
        "body": attempt(lambda: describe_body(request)),
        "META": {
            key: value
            for key, value in sorted(request.META.items())
            if isinstance(value, str) and not key.startswith("wsgi.")
        },
    }
    chunks = [json.dumps(seen), *answer["chunks"]]
    make = StreamingHttpResponse if answer["streaming"] else HttpResponse
    response = make(
        chunks,
        status=answer["status"],
        reason=answer["reason"],
        content_type=answer["content_type"],
        headers=answer["headers"],
    )
    for name, value in answer["cookies"]:
        # With a date, as another second may have begun at the second answer.
        response.set_cookie(name, value, max_age=60, expires=EXPIRES, httponly=True)
    return response


urlpatterns = [re_path("", report)]

if st is not None:
    latin = st.characters(codec="latin-1", exclude_categories=["Cc"])
    octets = st.binary(max_size=20).map(lambda data: data.decode("latin-1"))
    name = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ_", min_size=1, max_size=8)
    fields = st.dictionaries(st.text(min_size=1, max_size=5), st.text(max_size=20))
    bodies = st.one_of(
        st.binary(max_size=5000).map(lambda data: ("application/octet-stream", data)),
        st.text(max_size=20).map(lambda text: (text, text.encode())),
        fields.map(
            lambda data: (
                "application/x-www-form-urlencoded",
                urlencode(data).encode(),
            )
        ),
        fields.map(lambda data: (MULTIPART_CONTENT, encode_multipart(BOUNDARY, data))),
        st.binary(max_size=5000).map(
            lambda data: (
                MULTIPART_CONTENT,
                b'--%b\r\nContent-Disposition: form-data; name="f"; filename="n"\r\n'
                b"Content-Type: image/png\r\n\r\n%b\r\n--%b--\r\n"
                % (BOUNDARY.encode(), data, BOUNDARY.encode()),
            )
        ),
    )
    environs = st.fixed_dictionaries(
        {
            "REQUEST_METHOD": st.sampled_from(
                ["GET", "POST", "PUT", "HEAD", "delete", "OPTIONS", "PROPFIND"]
            ),
            "PATH_INFO": octets.map(lambda text: f"/{text}") | octets,
            "QUERY_STRING": st.text(latin, max_size=30),
            "wsgi.url_scheme": st.sampled_from(["http", "https"]),
            "HTTP_X_MODE": st.sampled_from(
                ["read", "body", "lines", "form", "nothing"]
            ),
        },
        optional={
            "SCRIPT_NAME": st.sampled_from(["", "/prefix", "/pr%C3%A4fix", "/a/b/"]),
            "HTTP_HOST": st.sampled_from(["testserver", "testserver:81", "bad host"]),
            "HTTP_COOKIE": st.text(latin, max_size=30),
            "HTTP_X_FORWARDED_PROTO": st.sampled_from(["https", "http"]),
            "REMOTE_PORT": st.text(max_size=5),
            "SERVER_PORT": st.sampled_from(["80", "443", "8000"]),
            "SCRIPT_URL": st.sampled_from(["/prefix/page/", "/prefix//page"]),
        },
    )
    headers = st.dictionaries(
        name.map(lambda name: f"HTTP_X_{name}"), st.text(latin, max_size=30)
    )
    lengths = st.sampled_from(["right", "short", "long", "none", "nonsense"])
    sizes = st.sampled_from([16, 500, 4096])
    answers = st.fixed_dictionaries(
        {
            "status": st.sampled_from([200, 201, 204, 304, 404, 500, 599]),
            "reason": st.none() | st.text(latin, max_size=10),
            "content_type": st.none()
            | st.sampled_from(
                ["text/plain; charset=latin-1", "image/png", "text/html;charset=UTF-8"]
            ),
            "headers": st.dictionaries(
                st.from_regex(r"X-[A-Za-z-]{1,8}", fullmatch=True),
                st.text(latin, max_size=20),
                max_size=3,
            ),
            "cookies": st.lists(
                st.tuples(
                    st.from_regex(r"[a-z]{1,3}", fullmatch=True), st.text(max_size=10)
                ),
                max_size=3,
            ),
            "chunks": st.lists(st.binary(max_size=1000), max_size=5),
            "streaming": st.booleans(),
        }
    )


def content_length(kind, size):
    """Return the part of an environ that says how long a body is."""
    return {
        "right": {"CONTENT_LENGTH": str(size)},
        "short": {"CONTENT_LENGTH": str(size // 2)},
        "long": {"CONTENT_LENGTH": str(size + 3)},
        "none": {},
        "nonsense": {"CONTENT_LENGTH": "1x"},
    }[kind]


@skipUnless(st is not None or in_ci(), "Needs hypothesis.")
@override_settings(
    ROOT_URLCONF="channels.test_properties",
    MIDDLEWARE=[],
    SECURE_PROXY_SSL_HEADER=("HTTP_X_FORWARDED_PROTO", "https"),
    CHANNELS={"default": {"BACKEND": MEMORY, "OPTIONS": {"SERIALIZE": True}}},
)
class SameWithAndWithoutChannelsTests(SimpleTestCase):
    def setUp(self):
        self.enterContext(registry.isolate())
        self.addCleanup(setattr, Switch, "on", True)
        # Requests with a SCRIPT_NAME leave it to the thread.
        self.addCleanup(clear_script_prefix)

    def ask(self, on, environ, body):
        """Return all that a client gets, and all that the view sees."""
        Switch.on = on
        environ = environ | {"wsgi.input": BytesIO(body)}
        base = {"SERVER_NAME": "testserver", "SERVER_PROTOCOL": "HTTP/1.1"}
        application = WSGIHandler()
        result = Result.__new__(Result)
        result.environ = base | {"SERVER_PORT": "80"} | environ
        result.iterable = application(result.environ, result.start_response)
        return result.status, result.headers, result.content

    def test_same(self):
        @settings(max_examples=300, deadline=None)
        @given(environs, headers, bodies, lengths, sizes, answers)
        def compare(environ, headers, body, length, size, response):
            channels["default"].chunk_size = size
            answer.clear()
            answer.update(response)
            content_type, data = body
            environ = environ | headers | content_length(length, len(data))
            environ["CONTENT_TYPE"] = content_type
            without, through = (
                attempt(lambda: self.ask(on, environ, data)) for on in [False, True]
            )
            self.assertEqual(through, without)

        compare()
