"""What a visitor may call the host it wants, in SNI or in HTTP.

Rule: a name leaves this file lower-cased, without its trailing dot, and made of nothing but the
letters of a DNS name; so it can be compared, matched and logged without another thought.
"""

from __future__ import annotations

import re
from typing import Final

from .errors import RemoteProtocolError

# RFC 1035 section 2.3.4: 255 octets on the wire are 253 characters of text. The limit also bounds
# what a glob can be made to match against.
MAX_NAME: Final = 253

# RFC 1123 section 2.1 and the underscore that service names carry. A-labels are such labels as well.
_NAME: Final = re.compile(r"[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*")


def read_visitor_name(raw: bytes) -> str:
    """The host name in `raw`, lower-cased and without a trailing dot.

    :raises RemoteProtocolError: when it is no DNS name: empty, too long, with an empty label, or
        with any character (a NUL, a space, a byte over 127) that no host name has.
    """
    # One dot more than MAX_NAME is the root's (RFC 1034 section 3.1), and names the same host.
    text = raw[: MAX_NAME + 2].decode("latin-1").removesuffix(".")
    if len(text) > MAX_NAME:
        raise RemoteProtocolError(f"a host name of {len(raw)} bytes is longer than DNS allows ({MAX_NAME})")
    if not text.isascii() or not _NAME.fullmatch(text.lower()):
        raise RemoteProtocolError(f"{text!a} is not a host name")
    return text.lower()
