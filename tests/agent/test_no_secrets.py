"""No line of the log holds a byte of a key, also before anything is redacted."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.client.role import Client
from agent.gateway.role import Gateway
from tests.support.journal import Journal
from tests.support.peers import free_listen, service, visit
from tests.support.roles import CLIENT, Files, running

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("nothing_left_open")]


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def inline(path: Path, key: Path, change: Callable[[str], str] = str) -> Path:
    """Write the key into the state file, instead of its path."""
    pem = change(key.read_text()).strip().replace("\n", "\\n")
    text = path.read_text().replace(f"pki/{key.name}", f'"{pem}"')
    assert "PRIVATE KEY" in text
    path.write_text(text)
    return path


def secrets(files: Files) -> set[str]:
    """Every line of every private key."""
    return {
        line
        for key in (files.directory / "pki").glob("*.key")
        for line in key.read_text().splitlines()
        if not line.startswith("-----")
    }


def said(journal: Journal) -> str:
    return "\n".join(f"{line!r} {line.get('exc_info')}" for line in journal.lines)


async def test_of_a_whole_life_with_keys_in_the_state_files(files: Files, journal: Journal) -> None:
    pki, listen = files.directory / "pki", free_listen()
    with service() as web:
        gateway = Gateway(inline(files.gateway(listen), pki / "gateway.key"))
        client = Client(inline(files.client(web.target), pki / f"{CLIENT}.key"))
        async with running(gateway), running(client):
            await journal.wait_for("link_up")
            async with visit(listen) as visitor:
                await visitor.send(b"x")
                await (await web.accept()).receive_exactly(1)
            statuses = gateway.status().model_dump_json() + client.status().model_dump_json()

    assert journal.find("visitor_left")
    assert not [secret for secret in secrets(files) if secret in said(journal) + statuses]
    assert "PRIVATE KEY" not in said(journal) + statuses


@pytest.mark.parametrize(
    "change",
    [
        lambda pem: pem.replace("PRIVATE KEY", "PRIVATE KEYS"),
        lambda pem: pem[: len(pem) // 2],
        lambda pem: re.sub("[a-z]", "a", pem),
        lambda pem: f"nonsense {pem}",
    ],
    ids=["another label", "half a key", "a damaged key", "something before it"],
)
async def test_of_a_key_that_cannot_be_used(
    change: Callable[[str], str], files: Files, journal: Journal
) -> None:
    pki, listen = files.directory / "pki", free_listen()
    path = files.gateway(listen)
    gateway = Gateway(path)
    async with running(gateway):
        whole = path.read_text()
        inline(path, pki / "gateway.key", change)
        gateway.reload()
        await journal.wait_for_any("resource_failed", "state_refused")
        told = said(journal) + gateway.status().model_dump_json()
        path.write_text(whole)

    assert not [secret for secret in secrets(files) if secret in told]
