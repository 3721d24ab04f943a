"""Keys and certificates as values: an authority, and what it signs.

Rule: this file alone decides what a certificate of Tidegate says, and touches no
file. A certificate says what it is for and nothing more: a gateway's only
``serverAuth``, a client's only ``clientAuth``, so that the key of a client
cannot pose as the gateway.

Keys are ECDSA on P-256: every TLS library of the last ten years has it, browsers
still refuse Ed25519, and signing costs a small part of what RSA's does. The shape
is RFC 5280's; ``openssl verify -x509_strict`` accepts it.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import Final, TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from schemas.errors import TidegateError
from schemas.names import check_client_id, check_domain, parse_hostname
from schemas.quoting import quote

AUTHORITY_LIFETIME: Final = timedelta(days=3652)  # ten years: replacing it means touching every machine
# The most that Apple's systems accept of a server certificate, whoever signed it.
LEAF_LIFETIME: Final = timedelta(days=825)
# A certificate is good from a little before now, for the machine whose clock is behind.
BACKDATED: Final = timedelta(minutes=5)
# Time for a holiday, and for whoever keeps the authority's key to come back from theirs.
EXPIRY_NOTICE: Final = timedelta(days=21)

_LONGEST_COMMON_NAME: Final = 64  # ub-common-name, RFC 5280 appendix A.1

_SigningKey: TypeAlias = (
    ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
)  # ours, or an authority one already has


class PkiError(TidegateError):
    """A key or certificate was not made. The message says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """A certificate and its private key, each as PEM."""

    certificate: bytes
    key: bytes = field(repr=False)

    @property
    def expires(self) -> datetime:
        """The end of the certificate's lifetime, in UTC."""
        return x509.load_pem_x509_certificate(self.certificate).not_valid_after_utc


def utc_now() -> datetime:
    """The default of every ``now`` here."""
    return datetime.now(UTC)


def create_authority(
    *, name: str, lifetime: timedelta = AUTHORITY_LIFETIME, now: datetime | None = None
) -> Credentials:
    """A self-signed authority that may sign gateways and clients, and no further authority.

    :raises PkiError: if the name does not fit into a certificate.
    """
    now = now or utc_now()
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _subject(name)
    builder = (
        _builder(subject=subject, issuer=subject, key=key, start=now - BACKDATED, end=now + lifetime)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
    )
    return _credentials(builder.sign(key, hashes.SHA256()), key)


def sign_gateway(
    authority: Credentials,
    *,
    name: str,
    hosts: Sequence[str],
    lifetime: timedelta = LEAF_LIFETIME,
    now: datetime | None = None,
) -> Credentials:
    """A gateway's certificate. ``hosts`` are the names and IP addresses by which clients dial it.

    It ends with the authority's own at the latest.

    :raises PkiError: if there is no host, one is not a host, or the authority cannot sign.
    """
    if not hosts:
        raise PkiError(
            "a gateway's certificate needs the names or addresses by which clients dial it, "
            "for example gw1.example.com or 192.0.2.1"
        )
    names = x509.SubjectAlternativeName(list(dict.fromkeys(_general_name(host) for host in hosts)))
    return _sign(authority, name, ExtendedKeyUsageOID.SERVER_AUTH, names, lifetime, now or utc_now())


def sign_client(
    authority: Credentials,
    *,
    client_id: str,
    domain: str | None = None,
    lifetime: timedelta = LEAF_LIFETIME,
    now: datetime | None = None,
) -> Credentials:
    """A client's certificate. Its common name is ``<id>``, or ``<id>@<domain>`` if its gateway sets a domain.

    It ends with the authority's own at the latest.

    :raises PkiError: if the id or the domain is not one, or the authority cannot sign.
    """
    try:
        common_name = str(check_client_id(client_id))
        if domain is not None:
            common_name += f"@{check_domain(domain)}"
    except ValueError as error:
        raise PkiError(str(error)) from error
    return _sign(authority, common_name, ExtendedKeyUsageOID.CLIENT_AUTH, None, lifetime, now or utc_now())


def expiry_warning(certificate: bytes, *, name: str, now: datetime) -> str | None:
    """What an operator should know about the lifetime of a certificate (the first of the PEM), if anything.

    ``name`` is what the message calls it. Text that holds no certificate is for others to complain about.
    """
    try:
        parsed = x509.load_pem_x509_certificate(certificate)
    except ValueError:
        return None
    start, end = parsed.not_valid_before_utc, parsed.not_valid_after_utc
    if now < start:
        return f"{name} is valid only from {start:%Y-%m-%d %H:%M} UTC on: set this machine's clock, or wait"
    if now > end:
        return f"{name} expired on {end:%Y-%m-%d %H:%M} UTC: issue a new one"
    if end - now < EXPIRY_NOTICE:
        return f"{name} expires on {end:%Y-%m-%d %H:%M} UTC: issue a new one before that"
    return None


def _sign(
    authority: Credentials,
    common_name: str,
    purpose: x509.ObjectIdentifier,
    names: x509.SubjectAlternativeName | None,
    lifetime: timedelta,
    now: datetime,
) -> Credentials:
    subject = _subject(common_name)
    issuer, signer = load_authority(authority, now)
    key = ec.generate_private_key(ec.SECP256R1())
    # A certificate that outlives its issuer only looks as if it were still good.
    end = min(now + lifetime, issuer.not_valid_after_utc)
    builder = (
        _builder(subject=subject, issuer=issuer.subject, key=key, start=now - BACKDATED, end=end)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        .add_extension(authority_key_identifier(issuer), critical=False)
    )
    if names is not None:
        builder = builder.add_extension(names, critical=False)
    return _credentials(builder.sign(signer, hashes.SHA256()), key)


def load_authority(authority: Credentials, now: datetime) -> tuple[x509.Certificate, _SigningKey]:
    try:
        certificate = x509.load_pem_x509_certificate(authority.certificate)
    except ValueError as error:
        raise PkiError("the authority's certificate is not PEM: make one with tidegate pki init") from error
    try:
        key = serialization.load_pem_private_key(authority.key, password=None)
    except (ValueError, TypeError) as error:  # TypeError: it is encrypted
        raise PkiError(
            "the authority's key is encrypted or not PEM: store it as PEM without a passphrase"
        ) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise PkiError("the authority's key is neither ECDSA nor RSA: make one with tidegate pki init")
    if key.public_key() != certificate.public_key():
        raise PkiError("the authority's key and certificate do not belong together: put the right pair there")
    if not _may_sign(certificate):
        raise PkiError("the authority's certificate may not sign others: put the one of an authority there")
    if now > certificate.not_valid_after_utc:
        raise PkiError(
            f"the authority expired on {certificate.not_valid_after_utc:%Y-%m-%d}: "
            "make a new one with tidegate pki init"
        )
    return certificate, key


def _may_sign(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def authority_key_identifier(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    """As the issuer's own certificate spells it: another program may have computed it in another way."""
    try:
        identifier = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        public_key = issuer.public_key()
        assert isinstance(public_key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey)
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(public_key)
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)


def _subject(common_name: str) -> x509.Name:
    if not 1 <= len(common_name) <= _LONGEST_COMMON_NAME:
        raise PkiError(
            f"the name {quote(common_name)} has {len(common_name)} characters, and in a certificate it has "
            f"1 to {_LONGEST_COMMON_NAME}: choose another"
        )
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _general_name(host: str) -> x509.GeneralName:
    with suppress(ValueError):
        return x509.IPAddress(ip_address(host.removeprefix("[").removesuffix("]")))
    try:
        name = parse_hostname(host)
    except ValueError as error:
        raise PkiError(str(error)) from error
    # A wildcard is the whole first label, and never all of a top-level domain (RFC 6125, section 6.4.3).
    if "*" in name.removeprefix("*.") or (name.startswith("*.") and name.count(".") < 2):
        raise PkiError(f"no client dials {quote(host)}: write a host name, *.example.com, or an IP address")
    return x509.DNSName(name)


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _builder(
    *, subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, start: datetime, end: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _credentials(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Credentials:
    return Credentials(
        certificate=certificate.public_bytes(serialization.Encoding.PEM),
        key=key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
    )
