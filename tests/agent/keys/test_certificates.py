"""What the certificates say, read back with cryptography."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from agent.keys.certificates import (
    LEAF_LIFETIME,
    Credentials,
    PkiError,
    create_authority,
    expiry_warning,
    sign_client,
    sign_gateway,
)

NOW = datetime(2030, 5, 17, 12, 0, tzinfo=UTC)


def read(credentials: Credentials) -> x509.Certificate:
    return x509.load_pem_x509_certificate(credentials.certificate)


def common_name(credentials: Credentials) -> str:
    (attribute,) = read(credentials).subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(attribute.value)


@pytest.fixture(scope="module")
def authority() -> Credentials:
    return create_authority(name="Test CA", now=NOW)


def test_an_authority_may_sign_leaves_and_no_further_authority(authority: Credentials) -> None:
    extensions = read(authority).extensions

    constraints = extensions.get_extension_for_class(x509.BasicConstraints)
    usage = extensions.get_extension_for_class(x509.KeyUsage)
    assert (constraints.critical, constraints.value.ca, constraints.value.path_length) == (True, True, 0)
    assert (usage.critical, usage.value.key_cert_sign, usage.value.digital_signature) == (True, True, False)
    assert read(authority).subject == read(authority).issuer


def test_a_gateway_may_only_serve_and_a_client_only_dial(authority: Credentials) -> None:
    gateway = read(sign_gateway(authority, name="gw1", hosts=["gw1.example.com"], now=NOW)).extensions
    client = read(sign_client(authority, client_id="homelab", now=NOW)).extensions

    purposes = [list(e.get_extension_for_class(x509.ExtendedKeyUsage).value) for e in (gateway, client)]
    assert purposes == [[ExtendedKeyUsageOID.SERVER_AUTH], [ExtendedKeyUsageOID.CLIENT_AUTH]]
    for extensions in (gateway, client):
        constraints = extensions.get_extension_for_class(x509.BasicConstraints)
        usage = extensions.get_extension_for_class(x509.KeyUsage)
        assert (constraints.critical, constraints.value.ca) == (True, False)
        assert (usage.critical, usage.value.key_cert_sign, usage.value.digital_signature) == (
            True,
            False,
            True,
        )


def test_every_certificate_has_its_own_key_and_serial_number(authority: Credentials) -> None:
    issued = [sign_client(authority, client_id="homelab", now=NOW) for _ in range(3)]

    assert len({read(each).serial_number for each in issued}) == 3
    assert len({each.key for each in issued}) == 3
    for each in issued:
        key = serialization.load_pem_private_key(each.key, password=None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        assert key.curve.name == "secp256r1"
        assert key.public_key() == read(each).public_key()


def test_a_gateway_is_named_by_hosts_and_addresses_each_in_its_own_kind(authority: Credentials) -> None:
    hosts = [
        "GW1.Example.com",
        "192.0.2.1",
        "[2001:db8::1]",
        "*.example.net",
        "bücher.example",
        "gw1.example.com",
    ]

    signed = read(sign_gateway(authority, name="gw1", hosts=hosts, now=NOW))

    names = signed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [
        "gw1.example.com",
        "*.example.net",
        "xn--bcher-kva.example",
    ]
    assert names.get_values_for_type(x509.IPAddress) == [ip_address("192.0.2.1"), ip_address("2001:db8::1")]


@pytest.mark.parametrize(
    "host",
    [
        "*",
        "*.com",
        "gw*.example.com",
        "a.*.example.com",
        "*.*.example.com",
        "gw1:9056",
        "https://gw1",
        "",
        "a b",
    ],
)
def test_what_no_client_can_dial_is_no_host_of_a_gateway(authority: Credentials, host: str) -> None:
    with pytest.raises(PkiError, match="write"):
        sign_gateway(authority, name="gw1", hosts=[host], now=NOW)


def test_a_gateway_without_hosts_is_refused(authority: Credentials) -> None:
    with pytest.raises(PkiError, match=r"for example gw1\.example\.com"):
        sign_gateway(authority, name="gw1", hosts=[], now=NOW)


@pytest.mark.parametrize(("domain", "expected"), [(None, "homelab"), ("Example.com", "homelab@example.com")])
def test_the_common_name_of_a_client_is_its_id_and_domain(
    authority: Credentials, domain: str | None, expected: str
) -> None:
    assert common_name(sign_client(authority, client_id="homelab", domain=domain, now=NOW)) == expected


@pytest.mark.parametrize(
    ("client_id", "domain"),
    [("a@b", None), ("", None), ("../ca", None), ("homelab", "*.com"), ("x" * 65, None)],
)
def test_a_client_id_or_domain_that_no_gateway_would_accept_is_refused(
    authority: Credentials, client_id: str, domain: str | None
) -> None:
    with pytest.raises(PkiError):
        sign_client(authority, client_id=client_id, domain=domain, now=NOW)


def test_a_certificate_is_good_from_a_little_before_now_until_the_end_of_its_lifetime(
    authority: Credentials,
) -> None:
    signed = read(sign_client(authority, client_id="homelab", now=NOW))

    assert NOW - timedelta(hours=1) < signed.not_valid_before_utc < NOW
    assert signed.not_valid_after_utc == NOW + LEAF_LIFETIME


def test_no_certificate_outlives_its_authority() -> None:
    brief = create_authority(name="Brief CA", lifetime=timedelta(days=30), now=NOW)

    assert (
        sign_client(brief, client_id="homelab", now=NOW).expires == brief.expires == NOW + timedelta(days=30)
    )


def test_an_authority_that_has_expired_signs_nothing(authority: Credentials) -> None:
    with pytest.raises(PkiError, match="expired on 2040-05-16: make a new one"):
        sign_client(authority, client_id="homelab", now=NOW + timedelta(days=4000))


def test_a_certificate_that_is_not_an_authoritys_signs_nothing(authority: Credentials) -> None:
    client = sign_client(authority, client_id="homelab", now=NOW)

    with pytest.raises(PkiError, match="may not sign others"):
        sign_client(client, client_id="office", now=NOW)


def test_an_authority_is_refused_if_key_and_certificate_are_not_a_pair_or_no_pem(
    authority: Credentials,
) -> None:
    other = create_authority(name="Other CA", now=NOW)
    encrypted = _encrypted(authority.key)

    for certificate, key, message in [
        (authority.certificate, other.key, "do not belong together"),
        (b"garbage", authority.key, "certificate is not PEM"),
        (authority.certificate, b"garbage", "encrypted or not PEM"),
        (authority.certificate, encrypted, "encrypted or not PEM"),
        (authority.certificate, _ed25519(), "neither ECDSA nor RSA"),
    ]:
        with pytest.raises(PkiError, match=message) as raised:
            sign_client(Credentials(certificate=certificate, key=key), client_id="homelab", now=NOW)
        assert "\n" not in str(raised.value)


def test_an_authority_made_elsewhere_with_rsa_signs_too() -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Corporate CA")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW)
        .not_valid_after(NOW + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    corporate = Credentials(certificate=certificate.public_bytes(serialization.Encoding.PEM), key=_pem(key))

    read(sign_client(corporate, client_id="homelab", now=NOW)).verify_directly_issued_by(certificate)


@pytest.mark.parametrize(
    ("now", "said"),
    [
        (NOW, None),
        (NOW - timedelta(days=1), "the gateway's certificate is valid only from 2030-05-17 11:55 UTC on"),
        (NOW + timedelta(days=810), "the gateway's certificate expires on 2032-08-19 12:00 UTC"),
        (NOW + timedelta(days=826), "the gateway's certificate expired on 2032-08-19 12:00 UTC"),
    ],
)
def test_the_end_of_a_lifetime_is_announced_before_it_comes(
    authority: Credentials, now: datetime, said: str | None
) -> None:
    signed = sign_gateway(authority, name="gw1", hosts=["gw1"], now=NOW)

    warning = expiry_warning(signed.certificate, name="the gateway's certificate", now=now)

    assert warning is None if said is None else (warning or "").startswith(said)


def test_text_without_a_certificate_has_no_lifetime_to_warn_about() -> None:
    assert expiry_warning(b"garbage", name="x", now=NOW) is None


def test_the_repr_of_credentials_shows_no_key(authority: Credentials) -> None:
    assert "PRIVATE" not in repr(authority)


def _pem(key: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _ed25519() -> bytes:
    return _pem(ed25519.Ed25519PrivateKey.generate())


def _encrypted(pem: bytes) -> bytes:
    return serialization.load_pem_private_key(pem, password=None).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"passphrase"),
    )
