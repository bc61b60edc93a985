"""
Requests at random: whatever comes, it is read or refused, in the same way in
whatever pieces it comes, and what is valid is read as it was sent.
"""

from unittest import skipUnless

from django.channels.interfaces.http.bodies import ChunkedDecoder
from django.channels.interfaces.http.errors import RequestRefused
from django.channels.interfaces.http.heads import parse_head
from django.channels.interfaces.http.writing import LAST_CHUNK, encode_chunk
from django.test import SimpleTestCase

from .http_requests import CURL_UPLOAD, HONEST, pieces, read_requests
from .utils import in_ci

try:
    from hypothesis import given, settings
    from hypothesis import strategies as st
except ImportError:
    st = None


if st is not None:
    token = st.text("!#$%&'*+-.^`|~09azAZ", min_size=1, max_size=10)
    characters = st.sampled_from(["\t", *map(chr, [*range(0x20, 0x7F), 0x80, 0xFF])])
    value = st.text(characters, max_size=20).map(lambda text: text.strip(" \t"))
    space = st.sampled_from(["", " ", "\t", " \t "])
    # The names that decide about the framing are for the tables above.
    fields = st.lists(st.tuples(token.map("X{}".format), space, value, space))
    target = st.text("!$%&'()*+,-./09:;=@AZ[\\]^_`az{|}~", max_size=20)
    query = st.text("?!&=/%\xe4\xffaZ", max_size=20)
    body = st.lists(st.binary(min_size=1, max_size=20), max_size=5)
    # What hostile bytes are made of.
    fragment = st.one_of(
        st.binary(max_size=5),
        st.sampled_from([b"\r\n", b"\n", b"\r", b" ", b":", b"\r\n\r\n", b"\0"]),
        st.sampled_from([b"GET / HTTP/1.1\r\n", b"Host: a\r\n", b"http://a/"]),
        st.sampled_from([b"Content-Length: 5", b"Transfer-Encoding: chunked\r\n"]),
        st.sampled_from([b"0\r\n\r\n", b"5\r\nHello\r\n", b";a", b"Expect:"]),
    )
    hostile = st.lists(fragment, max_size=12).map(b"".join)


def attempt(chunks):
    try:
        return read_requests(chunks)
    except RequestRefused:
        return None


@skipUnless(st is not None or in_ci(), "Needs hypothesis.")
class PropertyTests(SimpleTestCase):
    def test_any_bytes(self):
        @settings(max_examples=200, deadline=None)
        @given(hostile, st.sampled_from(HONEST), st.integers(0), st.integers(1, 9))
        def check(data, honest, position, size):
            position %= len(honest)
            mutated = honest[:position] + data + honest[position + len(data) // 2 :]
            for text in (data, mutated):
                try:
                    head = parse_head(text)
                except RequestRefused as exc:
                    self.assertIn(exc.status, [400, 413, 414, 417, 431, 501, 505])
                else:
                    self.assertTrue(head.meta())
                self.assertEqual(attempt([text]), attempt(pieces(text, size)))

        check()

    def test_any_chunks(self):
        @settings(max_examples=100, deadline=None)
        @given(hostile, st.integers(1, 9))
        def check(data, size):
            data = CURL_UPLOAD + data
            self.assertEqual(attempt([data]), attempt(pieces(data, size)))

        check()

    def test_requests_come_as_they_were_sent(self):
        @settings(max_examples=100, deadline=None)
        @given(token, target, st.none() | query, fields)
        def check(method, path, query, fields):
            target = f"/{path}" if query is None else f"/{path}?{query}"
            lines = [f"{name}:{a}{value}{b}\r\n" for name, a, value, b in fields]
            text = f"{method} {target} HTTP/1.1\r\nHost: a\r\n{''.join(lines)}\r\n"
            head = parse_head(text.encode("latin-1"))
            self.assertEqual((head.method, head.target), (method, target))
            self.assertEqual((head.path, head.query), (f"/{path}", query or ""))
            self.assertEqual(
                head.headers[1:],
                [(name.lower(), value) for name, _, value, _ in fields],
            )

        check()

    def test_bodies_come_as_they_were_sent(self):
        @settings(max_examples=200, deadline=None)
        @given(body, st.binary(max_size=9), st.integers(1, 9))
        def check(parts, rest, size):
            data = b"".join(map(encode_chunk, parts)) + LAST_CHUNK + rest
            decoder = ChunkedDecoder()
            decoded = [decoder.feed(piece) for piece in pieces(data, size)]
            self.assertEqual(b"".join(decoded), b"".join(parts))
            self.assertEqual((decoder.done, decoder.rest), (True, rest))

        check()
