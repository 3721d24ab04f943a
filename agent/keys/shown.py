"""The certificates that a peer has shown in a TLS handshake, as DER.

Rule: which Python, and which TLS library, tells them in which way is known here and
nowhere else. Where nobody tells, what the peer showed of itself is all there is.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from typing import Any, TypeAlias

Chain: TypeAlias = tuple[bytes, ...]
"""The peer's own first, then those between it and its authority as far as they are known."""


def shown_chain(tls: Any) -> Chain:
    """As the peer sent them, whether or not they were of use.

    :param tls: an :class:`ssl.SSLObject`, or what is like one; None: there was no handshake.
    """
    return _chain(tls, "get_unverified_chain")


def verified_chain(tls: Any) -> Chain:
    """As they led to an authority that is trusted, which may be the last of them."""
    return _chain(tls, "get_verified_chain")


def _chain(tls: Any, name: str) -> Chain:
    own = tls.getpeercert(True) if tls is not None else None
    if own is None:
        return ()
    tell = getattr(tls, name, None)
    if tell is None:  # before Python 3.13 only the object within has it
        tell = getattr(getattr(tls, "_sslobj", None), name, None)
    found = _as_der(tell() or ()) if tell is not None else ()
    return found if own in found else (own, *found)


def _as_der(certificates: Iterable[Any]) -> Chain:
    return tuple(
        certificate
        if isinstance(certificate, bytes)
        else ssl.PEM_cert_to_DER_cert(certificate.public_bytes())
        for certificate in certificates
    )
