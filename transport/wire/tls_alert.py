"""The three things a gateway that holds no key can say to a TLS visitor.

Rule: before the handshake an alert is a plaintext record, so these bytes are constant. All are
fatal: the connection is closed right after (RFC 8446 section 6.2).
"""

from __future__ import annotations

from typing import Final

_ALERT: Final = 21
_LEGACY_VERSION: Final = b"\x03\x03"  # RFC 8446 section 5.1: what every record says, whatever is spoken
_FATAL: Final = 2
_DECODE_ERROR: Final = 50
_INTERNAL_ERROR: Final = 80
_UNRECOGNIZED_NAME: Final = 112


def unrecognized_name() -> bytes:
    """No site of that name is here (RFC 6066 section 3, which advises against a mere warning)."""
    return _record(_UNRECOGNIZED_NAME)


def internal_error() -> bytes:
    """The site is known but cannot be reached now, through no fault of the visitor (RFC 8446 section 6.2)."""
    return _record(_INTERNAL_ERROR)


def decode_error() -> bytes:
    """The ClientHello could not be read (RFC 8446 section 6.2)."""
    return _record(_DECODE_ERROR)


def _record(description: int) -> bytes:
    content = bytes((_FATAL, description))
    return bytes((_ALERT,)) + _LEGACY_VERSION + len(content).to_bytes(2, "big") + content
