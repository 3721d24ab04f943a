"""References become contexts, and what is wrong with one is said with its name."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from agent.credentials import gateway_context, link_context
from schemas.errors import TidegateError
from schemas.references import FileRef
from schemas.state import TlsClient, TlsGateway
from tests.support.roles import CLIENT, Files


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
    with pytest.raises(TidegateError, match=r"nobody\.key"):
        gateway_context(TlsGateway(cert=cert, key=missing, client_ca=ca))
    wrong = _file(pki / f"{CLIENT}.key")
    with pytest.raises(TidegateError, match=rf"{CLIENT}\.key is not the key of .*gateway\.crt"):
        gateway_context(TlsGateway(cert=cert, key=wrong, client_ca=ca))
