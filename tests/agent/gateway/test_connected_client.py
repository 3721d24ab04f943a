"""What a client says on a session, and whether that session can serve."""

from __future__ import annotations

import pytest

from schemas.messages import Drain, FailureCode, Services, StreamFailed
from schemas.names import ClientId, ServiceName
from tests.support.gateway_parts import GatewayParts, gateway_parts, hand_driven, route
from tests.support.peers import until, visit

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("nothing_left_open")]

HOMELAB = ClientId("homelab")


def serving(parts: GatewayParts, *clients: str) -> str | None:
    client = parts.sessions.serving([ClientId(client) for client in clients], ServiceName("web"))
    return None if client is None else client.id


async def test_a_client_is_known_by_what_it_said_and_where_it_comes_from() -> None:
    async with (
        gateway_parts() as parts,
        hand_driven(parts.control, services=["web", "smtp"], instance="5e1f", session=3) as homelab,
    ):
        (client,) = parts.sessions.connected()[HOMELAB]

        assert client.services == {"web", "smtp"}
        assert client.software == "test/1"
        assert (client.instance, client.number) == ("5e1f", 3)
        address = "{}:{}".format(*homelab.session.link._transport.get_extra_info("sockname"))
        assert client.address == address


async def test_a_client_that_changes_its_services_serves_what_it_offers_now() -> None:
    async with (
        gateway_parts() as parts,
        hand_driven(parts.control) as homelab,
        hand_driven(parts.control, "office"),
    ):
        changes = parts.changes

        homelab.session.tell(Services(services=("smtp",)))
        await until(lambda: parts.changes > changes)
        assert serving(parts, "homelab", "office") == "office"

        homelab.session.tell(Services(services=("smtp", "web")))
        await until(lambda: parts.changes > changes + 1)
        assert serving(parts, "homelab", "office") == "homelab"


async def test_a_client_that_drains_gets_no_more_visitors_and_keeps_those_it_has() -> None:
    async with gateway_parts() as parts:
        address = await parts.listen(route(clients=["homelab", "office"]))
        async with (
            hand_driven(parts.control) as homelab,
            hand_driven(parts.control, "office") as office,
            visit(address) as visitor,
        ):
            offer = await homelab.join(visitor)

            homelab.session.tell(Drain())
            await until(lambda: serving(parts, "homelab") is None)

            async with visit(address):
                await office.next_offer()
            offer.stream.send(b"still here")
            assert await visitor.receive() == b"still here"


async def test_a_client_whose_session_is_over_serves_nobody_from_that_moment() -> None:
    async with gateway_parts() as parts, hand_driven(parts.control):
        (client,) = parts.sessions.connected()[HOMELAB]
        client.session.close("a test")

        assert serving(parts, "homelab") is None


async def test_a_failure_of_a_stream_that_is_not_being_opened_changes_nothing() -> None:
    async with gateway_parts() as parts, hand_driven(parts.control) as homelab:
        address = await parts.listen(route())
        async with visit(address) as visitor:
            offer = await homelab.join(visitor)
            for stream in (1, offer.stream.id, 4_711):
                homelab.session.tell(StreamFailed(stream=stream, code=FailureCode.OTHER, message="boo"))

            offer.stream.send(b"still here")
            assert await visitor.receive() == b"still here"
