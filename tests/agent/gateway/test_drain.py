"""A gateway that is told to stop: its ports close, its visitors finish, and then it ends."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from schemas.messages import Drain, RefusalCode
from schemas.names import ClientId, ServiceName
from schemas.status import ConditionType, Life, LinkPhase
from tests.support.draining import place
from tests.support.gateway_parts import gateway_parts, hand_driven
from tests.support.journal import Journal
from tests.support.peers import until, visit
from tests.support.roles import CLIENT, Files
from transport.session import SessionRefusedError

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("nothing_left_open")]


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


async def test_visitors_who_are_there_finish_and_nobody_else_is_let_in(
    files: Files, journal: Journal
) -> None:
    async with place(files, journal) as here:
        async with here.visitor() as (visitor, answering):
            here.gateway.lifetime.ask_to_stop()
            await journal.wait_for("drain_began", open=1)

            for address in (here.listen, files.control):
                with pytest.raises(ConnectionRefusedError):
                    socket.create_connection((address.host, address.port))
            await answering.send(b"answer")
            answering.end()
            visitor.end()
            assert await visitor.receive_all() == b"answer"

        await until(lambda: here.ended == ["Gateway"])
        assert journal.find("drain_ended", dropped=0)
        assert journal.find("visitor_left")[0]["end"] == "done"


async def test_a_gateway_that_drains_says_so_in_its_status(files: Files, journal: Journal) -> None:
    async with place(files, journal) as here:
        assert here.gateway.status().life is Life.RUNNING
        await until(lambda: here.gateway.summary() == "1 tunnel, 1 ready, 1 client")
        async with here.visitor():
            here.gateway.lifetime.ask_to_stop()
            await journal.wait_for("drain_began")

            status = here.gateway.status()
            assert (status.life, status.ready) == (Life.DRAINING, False)
            ready = status.tunnels[0].condition(ConditionType.READY)
            assert (ready.status, ready.reason) == (False, "Draining")
            assert here.gateway.summary() == "Draining: 1 connection open"


async def test_a_client_shows_that_its_gateway_drains(files: Files, journal: Journal) -> None:
    async with place(files, journal) as here:
        async with here.visitor() as (visitor, answering):
            here.gateway.lifetime.ask_to_stop()
            await journal.wait_for("gateway_drains")

            (link,) = here.client.status().links
            assert (link.phase, link.message) == (
                LinkPhase.DRAINING,
                "the gateway is stopping; visitors who are there may finish",
            )
            assert not here.client.status().ready
            answering.end()
            visitor.end()
        line = await journal.wait_for("link_down")
        assert line["reason"] == "the gateway stopped, as it had announced"


async def test_a_gateway_without_visitors_ends_at_once(files: Files, journal: Journal) -> None:
    async with place(files, journal) as here:
        here.gateway.lifetime.ask_to_stop()

        await until(lambda: here.ended == ["Gateway"])
        assert here.gateway.lifetime.life is Life.STOPPED


async def test_who_does_not_finish_is_dropped_at_the_limit(files: Files, journal: Journal) -> None:
    async with place(files, journal, limit="0s") as here, here.visitor() as (visitor, answering):
        here.gateway.lifetime.ask_to_stop()

        await visitor.wait_reset()
        await answering.wait_reset()
        await until(lambda: here.ended == ["Gateway"])
        assert journal.find("drain_ended", dropped=1)


async def test_the_limit_is_the_one_that_the_state_says_now(files: Files, journal: Journal) -> None:
    async with place(files, journal) as here, here.visitor() as (visitor, _):
        path = files.directory / "gateway.yaml"
        path.write_text(path.read_text().replace("drain: 600s", "drain: 0s"))
        here.gateway.reload()
        await journal.wait_for("state_in_force", generation=2)

        here.gateway.lifetime.ask_to_stop()

        await visitor.wait_reset()


async def test_nothing_that_the_drain_has_closed_is_opened_again(files: Files, journal: Journal) -> None:
    async with place(files, journal) as here, here.visitor():
        here.gateway.lifetime.ask_to_stop()
        await journal.wait_for("drain_began")

        path = files.directory / "gateway.yaml"
        path.write_text(path.read_text().replace("drain: 600s", "drain: 500s"))
        here.gateway.reload()
        await until(lambda: bool(here.gateway.status()))

        assert not [seen for seen in here.gateway.status().resources if seen.kind in ("listener", "control")]
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((here.listen.host, here.listen.port))


async def test_a_visitor_who_was_accepted_and_not_yet_led_anywhere_is_served(
    files: Files, journal: Journal
) -> None:
    async with place(files, journal) as here:
        path = files.directory / "gateway.yaml"
        path.write_text(path.read_text().replace("service: web", "service: web, hostname: a.example"))
        here.gateway.reload()
        await journal.wait_for("state_in_force", generation=2)
        async with visit(here.listen) as visitor:
            await visitor.send(b"GET / HTTP/1.1\r\n")
            await until(lambda: here.gateway._listeners.open == 1)
            here.gateway.lifetime.ask_to_stop()
            await journal.wait_for("drain_began")

            await visitor.send(b"Host: a.example\r\n\r\n")

            answering = await here.web.accept()
            assert (await answering.receive()).startswith(b"GET / HTTP/1.1\r\nHost")
            await answering.send(b"HTTP/1.0 204 None\r\n\r\n")
            answering.end()
            visitor.end()
            assert (await visitor.receive_all()).startswith(b"HTTP/1.0 204")
        await until(lambda: here.ended == ["Gateway"])


async def test_a_session_that_breaks_while_the_gateway_drains_ends_the_drain(
    files: Files, journal: Journal
) -> None:
    async with place(files, journal) as here, here.visitor() as (visitor, _):
        here.gateway.lifetime.ask_to_stop()
        await journal.wait_for("drain_began")
        (client,) = here.gateway._sessions.connected()[ClientId(CLIENT)]

        client.session.link.abort()

        await visitor.wait_reset()
        await until(lambda: here.ended == ["Gateway"])


async def test_sessions_that_come_while_a_gateway_drains_are_told_to_come_again() -> None:
    async with gateway_parts() as parts, hand_driven(parts.control) as before:
        parts.sessions.drain()
        assert await before.next_message() == Drain()

        with pytest.raises(SessionRefusedError, match="the gateway is stopping") as caught:
            async with hand_driven(parts.control):
                pass

        assert caught.value.code is RefusalCode.GOING_AWAY
        assert parts.sessions.serving([ClientId(CLIENT)], ServiceName("web")) is not None
