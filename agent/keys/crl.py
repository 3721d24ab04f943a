"""Certificate revocation lists: from the bytes of a file to what they revoke (RFC 5280, section 5).

Rule: pure. A list counts for the certificates of the authority that signed it and for
nobody else's: the names and the signatures of both must be that authority's, so that a
number that another authority has revoked means nothing for ours.

Decision: a list whose ``nextUpdate`` has passed goes on counting, with a warning. Whoever
is on it was revoked and stays so; to drop it would let them in again, and to refuse
everybody until there is a newer one would let a forgotten timer close every tunnel.

Decision: in doubt a list revokes. A critical extension that is not known here takes
nothing off it, and what a delta list adds is added. Only the entries for other issuers
on an indirect list, and those that take somebody off a delta list, are passed over.

It loads ``cryptography``, which a gateway without such a list never does.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, TypeAlias, cast

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

from schemas.errors import TidegateError
from schemas.quoting import quote

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPublicKeyTypes

MAX_SIZE: Final = 8 * 1024 * 1024
"""Bytes of a file of lists: some two hundred thousand revoked certificates."""

MAX_LISTS: Final = 64
"""In one file. An authority and those below it have a handful."""

Chain: TypeAlias = Sequence[bytes]
"""Certificates as DER: that of a peer, and those between it and its authority as far as they are known."""

# Clocks that differ a little are no reason to tell anybody anything.
_SKEW: Final = timedelta(minutes=5)
_DEEPEST: Final = 8  # certificates of a chain that are looked at; real ones have two or three

_BLOCK: Final = re.compile(rb"-----BEGIN X509 CRL-----.+?-----END X509 CRL-----", re.DOTALL)
_CERTIFICATE: Final = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_ANY_BEGIN: Final = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----")

_SEQUENCE: Final = 0x30  # how every list begins in DER

_MALFORMED: Final = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)

_UNREADABLE: Final = "make it anew with tidegate pki revoke, or copy it again from whoever signs certificates"


class CrlError(TidegateError):
    """A list that cannot be used; the message names it and says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _List:
    """One list. What is read of it is read at once: the library finds out late what it cannot read."""

    crl: x509.CertificateRevocationList
    issuer: x509.Name
    start: datetime
    end: datetime | None
    serials: frozenset[int] = field(repr=False)  # those of its own issuer


class RevocationLists:
    """The lists of one file, beside the authorities whose clients may connect."""

    def __init__(self, lists: Sequence[_List], authorities: Sequence[x509.Certificate], *, name: str) -> None:
        self._lists = tuple(lists)
        self._authorities = tuple(authorities)
        self._name = name

    def __len__(self) -> int:
        """How many certificates are on them."""
        return sum(len(one.serials) for one in self._lists)

    def revokes(self, chain: Chain) -> bool:
        """Whether the first certificate is revoked, or an authority between it and one that is trusted."""
        found = [certificate for der in chain[:_DEEPEST] if (certificate := _read_der(der)) is not None]
        issuers = (*found[1:], *self._authorities)
        return any(self._is_listed(certificate, issuers) for certificate in found)

    def warnings(self, now: datetime) -> tuple[str, ...]:
        """What an operator should know of these lists, although they count."""
        return tuple(self._warnings(now))

    def _is_listed(self, certificate: x509.Certificate, issuers: Iterable[x509.Certificate]) -> bool:
        # Looking a number up is quick, and a signature is looked at only where it is there.
        listing = [one for one in self._lists if certificate.serial_number in one.serials]
        return any(
            _has_signed(issuer, one.crl)
            and issuer.subject == certificate.issuer
            and _has_issued(issuer, certificate)
            for one in listing
            for issuer in issuers
        )

    def _warnings(self, now: datetime) -> Iterator[str]:
        for one in self._lists:
            whose = f"{self._name}: the revocation list of {_spell(one.issuer)}"
            if not any(issuer.subject == one.issuer for issuer in self._authorities):
                yield (
                    f"{whose} is of no authority in client_ca: it counts only for clients that show that "
                    "authority's certificate; put it into client_ca, or take the list out"
                )
            until = one.end
            if until is not None and until < now:
                yield (
                    f"{whose} was to be replaced by {until:%Y-%m-%d %H:%M} UTC: whoever was revoked since is "
                    "let in, and whoever is on it is refused as before; get a newer one"
                )
            if one.start > now + _SKEW:
                yield (
                    f"{whose} is of {one.start:%Y-%m-%d %H:%M} UTC, which is yet to come: "
                    "it counts; set this machine's clock, or that of whoever signed it"
                )


def read_lists(data: bytes, *, authorities: bytes, name: str) -> RevocationLists:
    """The lists in a file.

    :param data: PEM or DER, of one list or several.
    :param authorities: the certificates of those whose clients may connect, as PEM.
    :param name: what messages call the file.
    :raises CrlError: if it holds none, one cannot be read, or one has the name of an authority of ours and
        not its signature.
    """
    trusted = list(_read_pem(authorities))
    lists = [_read(block, name) for block in _split(data, name)]
    for one in lists:
        namesakes = [authority for authority in trusted if authority.subject == one.issuer]
        if namesakes and not any(_has_signed(authority, one.crl) for authority in namesakes):
            raise CrlError(
                f"{name}: the revocation list of {_spell(one.issuer)} is not signed by the authority of "
                "that name in client_ca: get it from there, or make one with tidegate pki revoke"
            )
    return RevocationLists(lists, trusted, name=name)


def _split(data: bytes, name: str) -> list[bytes]:
    """Each list by itself, as DER or PEM."""
    if not data.strip():
        raise CrlError(f"{name} is empty: {_UNREADABLE}, or leave gateway.tls.crl out")
    if len(data) > MAX_SIZE:
        raise CrlError(f"{name} has more than {MAX_SIZE >> 20} MiB: is it really a revocation list?")
    found = list(_split_pem(data, name) if _ANY_BEGIN.search(data) else _split_der(data, name))
    if len(found) > MAX_LISTS:
        raise CrlError(f"{name} holds {len(found)} revocation lists: leave at most {MAX_LISTS} in it")
    return found


def _split_pem(data: bytes, name: str) -> Iterator[bytes]:
    if data.count(b"-----BEGIN ") != data.count(b"-----END "):
        raise CrlError(f"{name} is cut off: copy it anew")
    others = sorted({kind.decode() for kind in _ANY_BEGIN.findall(data)} - {"X509 CRL"})
    if others:
        raise CrlError(f"{name} holds {others[0]} where a revocation list belongs: name the file of the list")
    yield from _BLOCK.findall(data)


def _split_der(data: bytes, name: str) -> Iterator[bytes]:
    while data:
        size = _size(data)
        if size is None:
            raise CrlError(f"{name} is no revocation list, neither PEM nor DER: {_UNREADABLE}")
        if size > len(data):
            raise CrlError(f"{name} is cut off: copy it anew")
        yield data[:size]
        data = data[size:]


def _size(data: bytes) -> int | None:
    """Bytes of the DER sequence at the beginning (X.690, section 8.1.3); None: there is none."""
    if len(data) < 2 or data[0] != _SEQUENCE:
        return None
    first = data[1]
    if first < 0x80:
        return 2 + first
    count = first & 0x7F
    if not 1 <= count <= 4 or len(data) < 2 + count:
        return None
    return 2 + count + int.from_bytes(data[2 : 2 + count], "big")


def _read(block: bytes, name: str) -> _List:
    load = x509.load_pem_x509_crl if block.startswith(b"-----") else x509.load_der_x509_crl
    try:
        crl = load(block)
        return _List(
            crl=crl,
            issuer=crl.issuer,
            start=crl.last_update_utc,
            end=crl.next_update_utc,
            serials=frozenset(_serials(crl)),
        )
    except _MALFORMED as error:
        raise CrlError(f"{name} cannot be read as a revocation list: {_UNREADABLE}") from error


def _serials(crl: x509.CertificateRevocationList) -> Iterator[int]:
    """The numbers of certificates of its own issuer."""
    if not _needs_reading(crl):
        yield from (revoked.serial_number for revoked in crl)
        return
    is_ours = True
    for revoked in crl:
        for extension in revoked.extensions:
            match extension.value:
                case x509.CertificateIssuer() as issuers:
                    # It holds for the entries behind it as well (RFC 5280, section 5.3.3).
                    is_ours = x509.DirectoryName(crl.issuer) in list(issuers)
                case x509.CRLReason(reason=x509.ReasonFlags.remove_from_crl):
                    break
                case _:
                    pass
        else:
            if is_ours:
                yield revoked.serial_number


def _needs_reading(crl: x509.CertificateRevocationList) -> bool:
    """Whether an entry may be for another issuer, or take somebody off. Reading them all takes long."""
    for extension in crl.extensions:
        match extension.value:
            case x509.IssuingDistributionPoint(indirect_crl=True) | x509.DeltaCRLIndicator():
                return True
            case _:
                pass
    return False


def _has_signed(issuer: x509.Certificate, crl: x509.CertificateRevocationList) -> bool:
    with suppress(InvalidSignature, *_MALFORMED):
        # Other kinds of keys cannot sign, which is a TypeError.
        key = cast("CertificateIssuerPublicKeyTypes", issuer.public_key())
        return issuer.subject == crl.issuer and crl.is_signature_valid(key)
    return False


def _has_issued(issuer: x509.Certificate, certificate: x509.Certificate) -> bool:
    with suppress(InvalidSignature, *_MALFORMED):
        certificate.verify_directly_issued_by(issuer)
        return True
    return False


def _read_der(der: bytes) -> x509.Certificate | None:
    """None: OpenSSL has taken it, and this library cannot read it."""
    with suppress(*_MALFORMED):
        return _whole(x509.load_der_x509_certificate(der))
    return None


def _read_pem(pem: bytes) -> Iterator[x509.Certificate]:
    """The certificates that can be read."""
    for block in _CERTIFICATE.findall(pem):
        with suppress(*_MALFORMED):
            yield _whole(x509.load_pem_x509_certificate(block))


def _whole(certificate: x509.Certificate) -> x509.Certificate:
    """The certificate, if what is looked at can be read."""
    _ = certificate.subject, certificate.issuer, certificate.serial_number
    return certificate


def _spell(name: x509.Name) -> str:
    return quote(name.rfc4514_string())
