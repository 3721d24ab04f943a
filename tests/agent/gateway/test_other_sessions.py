"""A visitor whose session ends before he is served is led on by another session of the same client."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import pytest

from agent.gateway import balancing
from agent.gateway.refusal import Reason, TrafficKind, refusal_bytes
from schemas.messages import FailureCode
from schemas.names import ListenAddress
from tests.support.gateway_parts import (
    GatewayParts,
    HandDriven,
    gateway_parts,
    hand_driven,
    route,
)
from tests.support.journal import Journal
from tests.support.peers import Peer, until, visit
from transport.offer import Offer
from transport.wire import keepalive

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("nothing_left_open")]

GET: Final = b"GET / HTTP/1.1\r\nHost: blog.example\r\n\r\n"


@dataclass(frozen=True)
class Site:
    parts: GatewayParts
    one: HandDriven
    two: HandDriven
    address: ListenAddress


@asynccontextmanager
async def site(*hostnames: str, clients: tuple[str, ...] = ("homelab",)) -> AsyncIterator[Site]:
    """One tunnel, and two sessions of the client that is asked first."""
    async with (
        gateway_parts() as parts,
        hand_driven(parts.control, instance="a", session=1) as one,
        hand_driven(parts.control, instance="a", session=2) as two,
    ):
        yield Site(parts, one, two, await parts.listen(route("blog", *hostnames, clients=clients)))


async def heard(offer: Offer, size: int) -> bytes:
    """What the visitor has said, as the client has it."""
    await until(lambda: len(offer._early) >= size)
    return bytes(offer._early)


async def serve(offer: Offer, visitor: Peer) -> None:
    offer.stream.accept()
    offer.stream.send(b"served")
    offer.stream.send_fin()
    assert await visitor.receive_all() == b"served"
    visitor.end()


@pytest.mark.parametrize("how", ["closed", "broken"])
async def test_a_visitor_of_a_session_that_ends_is_served_by_the_other_with_all_that_it_said(
    how: str, journal: Journal
) -> None:
    async with site("blog.example") as at, visit(at.address) as visitor:
        await visitor.send(GET)
        offer = await at.one.next_offer()
        await visitor.send(b"and more")
        await heard(offer, len(GET) + 8)
        if how == "closed":
            at.one.session.close("a test")
        else:
            at.one.session.link.abort()
        offer = await at.two.next_offer()
        assert await heard(offer, len(GET) + 8) == GET + b"and more"
        await serve(offer, visitor)

        line = await journal.wait_for("visitor_left")
        assert (line["client"], line["reason"]) == ("homelab", None)
        told = at.parts.sessions.traffic.traffic("homelab")
        assert (told.open, told.bytes_in) == (0, 2 * (len(GET) + 8))  # it went twice
        assert at.parts.tunnels.traffic("blog").total == 1
        assert at.parts.sessions.balancer._visitors == {}


async def test_the_other_session_comes_before_the_next_client_and_nobody_is_doubted(journal: Journal) -> None:
    async with site(clients=("homelab", "office")) as at, hand_driven(at.parts.control, "office") as office:
        async with visit(at.address) as visitor:
            await visitor.send(b"question")
            await at.one.next_offer()
            at.one.session.link.abort()
            offer = await at.two.next_offer()
            assert await heard(offer, 8) == b"question"
            at.two.session.link.abort()
            await serve(await office.next_offer(), visitor)
            line = await journal.wait_for("visitor_left")

        assert (line["client"], line["refused_by"]) == ("office", ("homelab",))
        assert journal.find("service_doubted") == []


async def test_a_service_that_is_down_is_not_asked_for_again_on_the_other_session(journal: Journal) -> None:
    """Nor is it passed over: there is nobody else who could be asked before it."""
    async with site("blog.example") as at, visit(at.address) as visitor:
        await visitor.send(GET)
        offer = await at.one.next_offer()
        at.one.session.fail_stream(offer.stream, FailureCode.SERVICE_DOWN, "web does not answer")

        assert await visitor.receive_all() == refusal_bytes(TrafficKind.HTTP, Reason.SERVICE_FAILED)
        assert at.two.offers == []
        assert journal.find("service_doubted") == []


async def test_with_the_last_session_the_client_is_away(journal: Journal) -> None:
    async with site("blog.example") as at, visit(at.address) as visitor:
        await visitor.send(GET)
        await at.one.next_offer()
        at.one.session.link.abort()
        await at.two.next_offer()
        at.two.session.link.abort()

        assert await visitor.receive_all() == refusal_bytes(TrafficKind.HTTP, Reason.CLIENT_AWAY)
        line = await journal.wait_for("visitor_refused")
        assert line["reason"] == "the client went away before it answered"


async def test_a_session_that_is_silent_loses_the_visitor_to_the_other(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(balancing, "PATIENCE", 0.05)
    monkeypatch.setattr(keepalive, "SUSPICION", 0.1)
    async with site() as at, visit(at.address) as visitor:
        at.one.session.link._transport.pause_reading()
        await visitor.send(b"question")
        offer = await at.two.next_offer()
        assert await heard(offer, 8) == b"question"
        line = await journal.wait_for("client_disconnected")

        assert line["session"] == 1
        assert line["reason"].startswith("nothing was heard for")
        await serve(offer, visitor)


async def test_the_only_session_of_several_clients_is_suspected_as_soon_as_that_of_one(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody else is there to be asked, and so the visitor waits as long as there is hope."""
    monkeypatch.setattr(balancing, "PATIENCE", 0.05)
    monkeypatch.setattr(keepalive, "SUSPICION", 0.1)
    async with gateway_parts() as parts, hand_driven(parts.control) as homelab:
        address = await parts.listen(route("blog", "blog.example", clients=("homelab", "office")))
        async with visit(address) as visitor:
            homelab.session.link._transport.pause_reading()
            await visitor.send(GET)

            assert await visitor.receive_all() == refusal_bytes(TrafficKind.HTTP, Reason.CLIENT_AWAY)
        line = await journal.wait_for("client_disconnected")
        assert line["reason"].startswith("nothing was heard for")
