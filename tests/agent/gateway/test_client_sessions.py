"""Which sessions a client has beside each other, and which of them serves."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from schemas.messages import MAX_SESSIONS, Drain, Replaced
from schemas.names import ClientId, ServiceName
from tests.support.gateway_parts import (
    GatewayParts,
    HandDriven,
    admission,
    gateway_parts,
    hand_driven,
    route,
)
from tests.support.journal import Journal
from tests.support.peers import until, visit
from transport.wire.frames import GoAwayCode

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("nothing_left_open")]

HOMELAB = ClientId("homelab")


@asynccontextmanager
async def several(parts: GatewayParts, count: int = 3) -> AsyncIterator[Sequence[HandDriven]]:
    """Sessions 1 to ``count`` of one process."""
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(hand_driven(parts.control, instance="a", session=number))
            for number in range(1, count + 1)
        ]


def numbers(parts: GatewayParts) -> list[int]:
    return [client.number for client in parts.sessions.connected().get(HOMELAB, ())]


def chosen(parts: GatewayParts, service: str = "web") -> int | None:
    """The number of the session that would serve a visitor who came now."""
    client = parts.sessions.serving([HOMELAB], ServiceName(service))
    return None if client is None else client.number


# Beside each other, or in place of each other


async def test_sessions_of_one_process_live_beside_each_other() -> None:
    async with gateway_parts() as parts:
        address = await parts.listen(route())
        async with hand_driven(parts.control, instance="a", session=2) as two, visit(address) as visitor:
            offer = await two.join(visitor)
            async with hand_driven(parts.control, instance="a", session=1):
                assert numbers(parts) == [1, 2]
                assert list(parts.sessions.connected()) == [HOMELAB]

                offer.stream.send(b"still here")
                assert await visitor.receive() == b"still here"


async def test_the_same_session_of_the_same_process_replaces_that_one_and_no_other() -> None:
    async with gateway_parts() as parts, several(parts, 2) as (one, two):
        address = await parts.listen(route())
        async with visit(address) as first, visit(address) as second:
            offer, _ = await one.join(first), await two.join(second)

            async with hand_driven(parts.control, instance="a", session=2) as again:
                assert await two.next_message() == Replaced()
                await two.ended()
                await second.wait_reset()
                assert numbers(parts) == [1, 2]
                async with visit(address):
                    await again.next_offer()

                offer.stream.send(b"still here")
                assert await first.receive() == b"still here"


@pytest.mark.parametrize("instance", ["b", ""], ids=["another", "none"])
async def test_a_session_of_another_instance_replaces_all(instance: str) -> None:
    async with (
        gateway_parts() as parts,
        several(parts) as old,
        hand_driven(parts.control, instance=instance, session=7),
    ):
        for session in old:
            assert await session.next_message() == Replaced()
            await session.ended()
        assert numbers(parts) == [7]


async def test_a_client_that_names_no_instance_has_one_session_whatever_its_number() -> None:
    async with (
        gateway_parts() as parts,
        hand_driven(parts.control, session=1) as one,
        hand_driven(parts.control, session=2),
    ):
        await one.ended()
        assert numbers(parts) == [2]


async def test_the_end_of_a_session_that_was_replaced_is_not_that_of_the_newer_one(journal: Journal) -> None:
    async with gateway_parts() as parts, several(parts, 1), several(parts, 1):
        await journal.wait_for("client_disconnected")
        assert numbers(parts) == [1]
        assert chosen(parts) == 1


async def test_a_client_is_there_since_its_process_came(journal: Journal) -> None:
    async with gateway_parts() as parts, hand_driven(parts.control, instance="a"):
        since = parts.sessions.connected()[HOMELAB].since
        async with hand_driven(parts.control, instance="a", session=2):
            async with hand_driven(parts.control, instance="a", session=1):
                await journal.wait_for("client_disconnected", session=1)
            await journal.wait_for("client_disconnected", session=1, count=2)
            assert numbers(parts) == [2]
            assert parts.sessions.connected()[HOMELAB].since == since

            async with hand_driven(parts.control, instance="b"):
                assert parts.sessions.connected()[HOMELAB].since > since


@pytest.mark.parametrize("instance", ["a", "b", ""], ids=["the same", "another", "none"])
async def test_a_session_that_drains_is_not_replaced_and_serves_to_its_end(instance: str) -> None:
    """A process that stops lets its visitors finish, also when its successor is here already."""
    async with gateway_parts() as parts, several(parts, 1) as (old,):
        address = await parts.listen(route())
        async with visit(address) as visitor:
            offer = await old.join(visitor)
            old.session.drain()
            await until(lambda: chosen(parts) is None)
            async with (
                hand_driven(parts.control, instance=instance, session=1) as new,
                visit(address) as next_one,
            ):
                await new.join(next_one)
                assert numbers(parts) == [1, 1]

                offer.stream.send(b"still here")
                assert await visitor.receive() == b"still here"
                old.session.close("it is over")
                await until(lambda: numbers(parts) == [1])
                assert not old.messages


async def test_a_gateway_keeps_no_more_draining_sessions_than_a_client_may_have() -> None:
    async with gateway_parts() as parts, AsyncExitStack() as stack:
        old = []
        for _ in range(MAX_SESSIONS + 2):
            old.append(await stack.enter_async_context(hand_driven(parts.control, instance="a")))
            old[-1].session.drain()
            await until(lambda: chosen(parts) is None)

        assert await old[0].next_message() == Replaced()
        await old[0].ended()
        assert len(numbers(parts)) == MAX_SESSIONS + 1


async def test_a_client_that_is_no_longer_taken_loses_the_sessions_that_drain_too() -> None:
    async with gateway_parts() as parts, several(parts, 1) as (old,):
        old.session.drain()
        await until(lambda: chosen(parts) is None)
        async with hand_driven(parts.control, instance="a", session=1) as new:
            await parts.put(admission("office"))

            for session in (old, new):
                assert "does not list the client" in await session.ended()
        await until(lambda: numbers(parts) == [])


# Who serves


async def test_visitors_are_spread_evenly() -> None:
    async with gateway_parts() as parts, several(parts) as sessions, AsyncExitStack() as visitors:
        address = await parts.listen(route())
        for _ in range(6):
            await visitors.enter_async_context(visit(address))
        await until(lambda: [len(session.offers) for session in sessions] == [2, 2, 2])


async def test_a_visitor_goes_to_the_session_with_the_fewest_streams() -> None:
    async with gateway_parts() as parts, several(parts, 1) as (one,):
        address = await parts.listen(route())
        async with visit(address) as first, visit(address) as second:
            offers = [await one.join(first), await one.join(second)]
            async with hand_driven(parts.control, instance="a", session=2):
                assert [chosen(parts), chosen(parts)] == [2, 2]

                for offer in offers:
                    offer.stream.reset()
                await first.wait_reset()
                await second.wait_reset()
                assert {chosen(parts), chosen(parts)} == {1, 2}


async def test_sessions_with_as_many_streams_serve_in_turn() -> None:
    """The first of them would otherwise carry every visitor who leaves before the next one comes."""
    async with gateway_parts() as parts, several(parts):
        turns = [chosen(parts) for _ in range(6)]

        assert set(turns[:3]) == {1, 2, 3}
        assert turns[:3] == turns[3:]


async def test_a_session_that_drains_or_can_open_no_more_streams_leaves_the_visitors_to_the_others() -> None:
    async with gateway_parts() as parts, several(parts) as (one, two, three):
        address = await parts.listen(route())
        async with visit(address) as visitor:
            await until(lambda: any(session.offers for session in (one, two, three)))
            (busy,) = (session for session in (one, two, three) if session.offers)
            offer = await busy.join(visitor)

            one.session.tell(Drain())
            two.session.link.mux.go_away(GoAwayCode.NORMAL)
            await until(lambda: [chosen(parts) for _ in range(3)] == [3, 3, 3])
            three.session.link.mux.go_away(GoAwayCode.NORMAL)
            await until(lambda: chosen(parts) is None)

            assert numbers(parts) == [1, 2, 3]
            offer.stream.send(b"still here")
            assert await visitor.receive() == b"still here"


async def test_a_session_serves_what_it_offers_itself() -> None:
    """While a change of the services is on its way, the sessions differ."""
    async with (
        gateway_parts() as parts,
        hand_driven(parts.control, instance="a", session=1, services=["web", "smtp"]),
        hand_driven(parts.control, instance="a", session=2, services=["web"]),
    ):
        assert parts.sessions.connected()[HOMELAB].services == {"web", "smtp"}
        assert [chosen(parts, "smtp") for _ in range(3)] == [1, 1, 1]
        assert {chosen(parts, "web") for _ in range(2)} == {1, 2}
        assert chosen(parts, "ssh") is None
