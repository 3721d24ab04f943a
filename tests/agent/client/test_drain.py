"""A client that is told to stop: its gateways bring nobody more, its visitors finish, and then it ends."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.client.role import Client
from schemas.names import ClientId, ServiceName
from schemas.status import ConditionType, Life, LinkPhase
from tests.support.draining import place
from tests.support.journal import Journal
from tests.support.peers import until, visit
from tests.support.roles import CLIENT, Files

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("nothing_left_open")]


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


async def test_visitors_who_are_there_finish_and_others_are_told_that_it_is_away(
    files: Files, journal: Journal
) -> None:
    async with place(files, journal) as here:
        async with here.visitor() as (visitor, answering):
            here.client.lifetime.ask_to_stop()
            await journal.wait_for("drain_began")
            sessions = here.gateway._sessions
            await until(lambda: sessions.serving([ClientId(CLIENT)], ServiceName("web")) is None)

            async with visit(here.listen) as late:
                assert await late.receive_all() == b""
            await answering.send(b"answer")
            answering.end()
            visitor.end()
            assert await visitor.receive_all() == b"answer"

        await until(lambda: here.ended == ["Client"])
        assert journal.find("drain_ended", dropped=0)
        assert "no client" in journal.find("visitor_refused")[0]["reason"]
        assert not journal.find("link_down")


async def test_both_sides_say_that_the_client_drains(files: Files, journal: Journal) -> None:
    async with place(files, journal) as here:
        await until(lambda: here.client.summary() == "1 session, 1 connected")
        async with here.visitor():
            here.client.lifetime.ask_to_stop()
            await until(lambda: here.gateway.status().clients[0].draining)

            status = here.client.status()
            assert (status.life, status.ready) == (Life.DRAINING, False)
            assert [link.phase for link in status.links] == [LinkPhase.DRAINING]
            assert here.client.summary() == "Draining: 1 connection open"
            (seen,) = here.gateway.status().clients
            assert (seen.connected, seen.draining) == (True, True)
            ready = here.gateway.status().tunnels[0].condition(ConditionType.READY)
            assert (ready.status, ready.reason) == (False, "ClientAway")


async def test_a_client_without_visitors_ends_at_once(files: Files, journal: Journal) -> None:
    async with place(files, journal) as here:
        here.client.lifetime.ask_to_stop()

        await until(lambda: here.ended == ["Client"])
        await journal.wait_for("client_disconnected")


async def test_who_does_not_finish_is_dropped_at_the_limit(files: Files, journal: Journal) -> None:
    async with place(files, journal, limit="0s") as here, here.visitor() as (visitor, answering):
        here.client.lifetime.ask_to_stop()

        await visitor.wait_reset()
        await answering.wait_reset()
        await until(lambda: here.ended == ["Client"])


async def test_a_client_without_a_session_has_nothing_to_wait_for(files: Files, journal: Journal) -> None:
    async with place(files, journal) as here:
        here.gateway.lifetime.ask_to_stop()
        await until(lambda: here.ended == ["Gateway"])
        await journal.wait_for("link_down")

        here.client.lifetime.ask_to_stop()

        await until(lambda: here.ended == ["Gateway", "Client"])


async def test_a_gateway_and_a_client_that_stop_together_let_their_visitors_finish(
    files: Files, journal: Journal
) -> None:
    async with place(files, journal) as here:
        async with here.visitor() as (visitor, answering):
            here.gateway.lifetime.ask_to_stop()
            here.client.lifetime.ask_to_stop()
            await journal.wait_for("drain_began", count=2)

            await answering.send(b"answer")
            answering.end()
            visitor.end()

            assert await visitor.receive_all() == b"answer"
        await until(lambda: sorted(here.ended) == ["Client", "Gateway"])


async def test_a_client_that_is_told_to_stop_before_it_has_a_state_ends(
    files: Files, journal: Journal
) -> None:
    client = Client(files.client("127.0.0.1:1"))
    client.lifetime.ask_to_stop()

    await client.run()

    assert journal.find("client_stopped")
    assert client.lifetime.life is Life.STOPPED
