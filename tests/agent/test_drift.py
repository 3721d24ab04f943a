"""A port that is lost though nobody changed anything: it is opened again, and that is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.events import EventKind
from agent.gateway.listeners import PublicListener
from agent.gateway.role import Gateway
from reconcile.desired import listener_key
from schemas.names import ListenAddress
from schemas.status import ConditionType
from tests.support.journal import Journal
from tests.support.peers import free_listen, until, visit
from tests.support.roles import Files, running

pytestmark = pytest.mark.anyio


async def lose(gateway: Gateway, address: ListenAddress) -> None:
    """Close the port behind the back of whoever keeps the books."""
    resource = gateway._actuator._lives[listener_key(address)].resource
    assert isinstance(resource, PublicListener)
    assert resource.is_alive
    await resource._server.close()
    assert not resource.is_alive


async def test_a_port_that_was_lost_is_back_and_the_log_and_the_events_say_so(
    tmp_path: Path, journal: Journal
) -> None:
    files = Files(tmp_path)
    listen = free_listen()
    gateway = Gateway(files.gateway(listen))
    async with running(gateway):
        with gateway.events.reading("test") as reader:
            await lose(gateway, listen)
            gateway.reload()  # as the slow timer does it

            line = await journal.wait_for("drift_healed", resource=f"listener {listen}")
            await journal.wait_for("resource_opened", resource=f"listener {listen}", count=2)

            assert line["reason"] == "it was lost though the state did not change"
            # Whoever looks at the tunnel meanwhile sees that its port is gone.
            told = [event.kind for event in await reader.next() if event.kind is not EventKind.TUNNEL_CHANGED]
            assert told[:2] == [EventKind.DRIFT_HEALED, EventKind.RESOURCE_OPENED]
        async with visit(listen):
            pass
        assert gateway.status().source.generation == 1
        await until(lambda: gateway.status().tunnels[0].condition(ConditionType.PROGRAMMED).status)
    assert not journal.find("state_accepted", generation=2)
