"""What clients send, and how an interface server reads it."""

from django.channels.interfaces.http.bodies import body_decoder
from django.channels.interfaces.http.errors import RequestRefused
from django.channels.interfaces.http.heads import find_head_end, parse_head
from django.channels.interfaces.http.limits import Limits

CURL = (
    b"GET /stra%c3%9fe?q=\xc3\xbc HTTP/1.1\r\n"
    b"Host: 127.0.0.1:8000\r\n"
    b"User-Agent: curl/7.88.1\r\n"
    b"Accept: */*\r\n\r\n"
)

CURL_UPLOAD = (
    b"POST /up HTTP/1.1\r\n"
    b"Host: 127.0.0.1:8000\r\n"
    b"User-Agent: curl/7.88.1\r\n"
    b"Accept: */*\r\n"
    b"Transfer-Encoding: chunked\r\n"
    b"Content-Type: application/x-www-form-urlencoded\r\n"
    b"Expect: 100-continue\r\n\r\n"
)

CHROMIUM = (
    b'GET /articles/?page=2&q={"a":[1]}|x^y`z HTTP/1.1\r\n'
    b"Host: www.example.com\r\n"
    b"Connection: keep-alive\r\n"
    b'sec-ch-ua: "Chromium";v="131", "Not_A Brand";v="24"\r\n'
    b"sec-ch-ua-mobile: ?0\r\n"
    b"Upgrade-Insecure-Requests: 1\r\n"
    b"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like "
    b"Gecko) Chrome/131.0.0.0 Safari/537.36\r\n"
    b"Accept: text/html,application/xhtml+xml;q=0.9,*/*;q=0.8\r\n"
    b"Sec-Fetch-Site: none\r\n"
    b"Accept-Encoding: gzip, deflate, br, zstd\r\n"
    b"Accept-Language: en-US,en;q=0.9\r\n"
    b"Cookie: csrftoken=abc; sessionid=def\r\n\r\n"
)

CHROMIUM_WEBSOCKET = (
    b"GET /chat/ HTTP/1.1\r\n"
    b"Host: [::1]:8000\r\n"
    b"Connection: Upgrade\r\n"
    b"Pragma: no-cache\r\n"
    b"Upgrade: websocket\r\n"
    b"Origin: http://[::1]:8000\r\n"
    b"Sec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n"
)

HTTP_CLIENT = (
    b"POST /form/ HTTP/1.1\r\n"
    b"Host: localhost\r\n"
    b"Accept-Encoding: identity\r\n"
    b"Content-Length: 3\r\n"
    b"content-type: text/plain\r\n\r\n"
)

HONEST = [CURL, CURL_UPLOAD, CHROMIUM, CHROMIUM_WEBSOCKET, HTTP_CLIENT]


def pieces(data, size=1):
    return [data[start : start + size] for start in range(0, len(data), size)]


def read_requests(chunks, limits=Limits()):
    """
    Return [(method, target, body)] of the requests in what comes in `chunks`, and
    what is left of them, as an interface server reads them.
    """
    requests, buffer, seen, head = [], b"", 0, None
    for chunk in chunks:
        buffer += chunk
        while True:
            if head is None:
                end = find_head_end(buffer, seen, limits)
                if end < 0:
                    seen = len(buffer)
                    break
                head = parse_head(buffer[:end], limits)
                decoder, body = body_decoder(head, limits=limits), b""
                buffer, seen = buffer[end:], 0
            body += decoder.feed(buffer)
            buffer = b""
            if not decoder.done:
                break
            requests.append((head.method, head.target, body))
            head, buffer = None, decoder.rest
    return requests, buffer


class RefusalMixin:
    def assertRefused(self, status, function, *args, **kwargs):
        with self.assertRaises(RequestRefused) as context:
            function(*args, **kwargs)
        self.assertEqual(context.exception.status, status, context.exception)
        return context.exception.sentence
