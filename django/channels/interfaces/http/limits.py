"""The sizes that a request may have."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """
    The most that is taken of a request, in bytes unless said otherwise. That of
    its body is given to those who read it, see body_decoder().
    """

    # The whole head, with its empty line; more gets 431.
    head: int = 65536
    # Without its line end; more gets 414. RFC 9112, section 3, asks for 8000.
    request_line: int = 16384
    # The number of header lines; more get 431.
    fields: int = 100
    # The line before each chunk, with its line ends; more gets 400.
    chunk_line: int = 1024
    # All chunk extensions of a body; more get 400 (RFC 9112, section 7.1.1).
    chunk_extensions: int = 16384
    # All trailers of a body, with the empty line; more get 431.
    trailers: int = 8192


LIMITS = Limits()
