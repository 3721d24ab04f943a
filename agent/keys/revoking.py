"""Revoking certificates, as values: an authority, its list so far, and who is to be on it.

Rule: this file alone decides what a revocation list of Tidegate says, and touches no
file. A list only grows: an authority takes nobody off it again, and whoever is to come
back is given another certificate.

Decision: a list is good until its authority ends. A shorter time asks somebody to make
one again and again, although nothing has changed; the next one replaces it whenever it is
there, and not when this one ends.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, cast

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization

from .certificates import (
    BACKDATED,
    Credentials,
    PkiError,
    authority_key_identifier,
    load_authority,
    utc_now,
)

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPublicKeyTypes


class ListError(PkiError):
    """The list so far cannot be added to."""


def revoke(
    authority: Credentials, serials: Iterable[int], *, before: bytes | None, now: datetime | None = None
) -> bytes | None:
    """The authority's list with these certificates on it, as PEM; None if all of them are on it already.

    :param before: the list so far, as PEM; None if there is none.
    :raises ListError: if the list so far is not this authority's.
    :raises PkiError: if the authority cannot sign.
    """
    now = now or utc_now()
    issuer, signer = load_authority(authority, now)
    crl = None if before is None else _load(before, issuer)
    listed = [] if crl is None else list(crl)
    fresh = sorted(set(serials) - {revoked.serial_number for revoked in listed})
    if crl is not None and not fresh:
        return None
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.subject)
        .last_update(now - BACKDATED)
        .next_update(issuer.not_valid_after_utc)
        .add_extension(authority_key_identifier(issuer), critical=False)
        .add_extension(x509.CRLNumber(_number(crl) + 1), critical=False)
    )
    for revoked in listed:
        builder = builder.add_revoked_certificate(revoked)
    for serial in fresh:
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now)
        builder = builder.add_revoked_certificate(entry.build())
    return builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def serial_of(authority: Credentials, certificate: bytes) -> int:
    """The number by which the authority revokes a certificate, given as PEM.

    :raises PkiError: if it is none, or another authority's.
    """
    try:
        found = x509.load_pem_x509_certificate(certificate)
    except ValueError as error:
        raise PkiError("it holds no certificate in PEM form: name the one to be revoked") from error
    try:
        found.verify_directly_issued_by(x509.load_pem_x509_certificate(authority.certificate))
    except (ValueError, TypeError, InvalidSignature) as error:
        raise PkiError("another authority signed it, and only that one can revoke it") from error
    return found.serial_number


def _load(pem: bytes, issuer: x509.Certificate) -> x509.CertificateRevocationList:
    try:
        crl = x509.load_pem_x509_crl(pem)
        key = cast("CertificateIssuerPublicKeyTypes", issuer.public_key())
        is_ours = crl.issuer == issuer.subject and crl.is_signature_valid(key)
    except (ValueError, TypeError) as error:  # TypeError: no list is signed with a key of that kind
        raise ListError("it is no revocation list in PEM form: put one there, or move it away") from error
    if not is_ours:
        raise ListError("it is the revocation list of another authority: move it away")
    return crl


def _number(crl: x509.CertificateRevocationList | None) -> int:
    """RFC 5280, section 5.2.3."""
    try:
        return 0 if crl is None else crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    except x509.ExtensionNotFound:
        return 0
