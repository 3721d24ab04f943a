"""References become contexts, and what is wrong with one is said with its field and its name."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from agent.keys.certificates import LEAF_LIFETIME, Credentials, create_authority
from agent.keys.credentials import Pem, Tls, gateway_context, link_context, prove, read_pem, renewal
from schemas.errors import TidegateError
from schemas.references import FileRef
from schemas.state import TlsClient, TlsGateway
from tests.support import pki as certificates
from tests.support.roles import CLIENT, Files

NOW = datetime.now(UTC)


@pytest.fixture
def pki(tmp_path: Path) -> Path:
    Files(tmp_path)
    return tmp_path / "pki"


def _file(path: Path) -> FileRef:
    return FileRef(str(path))


def test_a_gateway_demands_a_certificate_of_its_clients(pki: Path) -> None:
    tls = TlsGateway(
        cert=_file(pki / "gateway.crt"), key=_file(pki / "gateway.key"), client_ca=_file(pki / "ca.crt")
    )
    assert gateway_context(tls).verify_mode is ssl.CERT_REQUIRED


def test_a_client_checks_the_name_it_dialed(pki: Path) -> None:
    tls = TlsClient(
        cert=_file(pki / f"{CLIENT}.crt"), key=_file(pki / f"{CLIENT}.key"), ca=_file(pki / "ca.crt")
    )
    context = link_context(tls)
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED


def test_an_error_names_the_file(pki: Path) -> None:
    """A missing file, and a key of another certificate."""
    missing = _file(pki / "nobody.key")
    cert, ca = _file(pki / "gateway.crt"), _file(pki / "ca.crt")
    with pytest.raises(TidegateError, match=r"^gateway\.tls\.key: .*nobody\.key cannot be read"):
        gateway_context(TlsGateway(cert=cert, key=missing, client_ca=ca))
    wrong = _file(pki / f"{CLIENT}.key")
    with pytest.raises(TidegateError, match=rf"{CLIENT}\.key\) is not the key of gateway\.tls\.cert \("):
        gateway_context(TlsGateway(cert=cert, key=wrong, client_ca=ca))


# What may take the place of what is in use

GATEWAY = TlsGateway(cert=FileRef("gateway.crt"), key=FileRef("gateway.key"), client_ca=FileRef("ca.crt"))
HOMELAB = TlsClient(cert=FileRef("home.crt"), key=FileRef("home.key"), ca=FileRef("ca.crt"))


def pem(own: Credentials, *, key: bytes | None = None, ca: bytes | None = None) -> Pem:
    return Pem(
        cert=own.certificate,
        key=own.key if key is None else key,
        ca=certificates.authority().certificate if ca is None else ca,
    )


@pytest.mark.parametrize(
    ("tls", "own"),
    [(GATEWAY, certificates.gateway()), (HOMELAB, certificates.client())],
    ids=["gateway", "client"],
)
def test_a_good_pair_is_proved_and_tells_the_serial_by_which_a_peer_knows_it(
    tls: Tls, own: Credentials
) -> None:
    now = pem(own)
    said = renewal(tls, pem(certificates.client("before")), now, prove(tls, now))

    assert int(said["serial"], 16) == x509.load_pem_x509_certificate(own.certificate).serial_number
    assert said["cert"] in ("gateway.crt", "home.crt")
    role = said["changed"][0].partition(".")[0]
    assert said["changed"] == [f"{role}.tls.cert", f"{role}.tls.key"]  # and not the authority
    assert ssl.cert_time_to_seconds(said["expires"]) > NOW.timestamp()


def test_comments_beside_the_certificate_do_no_harm() -> None:
    own = certificates.gateway()
    commented = Credentials(certificate="Förderung\n".encode() + own.certificate, key=own.key)

    assert prove(GATEWAY, pem(commented))


def test_one_authority_that_is_valid_is_enough_beside_one_that_is_not() -> None:
    gone = create_authority(name="Gone", now=NOW - timedelta(days=9_999))

    assert prove(
        GATEWAY, pem(certificates.gateway(), ca=gone.certificate + certificates.authority().certificate)
    )


@pytest.mark.parametrize(
    ("tls", "text", "words"),
    [
        (
            GATEWAY,
            pem(certificates.gateway(now=NOW - 2 * LEAF_LIFETIME)),
            "gateway.tls.cert (gateway.crt) has expired: issue a new one",
        ),
        (
            GATEWAY,
            pem(certificates.gateway(now=NOW + timedelta(days=2))),
            "gateway.tls.cert (gateway.crt) is not valid yet: set this machine's clock",
        ),
        (GATEWAY, pem(certificates.client()), "gateway.tls.cert (gateway.crt) was made for another purpose"),
        (HOMELAB, pem(certificates.gateway()), "client.tls.cert (home.crt) was made for another purpose"),
        (
            HOMELAB,
            pem(certificates.client(now=NOW - 2 * LEAF_LIFETIME)),
            "client.tls.cert (home.crt) has expired",
        ),
        (
            GATEWAY,
            pem(certificates.gateway(), key=certificates.gateway().key),
            "gateway.tls.key (gateway.key) is not the key of gateway.tls.cert (gateway.crt)",
        ),
        (
            GATEWAY,
            pem(
                certificates.gateway(),
                ca=certificates.authority().certificate * 2 + b"-----BEGIN CERTIFICATE-----",
            ),
            "gateway.tls.client_ca (ca.crt) is cut off",
        ),
        (
            GATEWAY,
            pem(
                certificates.gateway(),
                ca=create_authority(name="Gone", now=NOW - timedelta(days=9_999)).certificate,
            ),
            "gateway.tls.client_ca (ca.crt) holds no authority that is valid now",
        ),
    ],
    ids=["expired", "too-early", "a-clients", "a-gateways", "expired-client", "mismatch", "torn", "old-ca"],
)
def test_what_peers_would_refuse_today_replaces_nothing(tls: Tls, text: Pem, words: str) -> None:
    with pytest.raises(TidegateError) as refused:
        prove(tls, text)
    assert str(refused.value).startswith(words)


def test_what_was_read_shows_no_key() -> None:
    own = certificates.gateway()

    assert "PRIVATE" not in repr(pem(own))


def test_what_files_hold_is_read_as_it_is(pki: Path) -> None:
    tls = TlsGateway(
        cert=_file(pki / "gateway.crt"), key=_file(pki / "gateway.key"), client_ca=_file(pki / "ca.crt")
    )
    assert read_pem(tls).ca == (pki / "ca.crt").read_bytes()
    assert prove(tls, read_pem(tls))
