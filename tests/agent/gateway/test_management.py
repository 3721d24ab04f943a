"""The management port of a gateway: HTTPS for those with a certificate, and the same socket throughout."""

from __future__ import annotations

import ssl
from pathlib import Path

import anyio
import httpx2
import pytest

from agent.gateway.role import Gateway
from schemas.names import ListenAddress
from tests.support import pki
from tests.support.descriptors import listening_inode
from tests.support.journal import Journal
from tests.support.peers import free_listen, visit
from tests.support.roles import CLIENT, Files, running

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("nothing_left_open")]


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def _context(files: Files) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(files.directory / "pki/ca.crt"))
    context.load_cert_chain(files.directory / f"pki/{CLIENT}.crt", files.directory / f"pki/{CLIENT}.key")
    return context


async def test_a_client_certificate_opens_it(files: Files) -> None:
    management = ListenAddress(files.control.host, free_listen().port)
    gateway = Gateway(files.gateway(free_listen(), more=f'  management: "{management}"\n'))
    async with running(gateway), httpx2.AsyncClient(verify=_context(files), trust_env=False) as visitor:
        answer = await visitor.get(f"https://{management}/ping")
        assert (answer.status_code, answer.text) == (200, "pong")


async def test_a_visitor_without_a_certificate_is_turned_away(files: Files, journal: Journal) -> None:
    management = ListenAddress(files.control.host, free_listen().port)
    gateway = Gateway(files.gateway(free_listen(), more=f'  management: "{management}"\n'))
    async with running(gateway), visit(management) as visitor:
        await visitor.send(b"GET /tunnels HTTP/1.1\r\n\r\n")
        await visitor.receive_until_gone()
        line = await journal.wait_for("api_handshake_failed")
        assert "plain HTTP" in line["reason"]


async def test_other_keys_hold_on_the_same_socket(files: Files, journal: Journal) -> None:
    """What changes in place is what is served; the port is never closed for it."""
    management = ListenAddress(files.control.host, free_listen().port)
    path = files.gateway(free_listen(), more=f'  management: "{management}"\n')
    keys = files.directory / "pki"
    gateway = Gateway(path)
    async with running(gateway):
        before = listening_inode(management)
        for name in ("gateway.crt", "gateway.key"):
            (keys / f"new-{name}").write_bytes((keys / name).read_bytes())
        path.write_text(path.read_text().replace("pki/gateway.", "pki/new-gateway."))
        gateway.reload()
        await journal.wait_for("resource_updated", resource=f"management {management}")
        assert listening_inode(management) == before
        with anyio.fail_after(20):
            async with httpx2.AsyncClient(verify=_context(files), trust_env=False) as visitor:
                assert (await visitor.get(f"https://{management}/ping")).text == "pong"


async def test_another_client_ca_holds_for_who_is_connected_already(
    files: Files, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The open connection is of no more use, and a new one is turned away."""
    monkeypatch.setattr("agent.api.connection.IDLE_PATIENCE", 600)
    management = ListenAddress(files.control.host, free_listen().port)
    gateway = Gateway(files.gateway(free_listen(), more=f'  management: "{management}"\n'))
    context = _context(files)
    async with running(gateway), httpx2.AsyncClient(verify=context, trust_env=False) as visitor:
        before = listening_inode(management)
        assert (await visitor.get(f"https://{management}/clients")).status_code == 200

        (files.directory / "pki/ca.crt").write_bytes(pki.authority("Somebody else").certificate)
        gateway.reload()
        await journal.wait_for("keys_renewed")

        assert (await visitor.get(f"https://{management}/clients")).status_code == 421
        async with httpx2.AsyncClient(verify=context, trust_env=False) as late:
            with pytest.raises(httpx2.TransportError):
                await late.get(f"https://{management}/clients")
        assert journal.find("api_handshake_failed")
        assert listening_inode(management) == before
