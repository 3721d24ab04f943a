"""For whom authorities vouch."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from agent.gateway.vouching import Authorities
from agent.keys.certificates import Credentials, create_authority
from tests.support import pki

NOW = datetime.now(UTC)


def der(credentials: Credentials) -> bytes:
    return ssl.PEM_cert_to_DER_cert(credentials.certificate.decode())


def intermediate(name: str, signed_by: Credentials, *, is_authority: bool = True) -> Credentials:
    """An authority below another. Tidegate makes none, but whoever has one may use it."""
    issuer = x509.load_pem_x509_certificate(signed_by.certificate)
    signer = serialization.load_pem_private_key(signed_by.key, password=None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(signer, hashes.SHA256())
    )
    return Credentials(
        certificate=certificate.public_bytes(serialization.Encoding.PEM),
        key=key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
    )


def vouch(authorities: bytes, *chain: bytes, now: datetime | None = None) -> bool:
    return Authorities(authorities, now=now or datetime.now(UTC)).vouch_for(chain)


def test_an_authority_vouches_for_what_it_signed_and_for_nothing_else() -> None:
    ours, theirs = pki.authority(), pki.authority("Somebody else")

    assert vouch(ours.certificate, der(pki.client()))
    assert not vouch(theirs.certificate, der(pki.client()))
    assert vouch(theirs.certificate + b"\n" + ours.certificate, der(pki.client()))


def test_another_authority_of_the_same_name_does_not_vouch() -> None:
    impostor = create_authority(name="Test authority")

    assert not vouch(impostor.certificate, der(pki.client()))


def test_an_authority_that_has_expired_vouches_for_nobody() -> None:
    assert not vouch(pki.authority().certificate, der(pki.client()), now=NOW + timedelta(days=9_999))


def test_it_vouches_for_what_an_authority_below_it_signed_if_that_one_was_sent_along() -> None:
    root = pki.authority()
    below = intermediate("below", root)
    own = intermediate("homelab", below, is_authority=False)

    assert vouch(root.certificate, der(own), der(below))
    assert vouch(below.certificate, der(own))  # the root need not be in the file
    assert not vouch(root.certificate, der(own))
    assert not vouch(pki.authority("Somebody else").certificate, der(own), der(below))


def test_what_a_client_signed_counts_for_nothing() -> None:
    root = pki.authority()
    client = intermediate("evil", root, is_authority=False)
    forged = intermediate("homelab", client, is_authority=False)

    assert not vouch(root.certificate, der(forged), der(client))


def test_a_certificate_that_is_trusted_itself_is_vouched_for() -> None:
    own = pki.client()

    assert vouch(own.certificate, der(own))


def test_authorities_that_signed_each_other_end_somewhere() -> None:
    root = pki.authority("Somebody else")
    chain = [der(pki.client()), *[der(root)] * 100]

    assert not vouch(create_authority(name="x").certificate, *chain)


@pytest.mark.parametrize("chain", [[], [b""], [b"garbage"]], ids=["nothing", "empty", "garbage"])
def test_nobody_vouches_for_what_cannot_be_read(chain: list[bytes]) -> None:
    assert not vouch(pki.authority().certificate, *chain)


@pytest.mark.parametrize(
    "damage", [b"", b"garbage", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"]
)
def test_a_damaged_certificate_in_the_file_takes_nothing_from_the_others(damage: bytes) -> None:
    assert vouch(damage + b"\n" + pki.authority().certificate, der(pki.client()))
