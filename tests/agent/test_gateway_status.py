"""What a gateway says of its tunnels, over time."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.gateway import Gateway
from schemas.status import ConditionType, TunnelStatus
from tests.support.journal import Journal
from tests.support.peers import free_listen
from tests.support.roles import CLIENT, Files, running

pytestmark = pytest.mark.anyio


def _tunnel(gateway: Gateway, name: str) -> TunnelStatus:
    return next(tunnel for tunnel in gateway.status().tunnels if tunnel.name == name)


async def test_a_condition_keeps_its_time_until_it_changes(tmp_path: Path) -> None:
    """Asking again moves nothing: since is when it changed, not when somebody looked."""
    gateway = Gateway(Files(tmp_path).gateway(free_listen()))
    async with running(gateway):
        first = _tunnel(gateway, "t0").conditions
        assert _tunnel(gateway, "t0").conditions == first


async def test_a_tunnel_tells_the_generation_that_declared_it_as_it_is(
    tmp_path: Path, journal: Journal
) -> None:
    """A change elsewhere in the file leaves an unchanged tunnel with its own generation."""
    files = Files(tmp_path)
    kept, added = free_listen(), free_listen()
    gateway = Gateway(files.gateway(kept))
    async with running(gateway):
        files.gateway(kept, added)
        gateway.reload()
        await journal.wait_for("state_in_force", generation=2)
        programmed = [
            _tunnel(gateway, name).condition(ConditionType.PROGRAMMED).observed_generation
            for name in ("t0", "t1")
        ]
        assert programmed == [1, 2]


async def test_a_client_that_never_came_is_told_as_declared_and_away(tmp_path: Path) -> None:
    """The first thing an operator asks: who is not there, and since when."""
    files = Files(tmp_path)
    path = files.gateway(free_listen())
    path.write_text(path.read_text().replace("tunnels:", f"clients:\n  - id: {CLIENT}\ntunnels:"))
    gateway = Gateway(path)
    async with running(gateway):
        (client,) = gateway.status().clients
        assert (client.id, client.declared, client.connected, client.address) == (CLIENT, True, False, None)
        assert client.since <= gateway.status().now
        ready = _tunnel(gateway, "t0").condition(ConditionType.READY)
        assert (ready.status, ready.reason) == (False, "ClientAway")
