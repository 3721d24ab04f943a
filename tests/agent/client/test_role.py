"""A whole client: it starts on a valid state only, keeps to its file, and leaves nothing behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.client.role import Client
from agent.gateway.role import Gateway
from agent.keys import key_watch
from schemas.errors import StateError
from schemas.status import LinkPhase
from tests.support.journal import Journal
from tests.support.peers import free_listen, service
from tests.support.roles import CLIENT, Files, running

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("nothing_left_open")]


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


async def test_its_status_tells_of_links_and_services(files: Files, journal: Journal) -> None:
    with service() as web:
        client = Client(files.client(web.target))
        async with running(Gateway(files.gateway(free_listen()))), running(client):
            await journal.wait_for("link_up")
            status = client.status()
            assert (status.name, status.role, status.ready) == (CLIENT, "client", True)
            assert [(link.gateway, link.phase) for link in status.links] == [
                (str(files.control), LinkPhase.CONNECTED)
            ]
            assert [(offered.name, offered.target) for offered in status.services] == [("web", web.target)]


async def test_it_is_not_ready_while_no_gateway_answers(files: Files, journal: Journal) -> None:
    """It runs, keeps trying, and says why it has no session."""
    client = Client(files.client("127.0.0.1:1"))
    async with running(client):
        await journal.wait_for("link_down")
        (link,) = client.status().links
        assert "nothing listens there" in link.message
        assert not client.status().ready


async def test_a_service_that_is_added_is_offered_at_once(files: Files, journal: Journal) -> None:
    """The session lives on; the gateway hears of the new list on it."""
    gateway = Gateway(files.gateway(free_listen()))
    client = Client(files.client("127.0.0.1:1"))
    async with running(gateway), running(client):
        await journal.wait_for("client_connected")
        files.client("127.0.0.1:1", name="other")
        client.reload()
        await journal.wait_for("resource_updated", resource="services")
        assert [service.name for service in client.status().services] == ["other"]
        assert not journal.find("link_down")


async def test_a_pair_that_will_not_do_is_told_and_leaves_the_session_alone(
    files: Files, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_watch, "SETTLING", 0.0)
    key = files.directory / f"pki/{CLIENT}.key"
    good = key.read_bytes()
    client = Client(files.client("127.0.0.1:1"))
    async with running(Gateway(files.gateway(free_listen()))), running(client):
        await journal.wait_for("link_up")
        key.write_bytes((files.directory / "pki/gateway.key").read_bytes())
        client.reload()

        told = await journal.wait_for("keys_refused")

        (warning,) = client.status().warnings
        assert warning == told["reason"]
        assert f"client.tls.key ({key}) is not the key of client.tls.cert" in warning
        assert client.status().ready
        key.write_bytes(good)
        client.reload()
        await journal.wait_for("keys_mended")
        assert client.status().warnings == ()
        assert not journal.find("link_down")


async def test_it_does_not_start_on_a_state_that_is_not_valid(files: Files) -> None:
    path = files.client("nonsense")
    with pytest.raises(StateError, match="nonsense"):
        await Client(path).run()


async def test_it_has_no_clients_and_no_tunnels_to_declare(files: Files) -> None:
    """What a gateway's API answers from, a client does not have."""
    client = Client(files.client("127.0.0.1:1"))
    assert client.client_states() == {}
    assert client.declared is None
