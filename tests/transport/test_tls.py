"""Contexts proven by handshakes in memory, and the names that certificates stand for."""

from __future__ import annotations

import ssl
import sys
import tempfile
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import PrivateFormat as Form
from hypothesis import given
from hypothesis import strategies as st

from agent.keys.certificates import Credentials, create_authority, sign_client
from schemas.names import check_client_id
from tests.support import pki
from tests.support.handshake import shake_hands
from transport import tls
from transport.tls import (
    ALPN,
    IdentityError,
    PeerName,
    PemNames,
    TlsError,
    check_alpn,
    client_context,
    client_id_from,
    is_fresh,
    outer_client_context,
    outer_server_context,
    peer_identity,
    server_context,
)

CA = pki.authority().certificate
NAMES = PemNames(cert="pki/gateway.crt", key="$GATEWAY_KEY", ca="pki/ca.crt")


def server(
    credentials: Credentials | None = None, *, ca: bytes = CA, alpn: tuple[str, ...] = (ALPN,)
) -> ssl.SSLContext:
    credentials = credentials or pki.gateway()
    return server_context(cert=credentials.certificate, key=credentials.key, ca=ca, alpn=alpn)


def client(
    credentials: Credentials | None = None, *, ca: bytes = CA, alpn: tuple[str, ...] = (ALPN,)
) -> ssl.SSLContext:
    credentials = credentials or pki.client()
    return client_context(cert=credentials.certificate, key=credentials.key, ca=ca, alpn=alpn)


def test_two_sides_that_trust_the_same_authority_agree_on_tls_1_3_and_the_protocol() -> None:
    result = shake_hands(client(), server())

    assert (result.client.error, result.server.error) == (None, None)
    for end in (result.client, result.server):
        assert (end.tls.version(), end.tls.selected_alpn_protocol()) == ("TLSv1.3", ALPN)
        assert end.tls.compression() is None


def test_the_gateway_learns_the_clients_name_from_its_certificate() -> None:
    result = shake_hands(client(pki.client("homelab", domain="example.com")), server())

    certificate = result.server.tls.getpeercert()

    assert certificate is not None
    assert peer_identity(certificate) == "homelab@example.com"
    assert client_id_from(peer_identity(certificate), "example.com") == "homelab"


@pytest.mark.parametrize("dialed", ["localhost", "127.0.0.1", "::1"])
def test_a_gateway_may_be_dialed_by_any_name_in_its_certificate(dialed: str) -> None:
    assert shake_hands(client(), server(), dialed=dialed).client.error is None


def test_tls_1_2_is_taken_where_a_peer_has_no_better_and_1_1_never() -> None:
    older = client()
    older.maximum_version = ssl.TLSVersion.TLSv1_2

    assert shake_hands(older, server()).client.tls.version() == "TLSv1.2"
    assert server().minimum_version == client().minimum_version == ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_no_peer_is_given_a_ticket_for_its_session(version: ssl.TLSVersion) -> None:
    dialing, listening = client(), server()
    dialing.maximum_version = version

    result = shake_hands(dialing, listening)

    session = result.client.tls.session
    assert session is None or not session.has_ticket
    assert is_fresh(result.client.tls)
    if version is ssl.TLSVersion.TLSv1_3:
        assert result.transcript[-2:] == [b"", b""], "the server is silent after the handshake"


def test_a_session_that_openssl_remembers_all_the_same_is_told_from_a_new_one() -> None:
    dialing, listening = client(), server()
    dialing.maximum_version = ssl.TLSVersion.TLSv1_2
    before = shake_hands(dialing, listening)  # as long as its connection is there, it is remembered

    again = shake_hands(dialing, listening, session=before.client.tls.session)

    assert again.client.error is None
    assert not is_fresh(again.client.tls)
    assert not is_fresh(again.server.tls)


def test_the_management_api_gets_a_context_with_its_own_protocol() -> None:
    result = shake_hands(client(alpn=("h2", "http/1.1")), server(alpn=("http/1.1",)))

    assert result.server.tls.selected_alpn_protocol() == "http/1.1"


def test_a_peer_that_speaks_another_protocol_is_told_apart_after_the_handshake() -> None:
    result = shake_hands(client(alpn=("http/1.1",)), server())

    assert result.server.error is None
    with pytest.raises(TlsError, match=r"speaks no protocol known here and not tidegate/1"):
        check_alpn(result.server.tls.selected_alpn_protocol())
    with pytest.raises(TlsError, match=r"speaks http/1\.1"):
        check_alpn("http/1.1")
    check_alpn(ALPN)


def test_a_bundle_may_hold_several_authorities_and_words_between_them() -> None:
    other = create_authority(name="Other CA")
    bundle = b"# die \xc3\xa4ltere\n" + other.certificate + b"# ours\r\n" + CA

    assert shake_hands(client(ca=bundle), server(ca=bundle)).server.error is None
    assert shake_hands(client(sign_client(other, client_id="x")), server(ca=bundle)).server.error is None


def test_the_key_of_a_certificate_file_that_holds_one_too_is_not_mistaken_for_the_key() -> None:
    gateway, other = pki.gateway(), pki.gateway()
    both = other.key + gateway.certificate

    context = server_context(cert=both, key=gateway.key, ca=CA)

    assert shake_hands(client(), context).client.error is None


def encrypted(pem: bytes, form: Form) -> bytes:
    key = serialization.load_pem_private_key(pem, password=None)
    return key.private_bytes(
        serialization.Encoding.PEM, form, serialization.BestAvailableEncryption(b"secret")
    )


GATEWAY = pki.gateway()
DAMAGED = GATEWAY.certificate[:200] + b"AAAA" + GATEWAY.certificate[204:]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"cert": b""}, "pki/gateway.crt is empty: put the certificate there, in PEM form"),
        ({"key": b" \n"}, "$GATEWAY_KEY is empty: put the private key there, in PEM form"),
        ({"ca": b""}, "pki/ca.crt is empty: put the certificate there, in PEM form"),
        ({"cert": b"\x30\x82"}, "pki/gateway.crt holds no certificate in PEM form"),
        ({"key": b"\x30\x82"}, "$GATEWAY_KEY holds no private key in PEM form"),
        (
            {"cert": GATEWAY.key},
            "pki/gateway.crt holds a private key and no certificate: are the",
        ),
        (
            {"key": GATEWAY.certificate},
            "$GATEWAY_KEY holds a certificate and no private key: are the",
        ),
        ({"key": pki.client().key}, "$GATEWAY_KEY is not the key of pki/gateway.crt"),
        ({"key": encrypted(GATEWAY.key, Form.PKCS8)}, "$GATEWAY_KEY is encrypted"),
        (
            {"key": encrypted(GATEWAY.key, Form.TraditionalOpenSSL)},
            "$GATEWAY_KEY is encrypted",
        ),
        ({"key": GATEWAY.key.replace(b"M", b"A", 1)}, "$GATEWAY_KEY is damaged"),
        ({"cert": DAMAGED}, "pki/gateway.crt is damaged"),
        ({"ca": DAMAGED}, "pki/ca.crt is damaged"),
        ({"ca": GATEWAY.certificate}, "pki/ca.crt is not the certificate of an authority"),
    ],
)
def test_a_text_that_cannot_be_used_is_named_and_never_shown(changed: dict[str, bytes], message: str) -> None:
    texts = {"cert": GATEWAY.certificate, "key": GATEWAY.key, "ca": CA} | changed

    for make in (server_context, client_context):
        with pytest.raises(TlsError) as raised:
            make(cert=texts["cert"], key=texts["key"], ca=texts["ca"], names=NAMES)

        assert str(raised.value).startswith(message)
        assert "\n" not in str(raised.value)
        assert "-----BEGIN PRIVATE" not in str(raised.value)


def test_without_files_in_memory_keys_go_through_a_private_file_that_is_gone_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls, "_OPEN_FILES", "/nowhere")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    seen: list[int] = []
    load = ssl.SSLContext.load_cert_chain

    def spy(self: ssl.SSLContext, certfile: str, keyfile: str, password: object) -> None:
        seen.extend(Path(file).stat().st_mode & 0o777 for file in (certfile, keyfile))
        load(self, certfile, keyfile)

    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", spy)
    assert shake_hands(client(), server()).server.error is None
    assert seen == [0o600] * 4
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="files in memory are Linux's")
def test_on_linux_a_key_never_lies_on_a_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))

    server()


def subject(*common_names: str) -> dict[str, object]:
    names = tuple((("commonName", name),) for name in common_names)
    return {"subject": ((("organizationName", "Example"),), *names)}


def test_a_certificate_with_one_common_name_names_its_owner() -> None:
    assert peer_identity(subject("homelab")) == PeerName("homelab")


@pytest.mark.parametrize("certificate", [{}, subject(), subject(""), subject("homelab", "office")])
def test_a_certificate_without_one_common_name_names_nobody(certificate: dict[str, object]) -> None:
    with pytest.raises(IdentityError, match="common name"):
        peer_identity(certificate)


@pytest.mark.parametrize(
    ("common_name", "domain", "client_id"),
    [
        ("homelab", None, "homelab"),
        ("homelab@example.com", "example.com", "homelab"),
        ("homelab@EXAMPLE.com", "example.com", "homelab"),
        ("Home.Lab-1", None, "Home.Lab-1"),
    ],
)
def test_a_common_name_stands_for_a_client(common_name: str, domain: str | None, client_id: str) -> None:
    assert client_id_from(common_name, domain) == client_id


@pytest.mark.parametrize(
    ("common_name", "domain", "advice"),
    [
        ("homelab", "example.com", r"wants <id>@example\.com: issue one with tidegate pki client --domain"),
        ("homelab@example.org", "example.com", r"wants <id>@example\.com"),
        ("homelab@example.com.evil.org", "example.com", r"wants <id>@example\.com"),
        ("homelab@sub@example.com", "example.com", r"wants <id>@example\.com"),
        ("homelab@example.com", None, "sets no domain: write the domain into the gateway's state file"),
        ("@example.com", "example.com", "names no client"),
        ("", None, "names no client"),
        ("home lab", None, "names no client"),
        ("homelab\x00", None, "names no client"),
        ("../../etc", None, "names no client"),
    ],
)
def test_a_common_name_that_stands_for_no_client_says_what_to_do(
    common_name: str, domain: str | None, advice: str
) -> None:
    with pytest.raises(IdentityError, match=advice) as raised:
        client_id_from(common_name, domain)

    assert str(raised.value).isprintable()


@given(common_name=st.text(), domain=st.sampled_from([None, "example.com"]))
def test_any_common_name_is_a_valid_id_or_an_identity_error(common_name: str, domain: str | None) -> None:
    try:
        client_id = client_id_from(common_name, domain)
    except IdentityError:
        return
    assert check_client_id(client_id) == client_id
    assert common_name.startswith(client_id)


# TLS around a WebSocket


def outer_server(credentials: Credentials | None = None) -> ssl.SSLContext:
    credentials = credentials or pki.gateway()
    return outer_server_context(cert=credentials.certificate, key=credentials.key)


def test_a_gateway_as_a_web_server_asks_nobody_for_a_certificate_and_speaks_http_1() -> None:
    browser = ssl.create_default_context(cadata=CA.decode())
    browser.set_alpn_protocols(["h2", "http/1.1"])

    result = shake_hands(browser, outer_server())

    assert (result.client.error, result.server.error) == (None, None)
    assert result.client.tls.selected_alpn_protocol() == "http/1.1"
    assert result.server.tls.getpeercert() is None


def test_a_client_takes_a_web_server_with_a_certificate_of_its_own_authority() -> None:
    """Or of one that this system trusts, which no test can have."""
    context = outer_client_context(ca=CA)

    result = shake_hands(context, outer_server())

    assert (result.client.error, result.server.error) == (None, None)
    assert context.check_hostname
    assert len(context.get_ca_certs()) >= 1


def test_a_client_takes_no_web_server_of_an_authority_that_nobody_trusts() -> None:
    theirs = pki.gateway(signed_by=pki.authority("Somebody else"))

    result = shake_hands(outer_client_context(ca=CA), outer_server(theirs))

    assert isinstance(result.client.error, ssl.SSLCertVerificationError)


def test_a_native_client_does_not_take_a_web_server_for_its_gateway() -> None:
    """It shows its certificate to nobody who does not agree to speak the protocol."""
    result = shake_hands(client(), outer_server())

    with pytest.raises(TlsError):
        check_alpn(result.client.tls.selected_alpn_protocol())
