"""A visitor who is not served by one client of a tunnel is served by another, and notices nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import anyio
import pytest

from agent.gateway import balancing
from agent.gateway.refusal import Reason, TrafficKind, refusal_bytes
from schemas.messages import Drain, FailureCode, Services
from schemas.names import Balance, ClientId, ListenAddress, ServiceName
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
from transport.wire.frames import GoAwayCode

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("nothing_left_open")]

GET: Final = b"GET / HTTP/1.1\r\nHost: blog.example\r\n\r\n"
HOMELAB, OFFICE = ClientId("homelab"), ClientId("office")
WEB: Final = ServiceName("web")
RESET: Final = "the client closed the stream"


@dataclass(frozen=True)
class Site:
    parts: GatewayParts
    homelab: HandDriven
    office: HandDriven
    address: ListenAddress


@asynccontextmanager
async def site(*hostnames: str, balance: Balance = Balance.PREFERENCE) -> AsyncIterator[Site]:
    """One tunnel, and both of its clients."""
    led = route("blog", *hostnames, clients=("homelab", "office"), balance=balance)
    async with (
        gateway_parts() as parts,
        hand_driven(parts.control) as homelab,
        hand_driven(parts.control, "office") as office,
    ):
        yield Site(parts, homelab, office, await parts.listen(led))


async def heard(offer: Offer, size: int) -> bytes:
    """What the visitor has said, as the client has it."""
    await until(lambda: len(offer._early) >= size)
    return bytes(offer._early)


async def serve(offer: Offer, visitor: Peer, journal: Journal, **line: object) -> None:
    """Take the visitor on, and see that it is the one of whom the line tells."""
    offer.stream.accept()
    offer.stream.send(b"served")
    offer.stream.send_fin()
    assert await visitor.receive_all() == b"served"
    visitor.end()
    told = await journal.wait_for("visitor_left")
    assert {key: told.get(key) for key in line} == line


def hangs(client: HandDriven) -> None:
    """Its machine takes what comes, and its process says nothing at all."""
    client.session.link._transport.pause_reading()


# Refused


@pytest.mark.parametrize("how", ["told why", "reset", "session closed", "session broken"])
async def test_whoever_does_not_take_the_visitor_leaves_it_to_the_next_with_all_that_it_said(
    how: str, journal: Journal
) -> None:
    async with site("blog.example") as at, visit(at.address) as visitor:
        await visitor.send(GET)
        offer = await at.homelab.next_offer()
        await visitor.send(b"and more")
        await heard(offer, len(GET) + 8)
        match how:
            case "told why":
                at.homelab.session.fail_stream(offer.stream, FailureCode.SERVICE_DOWN, "web does not answer")
            case "reset":
                offer.stream.reset()
            case "session closed":
                at.homelab.session.close("a test")
            case "session broken":
                at.homelab.session.link.abort()
        offer = await at.office.next_offer()
        assert await heard(offer, len(GET) + 8) == GET + b"and more"
        await visitor.send(b", later")

        assert await heard(offer, len(GET) + 15) == GET + b"and more, later"
        await serve(offer, visitor, journal, client="office", refused_by=("homelab",), reason=None)


async def test_an_end_that_the_visitor_said_is_said_to_the_next() -> None:
    async with site() as at, visit(at.address) as visitor:
        await visitor.send(b"all of it")
        visitor.end()
        offer = await at.homelab.next_offer()
        await until(lambda: offer._ended)
        offer.stream.reset()
        offer = await at.office.next_offer()
        await until(lambda: offer._ended)

        assert bytes(offer._early) == b"all of it"


async def test_when_nobody_takes_the_visitor_it_is_told_and_the_log_has_the_last_reason(
    journal: Journal,
) -> None:
    async with site("blog.example") as at, visit(at.address) as visitor:
        await visitor.send(GET)
        (await at.homelab.next_offer()).stream.reset()
        offer = await at.office.next_offer()
        at.office.session.fail_stream(offer.stream, FailureCode.SERVICE_DOWN, "web does not answer")

        assert await visitor.receive_all() == refusal_bytes(TrafficKind.HTTP, Reason.SERVICE_FAILED)
        line = await journal.wait_for("visitor_refused")
        assert (line["client"], line["refused_by"]) == ("office", ("homelab",))
        assert line["reason"] == "web does not answer"


async def test_a_visitor_who_has_been_accepted_is_led_nowhere_else() -> None:
    async with site() as at, visit(at.address) as visitor:
        await visitor.send(b"question")
        offer = await at.homelab.next_offer()
        offer.stream.accept()
        await until(lambda: not any(relay.is_opening for relay in at.parts.listeners._visitors))
        offer.stream.reset()

        assert await visitor.wait_reset() == b""
        assert at.office.offers == []


async def test_a_visitor_who_has_said_too_much_to_be_kept_waits_and_loses_nothing(journal: Journal) -> None:
    upload = bytes(range(256)) * 800  # less than a window
    async with site() as at, visit(at.address) as visitor, anyio.create_task_group() as tasks:
        offer = await at.homelab.next_offer()
        tasks.start_soon(visitor.send, upload)
        assert len(await heard(offer, 65_536)) == 65_536
        offer.stream.reset()
        offer = await at.office.next_offer()

        assert await heard(offer, len(upload)) == upload  # the last client: nothing is kept for another
        await serve(offer, visitor, journal, bytes_in=len(upload))


async def test_every_byte_and_every_visitor_is_counted_for_whom_it_went_to(journal: Journal) -> None:
    async with site() as at:
        async with visit(at.address) as visitor:
            await visitor.send(b"question")
            offer = await at.homelab.next_offer()
            await heard(offer, 8)
            offer.stream.reset()
            await serve(await at.office.next_offer(), visitor, journal)
        traffic = {
            "tunnel": at.parts.tunnels.traffic("blog"),
            "homelab": at.parts.sessions.traffic.traffic("homelab"),
            "office": at.parts.sessions.traffic.traffic("office"),
        }

        assert {who: (told.total, told.open) for who, told in traffic.items()} == dict.fromkeys(
            traffic, (1, 0)
        )
        assert {who: (told.bytes_in, told.bytes_out) for who, told in traffic.items()} == {
            "tunnel": (8, 6),
            "homelab": (8, 0),
            "office": (8, 6),
        }
        assert at.parts.sessions.balancer._visitors == {}


async def test_a_half_closed_visitor_is_watched_where_it_is_led_and_no_longer_where_it_was() -> None:
    async with site() as at, visit(at.address) as visitor:
        visitor.end()
        offer = await at.homelab.next_offer()
        await until(lambda: offer._ended)
        homelab, office = (
            next(iter(at.parts.sessions.connected()[client])).lingering for client in (HOMELAB, OFFICE)
        )
        await until(lambda: bool(homelab._connections))
        offer.stream.reset()
        await at.office.next_offer()

        assert (len(homelab._connections), len(office._connections)) == (0, 1)


# Not answered


async def test_a_client_that_is_silent_loses_the_visitor_and_soon_its_session(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(balancing, "PATIENCE", 0.05)
    monkeypatch.setattr(keepalive, "SUSPICION", 0.1)
    async with site() as at, visit(at.address) as visitor:
        hangs(at.homelab)
        await visitor.send(b"question")
        offer = await at.office.next_offer()
        assert await heard(offer, 8) == b"question"
        line = await journal.wait_for("client_disconnected")

        assert (line["client"], line["reason"]) == ("homelab", "nothing was heard for 0.1 s after a ping")
        await serve(offer, visitor, journal, client="office", refused_by=("homelab",))


async def test_a_client_that_only_takes_long_keeps_its_session_and_is_asked_again_at_last(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(balancing, "PATIENCE", 0.05)
    monkeypatch.setattr(keepalive, "SUSPICION", 0.05)
    async with site() as at, visit(at.address) as visitor:
        first = await at.homelab.next_offer()
        at.homelab.session.tell(Services(services=("web", "mail")))  # a sign of life
        second = await at.office.next_offer()
        assert first.stream.is_closed
        second.stream.reset()
        third = await at.homelab.next_offer()

        await serve(third, visitor, journal, client="homelab", refused_by=("homelab", "office"))
        assert journal.find("client_disconnected") == []


async def test_all_clients_together_have_a_limited_time(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(balancing, "PATIENCE", 0.05)
    monkeypatch.setattr(balancing, "ALL_PATIENCE", 0.15)
    async with site("blog.example") as at, visit(at.address) as visitor:
        await visitor.send(GET)

        assert await visitor.receive_all() == refusal_bytes(TrafficKind.HTTP, Reason.SERVICE_FAILED)
        line = await journal.wait_for("visitor_refused")
        assert line["reason"] == "the client did not answer"
        assert line["seconds"] >= 0.15


# Doubted


async def test_who_has_refused_a_visitor_is_not_asked_first_for_a_while_and_that_is_said_once(
    journal: Journal,
) -> None:
    async with site() as at:
        async with visit(at.address), visit(at.address):
            (await at.homelab.next_offer()).stream.reset()
            (await at.homelab.next_offer()).stream.reset()
            for _ in range(2):
                await at.office.next_offer()
        async with visit(at.address):
            await at.office.next_offer()

        assert at.homelab.offers == []
        (line,) = journal.find("service_doubted")
        assert line == {**line, "client": "homelab", "service": "web", "seconds": 1.0, "reason": RESET}


async def test_of_a_client_that_has_gone_no_doubts_are_kept(journal: Journal) -> None:
    async with site() as at:
        doubts = at.parts.sessions.balancer.doubts
        doubts.failed(HOMELAB, WEB, 1e12)
        at.homelab.session.close("a test")
        await journal.wait_for("client_disconnected", client="homelab")

        assert len(doubts) == 0


@pytest.mark.parametrize("news", ["its services", "a new session"])
async def test_news_of_a_client_ends_all_doubts(news: str) -> None:
    async with site() as at:
        at.parts.sessions.balancer.doubts.failed(HOMELAB, WEB, 1e12)
        if news == "its services":
            at.homelab.session.tell(Services(services=("web",)))
            await until(lambda: not at.parts.sessions.balancer.doubts)
            async with visit(at.address):
                await at.homelab.next_offer()
        else:
            async with hand_driven(at.parts.control) as newer, visit(at.address):
                await newer.next_offer()


async def test_a_visitor_who_is_served_ends_the_doubt(journal: Journal) -> None:
    async with site() as at:
        doubts = at.parts.sessions.balancer.doubts
        doubts.failed(HOMELAB, WEB, 0.0)  # which is over
        async with visit(at.address) as visitor:
            await serve(await at.homelab.next_offer(), visitor, journal)

        assert len(doubts) == 0
        assert len(journal.find("service_trusted")) == 1


# Who is asked at all


@pytest.mark.parametrize("how", ["drains", "offers it no more", "is going away"])
async def test_a_client_that_takes_nobody_is_not_even_asked(how: str) -> None:
    async with site() as at:
        homelab = next(iter(at.parts.sessions.connected()[HOMELAB]))
        match how:
            case "drains":
                at.homelab.session.tell(Drain())
            case "offers it no more":
                at.homelab.session.tell(Services(services=()))
            case "is going away":
                at.homelab.session.link.mux.go_away(GoAwayCode.NORMAL)
        await until(lambda: not homelab.can_serve or not homelab.services)
        async with visit(at.address) as visitor:
            await visitor.send(b"hello")
            await at.office.next_offer()

        assert at.homelab.offers == []


async def test_a_client_that_comes_back_gets_new_visitors_and_takes_none_that_are_served(
    journal: Journal,
) -> None:
    led = route(clients=("homelab", "office"))
    async with gateway_parts() as parts, hand_driven(parts.control, "office") as office:
        address = await parts.listen(led)
        async with visit(address) as old:
            offer = await office.join(old)
            async with hand_driven(parts.control) as homelab, visit(address):
                await homelab.next_offer()
                offer.stream.send(b"still here")
                assert await old.receive_exactly(10) == b"still here"


async def test_clients_in_turn_and_by_fewest_visitors_share_them() -> None:
    for balance in (Balance.ROUND_ROBIN, Balance.LEAST_CONNECTIONS):
        async with site(balance=balance) as at, visit(at.address), visit(at.address):
            await at.homelab.next_offer()
            await at.office.next_offer()
