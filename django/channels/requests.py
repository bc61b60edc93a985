"""
HTTP requests as messages, as they come on django.wsgi.request:

    {"response_channel": "django.wsgi.response.3f9a6c81d20b7e45!7",
     "method": "POST", "scheme": "https", "path": "/foo/", "script_name": "",
     "GET": [["query", "value"]], "META": {"HTTP_HOST": "example.com", ...},
     "client": ["192.0.2.7", 50312], "body": "cD0x"}

"META" has the keys of a WSGI environ (PEP 3333) that are listed here, and the
headers (HTTP_*). "body" is base64 text, and absent if the request has none. A
body that is too large for one message is read from "body_channel" instead, see
django.channels.bodies.
"""

from urllib.parse import parse_qsl

from django.conf import settings

# Keys of the environ that travel, besides those of headers. The setting
# CHANNELS_META_KEYS adds others.
META_KEYS = frozenset(
    [
        "CONTENT_LENGTH",
        "CONTENT_TYPE",
        "HTTPS",
        "PATH_INFO",
        "QUERY_STRING",
        "REDIRECT_URL",
        "REMOTE_ADDR",
        "REMOTE_HOST",
        "REMOTE_PORT",
        "REQUEST_METHOD",
        "REQUEST_URI",
        "SCRIPT_NAME",
        "SCRIPT_URL",
        "SERVER_NAME",
        "SERVER_PORT",
        "SERVER_PROTOCOL",
    ]
)


def encode_request(request, response_channel):
    """
    Return the message for `request`, a WSGIRequest, without its body. The
    answer is to go to `response_channel`.
    """
    meta = encode_meta(request.META)
    return {
        "response_channel": response_channel,
        "method": request.method,
        # request.scheme trusts a header, if a setting of the worker says so.
        "scheme": request._get_scheme() or "http",
        "path": request.path,
        "script_name": meta.get("SCRIPT_NAME", ""),
        "GET": parse_query(meta.get("QUERY_STRING", "")),
        "META": meta,
        "client": [meta.get("REMOTE_ADDR", ""), parse_port(meta.get("REMOTE_PORT"))],
    }


def encode_meta(environ):
    """Return what travels of a WSGI environ: text under the keys that may."""
    allowed = META_KEYS.union(settings.CHANNELS_META_KEYS)
    return {
        key: str(value)
        for key, value in environ.items()
        if (key in allowed or key.startswith("HTTP_"))
        # Some servers, and many tests, have a number under CONTENT_LENGTH.
        and isinstance(value, (str, int))
    }


def parse_query(query_string, most=None):
    """
    Return [[key, value]] in the order of a QUERY_STRING as WSGI decodes it. Raise
    ValueError if there are more than `most`.
    """
    text = query_string.encode("iso-8859-1", "replace").decode("utf-8", "replace")
    return [
        list(pair)
        for pair in parse_qsl(
            text,
            keep_blank_values=True,
            encoding=settings.DEFAULT_CHARSET,
            max_num_fields=most,
        )
    ]


def parse_port(value):
    """Return the number of a port, or None if `value` is none."""
    return int(value) if value and value.isascii() and value.isdigit() else None
