import time

from django.channels.interfaces.http.errors import RequestRefused
from django.channels.interfaces.http.heads import find_head_end, parse_head
from django.channels.interfaces.http.limits import Limits
from django.test import SimpleTestCase

from .http_requests import (
    CHROMIUM,
    CHROMIUM_WEBSOCKET,
    CURL,
    CURL_UPLOAD,
    HTTP_CLIENT,
    RefusalMixin,
    pieces,
    read_requests,
)

SMALL = Limits(head=200, request_line=60, fields=3)


def get(*lines, request_line=b"GET / HTTP/1.1", host=b"Host: a.example"):
    """Return a head of these lines."""
    lines = [request_line, *([host] if host else []), *lines]
    return b"\r\n".join([*lines, b"", b""])


def line(request_line, host=b"Host: a.example"):
    return get(request_line=request_line, host=host)


class HonestRequestTests(SimpleTestCase):
    def test_curl(self):
        head = parse_head(CURL)
        self.assertEqual(
            (head.method, head.target, head.path, head.query, head.version),
            ("GET", "/stra%c3%9fe?q=Ã¼", "/stra%c3%9fe", "q=Ã¼", "1.1"),
        )
        self.assertEqual(
            head.headers,
            [
                ("host", "127.0.0.1:8000"),
                ("user-agent", "curl/7.88.1"),
                ("accept", "*/*"),
            ],
        )
        self.assertEqual(head.path_info.encode("latin-1").decode(), "/straße")
        self.assertEqual(head.host, "127.0.0.1:8000")
        self.assertIs(head.keep_alive, True)
        self.assertIs(head.has_body, False)
        self.assertIsNone(head.content_length)
        self.assertEqual(head.upgrade, ())
        self.assertEqual(repr(head), "<Head: GET '/stra%c3%9fe?q=Ã¼'>")

    def test_curl_upload(self):
        head = parse_head(CURL_UPLOAD)
        self.assertIs(head.chunked, True)
        self.assertIs(head.has_body, True)
        self.assertIs(head.expect_continue, True)

    def test_chromium(self):
        head = parse_head(CHROMIUM)
        self.assertEqual(head.query, 'page=2&q={"a":[1]}|x^y`z')
        self.assertEqual(
            head.fields["sec-ch-ua"], '"Chromium";v="131", "Not_A Brand";v="24"'
        )
        self.assertEqual(head.fields["cookie"], "csrftoken=abc; sessionid=def")

    def test_chromium_websocket(self):
        head = parse_head(CHROMIUM_WEBSOCKET)
        self.assertEqual(head.upgrade, ("websocket",))
        self.assertEqual(head.host, "[::1]:8000")

    def test_http_client(self):
        head = parse_head(HTTP_CLIENT)
        self.assertEqual(head.content_length, 3)
        self.assertEqual(
            head.meta(),
            {
                "CONTENT_LENGTH": "3",
                "CONTENT_TYPE": "text/plain",
                "HTTP_ACCEPT_ENCODING": "identity",
                "HTTP_HOST": "localhost",
                "PATH_INFO": "/form/",
                "QUERY_STRING": "",
                "REQUEST_METHOD": "POST",
                "SERVER_PROTOCOL": "HTTP/1.1",
            },
        )

    def test_old_client(self):
        head = parse_head(b"GET / HTTP/1.0\r\n\r\n")
        self.assertEqual((head.host, head.headers), ("", []))
        self.assertIs(head.keep_alive, False)

    def test_buffers(self):
        for kind in (bytearray, memoryview):
            self.assertEqual(parse_head(kind(CURL)).headers, parse_head(CURL).headers)


class HeadTests(RefusalMixin, SimpleTestCase):
    def test_values_are_stripped_of_spaces_and_tabs_only(self):
        head = parse_head(get(b"A: \t b c \t", b"B:", b"C:\xa0d\x85"))
        self.assertEqual(
            head.headers[1:], [("a", "b c"), ("b", ""), ("c", "\xa0d\x85")]
        )

    def test_repeated_headers_are_joined(self):
        lines = [b"X-A: 1", b"Cookie: a=1", b"x-a: 2", b"cookie: b=2", b"X-A: "]
        head = parse_head(get(*lines))
        self.assertEqual(len(head.headers), 6)
        self.assertEqual(head.meta()["HTTP_X_A"], "1,2,")
        self.assertEqual(head.meta()["HTTP_COOKIE"], "a=1; b=2")

    def test_headers_with_underscores_are_left_out(self):
        lines = [b"Content_Length: 5", b"Transfer_Encoding: chunked", b"X_User: root"]
        head = parse_head(get(*lines, b"X-User: me"))
        self.assertEqual(head.headers[1:], [("x-user", "me")])
        self.assertEqual(head.meta()["HTTP_X_USER"], "me")
        self.assertIs(head.has_body, False)

    def test_empty_line_before_the_request(self):
        self.assertEqual(parse_head(b"\r\n" + CURL).method, "GET")
        self.assertEqual(find_head_end(b"\r\n" + CURL), len(CURL) + 2)

    def test_method_is_left_as_it_came(self):
        # fetch(url, {method: "patch"}) sends this.
        self.assertEqual(parse_head(line(b"patch / HTTP/1.1")).method, "patch")

    def test_paths(self):
        for path, info in [
            (b"//evil.example/a", "//evil.example/a"),
            (b"/a//b/../c;d=1", "/a//b/../c;d=1"),
            (b"/100%", "/100%"),
            (b"/a%2Fb%3Fc%20%00", "/a/b?c \0"),
            (b"/a|b\\[c]", "/a|b\\[c]"),
            (b"/a:b@c", "/a:b@c"),
        ]:
            with self.subTest(path=path):
                head = parse_head(line(b"GET %b HTTP/1.1" % path))
                self.assertEqual(head.path_info, info)

    def test_query(self):
        for target, path, query in [
            ("/?", "/", ""),
            ("/a?b?c", "/a", "b?c"),
            ("/?next=http://b.example/", "/", "next=http://b.example/"),
        ]:
            with self.subTest(target=target):
                head = parse_head(line(f"GET {target} HTTP/1.1".encode()))
                self.assertEqual(
                    (head.target, head.path, head.query), (target, path, query)
                )

    def test_absolute_target(self):
        for target, path, query in [
            (b"http://a.example/b?c", "/b", "c"),
            (b"HTTPS://A.example", "/", ""),
            (b"http://a.example?c", "/", "c"),
        ]:
            with self.subTest(target=target):
                head = parse_head(line(b"GET %b HTTP/1.1" % target))
                self.assertEqual((head.path, head.query), (path, query))
                self.assertEqual(head.host, "a.example")

    def test_absolute_target_gives_the_host(self):
        head = parse_head(b"GET http://a.example:81/ HTTP/1.0\r\n\r\n")
        self.assertEqual(head.host, "a.example:81")
        self.assertEqual(head.headers, [("host", "a.example:81")])
        self.assertEqual(head.meta()["HTTP_HOST"], "a.example:81")

    def test_options_of_the_server(self):
        self.assertEqual(parse_head(line(b"OPTIONS * HTTP/1.1")).path, "*")

    def test_hosts(self):
        for host in [
            b"a",
            b"A_b.example.",
            b"a.example:8000",
            b"a.example:",
            b"127.0.0.1",
            b"[::ffff:1.2.3.4]:80",
        ]:
            with self.subTest(host=host):
                head = parse_head(get(host=b"Host: %b" % host))
                self.assertEqual(head.host, host.decode())

    def test_keep_alive(self):
        for version, connection, expected in [
            (b"1.1", b"", True),
            (b"1.1", b"close", False),
            (b"1.1", b"Foo , CLOSE", False),
            (b"1.1", b"keep-alive, close", False),
            (b"1.1", b"closed", True),
            (b"1.0", b"", False),
            (b"1.0", b"Keep-Alive", True),
            (b"1.0", b"keep-alive, close", False),
        ]:
            with self.subTest(version=version, connection=connection):
                head = parse_head(
                    get(
                        b"Connection: %b" % connection,
                        request_line=b"GET / HTTP/%b" % version,
                    )
                )
                self.assertIs(head.keep_alive, expected)

    def test_upgrade(self):
        for version, connection, upgrade, expected in [
            (b"1.1", b"keep-alive, Upgrade", b"WebSocket, h2c", ("websocket", "h2c")),
            (b"1.1", b"keep-alive", b"websocket", ()),
            (b"1.1", b"upgrade", b" , ", ()),
            (b"1.0", b"upgrade", b"websocket", ()),
        ]:
            with self.subTest(connection=connection, upgrade=upgrade):
                head = parse_head(
                    get(
                        b"Connection: " + connection,
                        b"Upgrade: " + upgrade,
                        request_line=b"GET / HTTP/" + version,
                    )
                )
                self.assertEqual(head.upgrade, expected)

    def test_upgrade_without_offer(self):
        self.assertEqual(parse_head(get(b"Connection: upgrade")).upgrade, ())

    def test_expectation_without_body(self):
        head = parse_head(get(b"Expect: 100-Continue", b"Content-Length: 0"))
        self.assertIs(head.expect_continue, False)

    def test_expectation_of_an_old_client_is_ignored(self):
        lines = [b"Expect: 100-continue", b"Content-Length: 1"]
        head = parse_head(get(*lines, request_line=b"POST / HTTP/1.0"))
        self.assertIs(head.expect_continue, False)

    def test_lengths(self):
        for value, expected in [
            (b"0", 0),
            (b"\t5 ", 5),
            (b"007", 7),
            (b"9" * 18, 10**18 - 1),
        ]:
            with self.subTest(value=value):
                head = parse_head(get(b"Content-Length:" + value))
                self.assertEqual(head.content_length, expected)
                self.assertIs(head.chunked, False)

    def test_chunked(self):
        for value in (b"chunked", b" CHUNKED\t"):
            head = parse_head(get(b"Transfer-Encoding:" + value))
            self.assertIs(head.chunked, True)
            self.assertIsNone(head.content_length)


class HostileHeadTests(RefusalMixin, SimpleTestCase):
    def assertAllRefused(self, cases):
        for status, head in cases:
            with self.subTest(head=head):
                self.assertRefused(status, parse_head, head)
                # However it comes, no request comes of it.
                with self.assertRaises(RequestRefused):
                    read_requests(pieces(head + b"\r\n\r\n"))

    def test_lengths(self):
        name = b"Content-Length: "
        values = [b"+5", b"-5", b"0_5", b"5 5", b"5,5", b"5, 6", b"", b"0x5", b"5."]
        values += [b"\xb2", b"5;a", b"1e3", b"five", b"\xa05", b'"5"']
        self.assertAllRefused([(400, get(name + value)) for value in values])
        self.assertAllRefused(
            [
                (400, get(b"Content-Length: 5", b"Content-Length: 5")),
                (400, get(b"Content-Length: 5", b"content-length: 6")),
                (400, get(b"Content-Length: 5", b"Content-Length:")),
                (400, get(b"Content-Length : 5")),
                (413, get(b"Content-Length: " + b"9" * 19)),
                (413, get(b"Content-Length: " + b"1" * 5000)),
            ]
        )

    def test_transfer_codings(self):
        name = b"Transfer-Encoding: "
        self.assertAllRefused(
            [
                (400, get(name + b"chunked", b"Content-Length: 5")),
                (400, get(b"Content-Length: 0", name + b"chunked")),
                (400, get(name + b"gzip", b"Content-Length: 5")),
                (400, get(name + b"chunked, chunked")),
                (400, get(name + b"chunked", name + b"chunked")),
                (400, get(name + b"chunked", name + b"identity")),
                (400, get(name + b"chunked, gzip")),
                (400, get(name + b"gzip")),
                (400, get(name + b"identity")),
                (400, get(name + b"xchunked")),
                (400, get(name + b"chunked;q=1")),
                (400, get(name + b'"chunked"')),
                (400, get(name)),
                (400, get(name + b", chunked")),
                (400, get(name + b"chunked,")),
                (400, get(name + b"\x85chunked")),
                (400, get(name + b"\x0bchunked")),
                (501, get(name + b"gzip, chunked")),
                (501, get(name + b"identity, chunked")),
                (501, get(name + b"gzip", name + b"chunked")),
                (400, get(name + b"chunked", request_line=b"POST / HTTP/1.0")),
            ]
        )

    def test_header_lines(self):
        self.assertAllRefused(
            [
                (400, get(b"A: b", b" folded")),
                (400, get(b"A: b", b"\tfolded: c")),
                (400, get(b"A: b", b"\t")),
                (400, b"GET / HTTP/1.1\r\n Host: a.example\r\n\r\n"),
                (400, get(b"no colon")),
                (400, get(b"A : b")),
                (400, get(b"A\t: b")),
                (400, get(b": empty")),
                (400, get(b" : b")),
                (400, get(b"A b: c")),
                (400, get(b"(A): b")),
                (400, get(b'"A": b')),
                (400, get(b"A@: b")),
                (400, get(b"\xc4: b")),
                (400, get(b"A\0: b")),
                (400, get(b"A\x0b: b")),
                (400, get(b"\xef\xbb\xbfA: b")),
                (417, get(b"Expect: 200-ok", b"Content-Length: 1")),
                (417, get(b"Expect: ")),
            ]
        )

    def test_control_characters_in_values(self):
        controls = [*range(0x09), *range(0x0B, 0x0D), *range(0x0E, 0x20), 0x7F]
        self.assertAllRefused([(400, get(b"A: b%cc" % byte)) for byte in controls])

    def test_line_ends(self):
        self.assertAllRefused(
            [
                (400, b"GET / HTTP/1.1\nHost: a.example\n\n"),
                (400, b"GET / HTTP/1.1\nHost: a.example\r\n\r\n"),
                (400, b"GET / HTTP/1.1\r\nHost: a.example\n\r\n"),
                (400, b"GET / HTTP/1.1\rHost: a.example\r\n\r\n"),
                (400, b"GET / HTTP/1.1\r\r\nHost: a.example\r\n\r\n"),
                (400, get(b"A: b\nB: c")),
                (400, get(b"A: b\rB: c")),
                (400, get(b"A: b\r")),
                (400, get(b"A: \r b")),
                (400, get(b"A: b\n")),
                (400, b"\n" + get()),
                (400, b"\r" + get()),
                (400, b"\r\n\r\n" + get()),
                (400, b"\r\n\r\n"),
            ]
        )

    def test_hosts(self):
        self.assertAllRefused(
            [(400, get(host=None)), (400, get(b"Host: a.example"))]
            + [(400, get(b"Host: b.example")), (400, get(b"host:"))]
            + [
                (400, get(host=b"Host: " + host))
                for host in [
                    b"",
                    b":80",
                    b"a b",
                    b"a,b",
                    b"a/b",
                    b"a?b",
                    b"a#b",
                    b"u@a",
                    b"a:b",
                    b"a:80:80",
                    b"a:808080",
                    b"a:+80",
                    b"::1",
                    b"[::1",
                    b"[]",
                    b"[::1]a",
                    b"[g::1]",
                    b"[fe80::1%25eth0]",
                    b"\xfc.example",
                    b"a%00",
                    b"a\0",
                    b"http://a",
                    b"<a>",
                ]
            ]
            + [
                (400, get(b"Host: a", b"Host: b", request_line=b"GET / HTTP/1.0")),
                (400, get(host=b"Host: a b", request_line=b"GET / HTTP/1.0")),
            ]
        )

    def test_targets(self):
        targets = [b"/a b", b"/\0", b"/\x01", b"/\x7f", b"/\t", b"/a\x0bb", b"/\xe4"]
        targets += [b"/?\0", b"/?a b", b"/?\x7f", b"/#a", b"/?a#b", b"", b"a", b"?a"]
        targets += [b"*", b"a.example:80", b"a.example", b"\\a", b"/\x85", b"*?a"]
        targets += [b"ftp://a.example/", b"http:///", b"http://u@a.example/"]
        targets += [b"http://b.example/", b"http://a.example:80/", b"http:a.example"]
        targets += [b"http://a.example\\@b/", b"ws://a.example/", b"/\xe4?a"]
        self.assertAllRefused(
            [(400, line(b"GET %b HTTP/1.1" % target)) for target in targets]
        )
        self.assertAllRefused(
            [
                (400, line(b"OPTIONS *?a HTTP/1.1")),
                (400, line(b"OPTIONS ** HTTP/1.1")),
                (400, line(b"GET http://a.example/ HTTP/1.1", host=None)),
                (501, line(b"CONNECT a.example:443 HTTP/1.1")),
                (501, line(b"CONNECT / HTTP/1.1")),
            ]
        )

    def test_request_lines(self):
        self.assertAllRefused(
            [
                (505, line(b"GET / HTTP/0.9")),
                (505, line(b"GET / HTTP/1.2")),
                (505, line(b"GET / HTTP/2.0")),
                (505, line(b"GET / HTTP/3.0")),
                (505, b"PRI * HTTP/2.0\r\n\r\n"),
                (400, line(b"GET /")),
                (400, line(b"GET")),
                (400, line(b"")),
                (400, line(b"GET / http/1.1")),
                (400, line(b"GET / HTTP/1")),
                (400, line(b"GET / HTTP/1.10")),
                (400, line(b"GET / HTTP/01.1")),
                (400, line(b"GET / HTTP/1,1")),
                (400, line(b"GET / HTTP/ 1.1")),
                (400, line(b"GET / HTTP/\xb2.\xb9")),
                (400, line(b"GET / HTTPS/1.1")),
                (400, line(b"GET / ICY/1.1")),
                (400, line(b"GET / HTTP/1.1 ")),
                (400, line(b" GET / HTTP/1.1")),
                (400, line(b"GET  / HTTP/1.1")),
                (400, line(b"GET /  HTTP/1.1")),
                (400, line(b"GET\t/\tHTTP/1.1")),
                (400, line(b"GET /\x0bHTTP/1.1")),
                (400, line(b"G@T / HTTP/1.1")),
                (400, line(b"G\0T / HTTP/1.1")),
                (400, line(b"\xc4 / HTTP/1.1")),
                (400, line(b": / HTTP/1.1")),
                (400, b"Host: a.example\r\n\r\n"),
                (400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"),
                (501, line(b"A" * 33 + b" / HTTP/1.1")),
            ]
        )

    def test_incomplete_heads(self):
        for size in range(len(CURL)):
            self.assertRefused(400, parse_head, CURL[:size])
        self.assertRefused(400, parse_head, CURL + b"\r\n")
        self.assertRefused(400, parse_head, CURL + CURL)

    def test_sentences_name_the_fault(self):
        for head, sentence in [
            (get(b"A : b"), "A header has a space before its colon."),
            (get(b"A: b", b" c"), "Header lines must not be folded."),
            (get(host=None), "A request needs a Host header."),
            (line(b"GET / HTTP/1.2"), "Only HTTP/1.0 and HTTP/1.1 are spoken here."),
            (get(b"A: b\nB: c"), "Lines must end with CRLF."),
            (line(b"GET /#a HTTP/1.1"), "A target has no fragment."),
        ]:
            with self.assertRaisesMessage(RequestRefused, sentence):
                parse_head(head)


class LimitTests(RefusalMixin, SimpleTestCase):
    def test_request_line(self):
        longest = line(b"GET /%b HTTP/1.1" % (b"a" * 46))
        for prefix in (b"", b"\r\n"):
            head = prefix + longest
            self.assertEqual(len(read_requests([head], SMALL)[0]), 1)
            self.assertEqual(len(read_requests(pieces(head), SMALL)[0]), 1)
            head = prefix + longest.replace(b"/a", b"/aa")
            self.assertRefused(414, read_requests, [head], SMALL)
            self.assertRefused(414, read_requests, pieces(head), SMALL)

    def test_head(self):
        rest = 200 - len(get(b"A: "))
        largest = get(b"A: " + b"b" * rest)
        self.assertEqual(len(read_requests([largest], SMALL)[0]), 1)
        self.assertEqual(len(read_requests(pieces(largest), SMALL)[0]), 1)
        larger = get(b"A: " + b"b" * (rest + 1))
        self.assertRefused(431, parse_head, larger, SMALL)
        self.assertRefused(431, read_requests, [larger], SMALL)
        self.assertRefused(431, read_requests, pieces(larger), SMALL)
        # Not even one byte more is waited for.
        self.assertRefused(431, find_head_end, larger[:200], limits=SMALL)

    def test_number_of_headers(self):
        self.assertEqual(len(parse_head(get(b"A:", b"B:"), SMALL).headers), 3)
        self.assertRefused(431, parse_head, get(b"A:", b"B:", b"_:"), SMALL)

    def test_defaults(self):
        self.assertEqual(len(parse_head(get(*[b"A: b"] * 99)).headers), 100)
        self.assertRefused(431, parse_head, get(*[b"A: b"] * 100))
        self.assertEqual(
            len(parse_head(line(b"GET /%b HTTP/1.1" % (b"a" * 16000))).path), 16001
        )
        self.assertRefused(414, parse_head, line(b"GET /%b HTTP/1.1" % (b"a" * 17000)))
        self.assertRefused(431, parse_head, get(b"A: %b" % (b"b" * 65536)))

    def test_endless_line_is_refused_before_it_ends(self):
        self.assertRefused(414, find_head_end, b"A" * 17000)
        self.assertRefused(431, find_head_end, get()[:-2] + b"A" * 66000)

    def test_what_cannot_be_a_request_is_refused_at_once(self):
        for data in (b"\x16\x03\x01", b"\r\n\r", b" ", b"\r\n\0", b"\rG", b"\n"):
            with self.subTest(data=data):
                self.assertRefused(400, find_head_end, data)

    def test_bare_line_end_between_two_pieces_is_refused_at_once(self):
        data = b"GET / HTTP/1.1\r"
        self.assertEqual(find_head_end(data), -1)
        self.assertRefused(400, find_head_end, data + b"A", start=len(data))

    def test_head_that_is_yet_to_end(self):
        for data in (b"", b"\r", b"\r\n", b"G", b"GET / HTTP/1.1\r"):
            self.assertEqual(find_head_end(data), -1)

    def test_large_heads_take_no_long_time(self):
        start = time.perf_counter()
        for head in [
            get(*[b"a:"] * 16000),
            get(*[b"a:"] * 15000, b"b"),
            get(b"A:" + b" \t" * 30000 + b"\0"),
            get(b"A" * 60000),
            line(b"GET " + b"/" * 16000 + b"\0 HTTP/1.1"),
        ]:
            with self.assertRaises(RequestRefused):
                parse_head(head)
        self.assertLess(time.perf_counter() - start, 1)


class PipeliningTests(SimpleTestCase):
    data = (
        HTTP_CLIENT
        + b"abc"
        + CURL_UPLOAD
        + b"3\r\nabc\r\n0\r\nA: b\r\n\r\n"
        + b"\r\n"
        + CURL
        + b"GE"
    )
    expected = [
        ("POST", "/form/", b"abc"),
        ("POST", "/up", b"abc"),
        ("GET", "/stra%c3%9fe?q=Ã¼", b""),
    ]

    def test_at_once(self):
        self.assertEqual(read_requests([self.data]), (self.expected, b"GE"))

    def test_every_split(self):
        for cut in range(len(self.data)):
            chunks = [self.data[:cut], self.data[cut:]]
            self.assertEqual(read_requests(chunks), (self.expected, b"GE"))

    def test_bytes(self):
        for size in (1, 2, 3, 5):
            chunks = pieces(self.data, size)
            self.assertEqual(read_requests(chunks), (self.expected, b"GE"))
