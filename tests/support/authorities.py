"""Authorities below others, their revocation lists, and certificates with numbers of one's choice.

Rule: what ``tidegate pki`` never makes and others do is made here, for the tests that meet it.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from agent.keys.certificates import Credentials

NOW: Final = datetime.now(UTC)
_DAY: Final = timedelta(days=1)


def der(credentials: Credentials) -> bytes:
    """The certificate."""
    return ssl.PEM_cert_to_DER_cert(credentials.certificate.decode())


def serial(credentials: Credentials) -> int:
    return x509.load_pem_x509_certificate(credentials.certificate).serial_number


def root(name: str) -> Credentials:
    """An authority with others below it, which the ones of ``tidegate pki`` may not have."""
    return signed(name, None, is_authority=True)


def signed(
    name: str, signed_by: Credentials | None, *, serial: int | None = None, is_authority: bool = False
) -> Credentials:
    """A certificate of a client, or of an authority below another, with that number."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _name(name)
    issuer = x509.load_pem_x509_certificate(signed_by.certificate).subject if signed_by else subject
    signer = _key(signed_by) if signed_by else key
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number() if serial is None else serial)
        .not_valid_before(NOW - _DAY)
        .not_valid_after(NOW + _DAY)
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
    )
    if not is_authority:
        builder = builder.add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
        )
    return Credentials(
        certificate=builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM),
        key=key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
    )


def revocation_list(
    authority: Credentials,
    *serials: int,
    start: datetime = NOW - _DAY,
    end: datetime = NOW + _DAY,
    encoding: serialization.Encoding = serialization.Encoding.PEM,
    issuer: str | None = None,
    extensions: Iterable[x509.ExtensionType] = (),
    entries: Iterable[x509.RevokedCertificate] = (),
) -> bytes:
    """A list that this authority signs.

    :param issuer: the name that stands in it, if it is not the authority's own.
    """
    own = x509.load_pem_x509_certificate(authority.certificate).subject
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(own if issuer is None else _name(issuer))
        .last_update(start)
        .next_update(end)
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=True)
    for revoked in (*(entry(number) for number in serials), *entries):
        builder = builder.add_revoked_certificate(revoked)
    return builder.sign(_key(authority), hashes.SHA256()).public_bytes(encoding)


def entry(serial: int, *extensions: x509.ExtensionType) -> x509.RevokedCertificate:
    """A line of a list."""
    builder = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(NOW - _DAY)
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return builder.build()


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _key(credentials: Credentials) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(credentials.key, password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key
