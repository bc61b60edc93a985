"""
HTTP/1.1 (RFC 9110 and 9112) without I/O: bytes in, values and bytes out.

    heads      the head of a request: find its end, parse it
    targets    what a request asks for, and of which host
    faults     why a head was refused
    bodies     the body of a request, of a known length or in chunks
    writing    the bytes of a response
    grammar    what the RFCs call tokens and field values
    limits     the sizes that a request may have
    errors     what these modules raise

What the RFCs leave to the taste of a recipient is refused, for two programs in
a row that read the same bytes differently are how requests are smuggled (RFC
9112, section 11.2).
"""
