"""Which certificate is meant: by its serial number, or by its fingerprint.

Rule: a text becomes either of them here and nowhere else.
"""

from __future__ import annotations

import re
from typing import Final

from .quoting import quote

MAX_SERIAL_BITS: Final = 160  # RFC 5280, section 4.1.2.2: at most 20 octets

_HEX_PAIRS: Final = re.compile(r"[0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2})+")
_HEX: Final = re.compile(r"0[xX][0-9A-Fa-f]+")
_DECIMAL: Final = re.compile(r"[0-9]{1,49}")
_FINGERPRINT: Final = re.compile(r"(?:[Ss][Hh][Aa]-?256[:=]? ?)?((?:[0-9A-Fa-f]{2}:?){31}[0-9A-Fa-f]{2})")


def parse_serial(value: object) -> int:
    """A serial number: decimal, ``0x4f2a``, or ``4f:2a`` as openssl prints it.

    :raises ValueError: with one line that says what to write instead.
    """
    match value:
        case bool():
            number = None
        case int():
            number = value
        case str() if _HEX_PAIRS.fullmatch(value):
            number = int(value.replace(":", ""), 16)
        case str() if _HEX.fullmatch(value) and len(value) <= 2 + MAX_SERIAL_BITS // 4:
            number = int(value, 16)
        case str() if _DECIMAL.fullmatch(value):
            number = int(value)
        case _:
            number = None
    if number is None or number < 0 or number.bit_length() > MAX_SERIAL_BITS:
        shown = quote(value) if isinstance(value, str) else "this"
        raise ValueError(
            f"{shown} is not the serial number of a certificate; "
            'write it as "4f:2a:…", "0x4f2a…" or in decimal'
        )
    return number


def parse_fingerprint(text: str) -> str:
    """The SHA-256 of a certificate in DER: 64 hexadecimal digits, in lower case and without colons.

    :raises ValueError: with one line that says what to write instead.
    """
    match = _FINGERPRINT.fullmatch(text)
    if match is None:
        raise ValueError(
            f"{quote(text)} is not a SHA-256 fingerprint; write its 64 hexadecimal digits, "
            "as openssl x509 -fingerprint -sha256 prints them"
        )
    return match[1].replace(":", "").lower()


def spell_serial(serial: int) -> str:
    """As openssl prints it in a listing: pairs of digits with colons between them."""
    digits = f"{serial:x}"
    digits = digits.rjust(len(digits) + len(digits) % 2, "0")
    return (
        ":".join(digits[at : at + 2] for at in range(0, len(digits), 2)) if len(digits) > 2 else f"0x{digits}"
    )
