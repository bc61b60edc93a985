from django.channels.interfaces.http.bodies import (
    ChunkedDecoder,
    FixedDecoder,
    body_decoder,
)
from django.channels.interfaces.http.heads import parse_head
from django.channels.interfaces.http.writing import LAST_CHUNK, encode_chunk
from django.test import SimpleTestCase

from .http_requests import CURL, HTTP_CLIENT, RefusalMixin, pieces


class FixedBodyTests(RefusalMixin, SimpleTestCase):
    def test_every_split(self):
        for size in range(1, 8):
            decoder = FixedDecoder(5)
            parts = [decoder.feed(part) for part in pieces(b"Hello!!", size)]
            self.assertEqual(b"".join(parts), b"Hello")
            self.assertEqual((decoder.done, decoder.rest), (True, b"!!"))
            self.assertEqual(decoder.size, 5)

    def test_not_done_before_the_end(self):
        decoder = FixedDecoder(5)
        decoder.feed(b"Hell")
        self.assertIs(decoder.done, False)

    def test_no_body(self):
        decoder = body_decoder(parse_head(CURL))
        self.assertIs(decoder.done, True)
        self.assertEqual(decoder.feed(b"GET"), b"")
        self.assertEqual(decoder.rest, b"GET")

    def test_limit(self):
        head = parse_head(HTTP_CLIENT)
        self.assertEqual(body_decoder(head, max_size=3).length, 3)
        self.assertRefused(413, body_decoder, head, max_size=2)


class ChunkedBodyTests(RefusalMixin, SimpleTestCase):
    body = (
        b"5;a=b;c\r\nHello\r\n"
        b'1 ; d="e\\"f" \r\n,\r\n'
        b"00B;\xe4\r\n\r\n0\r\n\r\nbye\n\r\n"
        b"000;last\r\nTrailer: a\r\nB:\r\n\r\n"
    )
    decoded = b"Hello,\r\n0\r\n\r\nbye\n"

    def decode(self, chunks, **kwargs):
        decoder = ChunkedDecoder(**kwargs)
        return b"".join([decoder.feed(chunk) for chunk in chunks]), decoder

    def test_every_split(self):
        data = self.body + b"GET /"
        for cut in range(len(data) + 1):
            result, decoder = self.decode([data[:cut], data[cut:]])
            self.assertEqual(result, self.decoded)
            self.assertEqual((decoder.done, decoder.rest), (True, b"GET /"))
            self.assertEqual(decoder.size, len(self.decoded))

    def test_bytes(self):
        for size in range(1, len(self.body)):
            result, decoder = self.decode(pieces(self.body, size))
            self.assertEqual(result, self.decoded)
            self.assertEqual((decoder.done, decoder.rest), (True, b""))

    def test_data_is_given_as_it_comes(self):
        decoder = ChunkedDecoder()
        self.assertEqual(decoder.feed(b"ff\r\nab"), b"ab")
        self.assertEqual(decoder.feed(b"c"), b"c")
        self.assertIs(decoder.done, False)

    def test_sizes_in_upper_and_lower_case(self):
        for size in (b"1a", b"1A", b"00000000000001a"):
            data = b"%b\r\n%b\r\n0\r\n\r\n" % (size, b"a" * 26)
            self.assertEqual(self.decode([data])[0], b"a" * 26)

    def test_encoded_chunks(self):
        data = encode_chunk(b"Hello") + encode_chunk(b"") + encode_chunk(b"a" * 300)
        result, decoder = self.decode([data + LAST_CHUNK])
        self.assertEqual(result, b"Hello" + b"a" * 300)
        self.assertIs(decoder.done, True)

    def test_hostile_chunks(self):
        for data in [
            b"0x5\r\nHello\r\n",
            b"+5\r\nHello\r\n",
            b"-5\r\nHello\r\n",
            b" 5\r\nHello\r\n",
            b"5 \r\nHello\r\n",
            b"5\t\r\nHello\r\n",
            b"0_5\r\nHello\r\n",
            b"5g\r\nHello\r\n",
            b"5,\r\nHello\r\n",
            b"\xb2\r\nHello\r\n",
            b"5\nHello\r\n",
            b"5\rHello\r\n",
            b"5\r\r\nHello\r\n",
            b"5\n\r\nHello\r\n",
            b"5;a\nHello\r\n",
            b"5;a\rb\r\nHello\r\n",
            b"5;a\r\r\nHello\r\n",
            b"5;a\0\r\nHello\r\n",
            b"5;a\x0b\r\nHello\r\n",
            b"5;a\x7f\r\nHello\r\n",
            b"5 a\r\nHello\r\n",
            b"5=a\r\nHello\r\n",
            b";a\r\n",
            b"\r\n",
            b"\r\n5\r\nHello\r\n",
            b"\n",
            b"five\r\n",
            b"0" * 17 + b"\r\n",
            b"10000000000000000\r\n",
            b"5\r\nHello0\r\n\r\n",
            b"5\r\nHello\n0\r\n\r\n",
            b"5\r\nHello\r0\r\n\r\n",
            b"5\r\nHello\n\r0\r\n\r\n",
            b"5\r\nHelloXX0\r\n\r\n",
            b"5\r\nHello world\r\n0\r\n\r\n",
            b"5\r\nHello\r\n\r\n0\r\n\r\n",
            b"5\r\nHello\r\n 0\r\n\r\n",
            b"5\r\nHello\r\n-0\r\n\r\n",
        ]:
            with self.subTest(data=data):
                self.assertRefused(400, self.decode, [data + b"\r\n"])
                self.assertRefused(400, self.decode, pieces(data + b"\r\n"))

    def test_hostile_trailers(self):
        for trailers in [
            b"A\r\n\r\n",
            b"A : b\r\n\r\n",
            b": b\r\n\r\n",
            b"A: b\r\n c\r\n\r\n",
            b" A: b\r\n\r\n",
            b"A: b\nB: c\r\n\r\n",
            b"A: b\rB: c\r\n\r\n",
            b"A: b\0\r\n\r\n",
            b"\n",
            b"\r\r\n",
            b"A: b\r\n\n",
            b"A: b\n\n",
            b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        ]:
            with self.subTest(trailers=trailers):
                data = b"0\r\n" + trailers
                self.assertRefused(400, self.decode, [data])
                self.assertRefused(400, self.decode, pieces(data))

    def test_trailers_are_dropped(self):
        data = b"0\r\nContent-Length: 5\r\nHost: b\r\n\r\n"
        result, decoder = self.decode([data])
        self.assertEqual((result, decoder.done), (b"", True))

    def test_missing_line_end_is_refused_at_once(self):
        decoder = ChunkedDecoder()
        self.assertRefused(400, decoder.feed, b"5\r\nHelloX")

    def test_limit(self):
        self.assertEqual(self.decode([self.body], max_size=18)[0], self.decoded)
        for chunks in ([self.body], pieces(self.body)):
            self.assertRefused(413, self.decode, chunks, max_size=16)
        # Before any of it comes.
        decoder = ChunkedDecoder(max_size=10**9)
        self.assertRefused(413, decoder.feed, b"ffffffffffffffff\r\n")

    def test_limit_of_lines(self):
        data = b"0;%b\r\n\r\n"
        self.decode([data % (b"a" * 1020)])
        for extension in (b"a" * 1021, b"a" * 100000):
            for size in (1000, 10**6):
                chunks = pieces(data % extension, size)
                self.assertRefused(400, self.decode, chunks)
        self.assertRefused(400, self.decode, [b"1;" + b"a" * 2000])

    def test_limit_of_extensions(self):
        data = b"1;%b\r\na\r\n" % (b"a" * 1000)
        self.decode([data * 16])
        self.assertRefused(400, self.decode, [data * 17])
        self.assertRefused(400, self.decode, [data] * 17)

    def test_limit_of_trailers(self):
        data = b"0\r\nA: %b\r\n\r\n"
        self.decode([data % (b"a" * 8000)])
        for size in (1000, 10**6):
            chunks = pieces(data % (b"a" * 9000), size)
            self.assertRefused(431, self.decode, chunks)
        self.decode([b"0\r\n" + b"a:\r\n" * 100 + b"\r\n"])
        self.assertRefused(431, self.decode, [b"0\r\n" + b"a:\r\n" * 101 + b"\r\n"])
        self.assertRefused(431, self.decode, [b"0\r\n" + b"a:\r\n" * 200])

    def test_holds_little(self):
        decoder = ChunkedDecoder()
        decoder.feed(b"fffffff\r\n")
        for _ in range(10):
            decoder.feed(b"a" * 10000)
            self.assertEqual(decoder._held, b"")
