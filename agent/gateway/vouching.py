"""Whether authorities vouch for a certificate that was verified under others.

Rule: signatures count, and nothing that OpenSSL has looked at already when the
session began. In doubt the answer is no: the session ends, the client dials again
at once, and OpenSSL decides.

It loads ``cryptography``, which no agent needs before its authorities have changed.
"""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import Final, TypeAlias

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

Chain: TypeAlias = Sequence[bytes]
"""Certificates as DER: that of a peer, and those it sent along."""

_DEEPEST: Final = 8  # certificates of a chain that are looked at; real ones have two or three
_END: Final = "-----END CERTIFICATE-----"


class Authorities:
    """Those in a PEM file.

    :param now: in UTC.
    """

    def __init__(self, pem: bytes, *, now: datetime) -> None:
        found = [_read(der) for der in _split(pem)]
        self._now = now
        self._trusted = [certificate for certificate in found if certificate is not None]

    def vouch_for(self, chain: Chain) -> bool:
        """Whether one of them signed the first certificate, or the authority that did and so on."""
        leaf, *others = [_read(der) for der in chain[:_DEEPEST]] or [None]
        if leaf is None:
            return False
        reached, waiting = [leaf], [other for other in others if other is not None]
        while reached:
            certificate = reached.pop()
            if certificate in self._trusted or self._is_signed(certificate, self._trusted):
                return True
            issuers = [other for other in waiting if self._has_signed(other, certificate)]
            waiting = [other for other in waiting if other not in issuers]
            reached += issuers
        return False

    def _is_signed(self, certificate: x509.Certificate, authorities: Sequence[x509.Certificate]) -> bool:
        return any(self._has_signed(authority, certificate) for authority in authorities)

    def _has_signed(self, authority: x509.Certificate, certificate: x509.Certificate) -> bool:
        if not authority.not_valid_before_utc <= self._now <= authority.not_valid_after_utc:
            return False
        with suppress(InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError, x509.ExtensionNotFound):
            certificate.verify_directly_issued_by(authority)
            return authority.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        return False


def _split(pem: bytes) -> list[bytes]:
    """The certificates of a PEM file that can be decoded."""
    found = []
    for block in pem.decode("ascii", "ignore").split(_END)[:-1]:
        _, begin, body = block.partition("-----BEGIN CERTIFICATE-----")
        with suppress(ValueError):
            found.append(ssl.PEM_cert_to_DER_cert(f"{begin}{body}{_END}"))
    return found


def _read(der: bytes) -> x509.Certificate | None:
    """None: OpenSSL has taken it, and this library cannot read it."""
    try:
        return x509.load_der_x509_certificate(der)
    except ValueError:
        return None
