"""Which certificates of clients are refused although an authority vouches for them.

Rule: pure. What the state file names under ``revoked`` is refused whoever signed it; an
entry that tells number and fingerprint means the certificate that has both. What a
revocation list says is for the list to know.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

from schemas.revocation import spell_serial
from schemas.state import Revocation

REVOKED: Final = "this certificate has been revoked: ask the operator for another"
"""What the client is told."""

REVOKED_HERE: Final = "its certificate has been revoked; issue another one if it is to come back"
"""What the gateway says of it to its own operator."""

Chain: TypeAlias = Sequence[bytes]
"""Certificates as DER: the peer's own, then those between it and its authority."""


class Lists(Protocol):
    """What a file of revocation lists says."""

    def revokes(self, chain: Chain) -> bool:
        """Whether the first certificate is revoked, or an authority that it depends on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownCertificate:
    """What names a certificate, as it stands under ``revoked`` in a state file."""

    serial: str
    fingerprint: str

    @classmethod
    def of(cls, certificate: Mapping[str, object], chain: Chain) -> ShownCertificate:
        """:param certificate: what :meth:`ssl.SSLSocket.getpeercert` says of it."""
        return cls(
            serial=spell_serial(abs(serial_in(certificate) or 0)),
            fingerprint=fingerprint_of(chain[0]) if chain else "",
        )


class Revocations:
    """Everything that is revoked: by the state file, and by lists."""

    def __init__(self, entries: Iterable[Revocation] = (), lists: Lists | None = None) -> None:
        # Asked at every greeting, and a thousand of them may stand in the file.
        self._named = frozenset((entry.serial, entry.fingerprint) for entry in entries)
        self.lists = lists

    def refuse(self, certificate: Mapping[str, object], chain: Callable[[], Chain]) -> bool:
        """Whether that certificate is refused.

        :param certificate: what :meth:`ssl.SSLSocket.getpeercert` says of it.
        :param chain: gives it and those above it, which takes a moment; asked only if need be.
        """
        if not self._named and self.lists is None:
            return False
        shown = chain()
        if not shown:
            return False  # nobody has shown any
        serial, fingerprint = serial_in(certificate), fingerprint_of(shown[0])
        names = {(serial, None), (None, fingerprint), (serial, fingerprint)}
        return not names.isdisjoint(self._named) or (self.lists is not None and self.lists.revokes(shown))


def serial_in(certificate: Mapping[str, object]) -> int | None:
    """The number of a certificate of which :meth:`ssl.SSLSocket.getpeercert` has told."""
    text = certificate.get("serialNumber")
    return int(text, 16) if isinstance(text, str) else None


def fingerprint_of(der: bytes) -> str:
    """SHA-256, in lower case and without colons, as state files have it."""
    return hashlib.sha256(der).hexdigest()
