"""
The grammar that heads, trailers and responses share, as regular expressions.

They are for text decoded as ISO-8859-1, in which each byte is one character. A
character is in one part of an expression only, so that no input, whatever it
is, makes matching slow.
"""

import re

# RFC 9110, section 5.6.2.
TOKEN_CHAR = r"[!#$%&'*+.^_`|~0-9A-Za-z-]"

# The longest methods of the registry of RFC 9110, section 16.1, have 17 characters.
MAX_METHOD = 32

# RFC 9110, section 5.5: visible characters, spaces and tabs, and the bytes from
# 0x80, which are opaque. 0x85 (NEL) is one of these and ends no line.
TEXT_CHAR = r"[\t\x20-\x7e\x80-\xff]"

# RFC 9112, section 5: no space before the colon and no folded lines.
FIELD_LINES = rf"(?:{TOKEN_CHAR}+:{TEXT_CHAR}*\r\n)*"

token_re = re.compile(f"{TOKEN_CHAR}+")
text_re = re.compile(f"{TEXT_CHAR}*")

# RFC 9112, section 2.2: a line ends with CRLF, and neither stands alone. The CR
# at the end of what has come may still get its LF.
bare_line_end_re = re.compile(rb"(?<!\r)\n|\r(?!\n|\Z)")


def split_list(value):
    """Return the items of a comma-separated header (RFC 9110, section 5.6.1)."""
    return [item.strip(" \t") for item in value.lower().split(",")]
