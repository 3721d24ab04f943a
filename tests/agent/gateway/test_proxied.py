"""Public ports with load balancers in front: the visitor's address is his own, and nobody may forge it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TypeAlias

import pytest

from reconcile.desired import RouteSpec
from schemas.names import ListenAddress
from schemas.networks import parse_network
from tests.support.gateway_parts import GatewayParts, HandDriven, gateway_parts, hand_driven, listener, route
from tests.support.journal import Journal
from tests.support.peers import free_listen, until, visit
from tests.support.tls_peers import client_hello
from transport.offer import Offer
from transport.wire.open_header import OpenHeader
from transport.wire.proxy_protocol import Endpoint, build_v1, build_v2

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("nothing_left_open")]

Build: TypeAlias = Callable[[Endpoint | None, Endpoint | None], bytes]

VISITOR, BALANCER = Endpoint("192.0.2.7", 50_000), Endpoint("198.51.100.1", 443)
BY_NAME = (route("blog", "gw1"), route("mail", "mail.example.com"))
REQUEST = b"GET / HTTP/1.1\r\nHost: gw1\r\n\r\n"

both_versions = pytest.mark.parametrize("build", [build_v1, build_v2])


def behind(balancer: str, *routes: RouteSpec) -> tuple[RouteSpec, ...]:
    networks = (parse_network(balancer),)
    return tuple(replace(each, accept_proxy_protocol=networks) for each in routes)


def opened(offer: Offer) -> OpenHeader:
    """What the client was told of the visitor."""
    assert isinstance(offer.header, OpenHeader)
    return offer.header


class Site:
    """A public port, and the client behind it."""

    def __init__(self, parts: GatewayParts, public: ListenAddress, client: HandDriven) -> None:
        self.parts = parts
        self.public = public
        self.client = client


@asynccontextmanager
async def site(
    *routes: RouteSpec, balancer: str = "127.0.0.0/8", peek_timeout: float = 600.0
) -> AsyncIterator[Site]:
    async with gateway_parts() as parts, hand_driven(parts.control) as client:
        public = await parts.listen(*behind(balancer, *(routes or (route(),))), peek_timeout=peek_timeout)
        yield Site(parts, public, client)


@both_versions
async def test_the_client_hears_of_the_visitor_and_not_of_the_balancer(
    build: Build, journal: Journal
) -> None:
    """On a port that nobody peeks at, so that a service may speak first."""
    async with site() as made, visit(made.public) as visitor:
        await visitor.send(build(VISITOR, BALANCER))

        offer = await made.client.join(visitor)

        assert (opened(offer).source, opened(offer).destination) == (VISITOR, BALANCER)
        await visitor.send(b"words")
    line = await journal.wait_for("visitor_left")
    assert line["visitor"] == "192.0.2.7:50000"
    assert line["bytes_in"] == 5


@both_versions
@pytest.mark.parametrize("behind_it", [client_hello(), REQUEST], ids=["TLS", "HTTP"])
async def test_what_comes_behind_the_header_is_led_by_its_name(build: Build, behind_it: bytes) -> None:
    """In one piece or byte by byte; the header is no part of what the service reads."""
    data = build(VISITOR, BALANCER) + behind_it
    async with site(*BY_NAME) as made:
        async with visit(made.public) as at_once, visit(made.public) as slow:
            await at_once.send(data)
            first = await made.client.join(at_once)
            for byte in data:
                await slow.send(bytes([byte]))
            second = await made.client.join(slow)
            await until(lambda: first._early == second._early == behind_it)

        for offer in (first, second):
            assert (opened(offer).tunnel, opened(offer).source) == ("blog", VISITOR)


@both_versions
async def test_a_health_check_is_served_with_its_own_addresses(build: Build) -> None:
    async with site() as made, visit(made.public) as balancer:
        await balancer.send(build(None, None))

        offer = await made.client.join(balancer)

        assert f"{opened(offer).source.host}:{opened(offer).source.port}" == balancer.address
        assert opened(offer).destination.port == made.public.port


async def test_nobody_else_is_looked_at_or_believed() -> None:
    """What looks like a header is a part of what the visitor says, and goes to the service."""
    forged = build_v2(VISITOR, BALANCER)
    async with site(balancer="10.0.0.5") as made, visit(made.public) as visitor:
        await visitor.send(forged)

        offer = await made.client.join(visitor)

        assert opened(offer).source.host.startswith("127.")
        await until(lambda: offer._early == forged)


@both_versions
async def test_a_header_of_a_stranger_is_told_of_on_a_port_that_is_not_looked_at(
    build: Build, journal: Journal
) -> None:
    """And led all the same: the service may want it."""
    async with site(balancer="10.0.0.5") as made, visit(made.public) as visitor:
        await visitor.send(build(VISITOR, BALANCER))
        offer = await made.client.next_offer()
        await until(lambda: bytes(offer._early) == build(VISITOR, BALANCER))
        offer.stream.accept()
        offer.stream.send(b"welcome")
        line = await journal.wait_for("proxy_header_from_stranger")
        host = visitor.address.partition(":")[0]

    assert line["listen"] == str(made.public)
    assert f"a PROXY header came from {host}, which is not in accept_proxy_protocol: " in line["reason"]
    assert "add its address there" in line["reason"]


async def test_who_says_something_else_on_a_port_that_is_not_looked_at_is_told_of_by_nobody(
    journal: Journal,
) -> None:
    async with site(balancer="10.0.0.5") as made, visit(made.public) as visitor:
        await visitor.send(REQUEST)
        offer = await made.client.next_offer()
        await until(lambda: bytes(offer._early) == REQUEST)
        offer.stream.accept()
        offer.stream.send(b"welcome")
        assert await visitor.receive_exactly(7) == b"welcome"

    assert journal.find("proxy_header_from_stranger") == []


@both_versions
async def test_a_header_of_a_stranger_is_why_it_is_refused_on_a_port_with_hostnames(
    build: Build, journal: Journal
) -> None:
    async with site(*BY_NAME, balancer="10.0.0.5") as made, visit(made.public) as visitor:
        await visitor.send(build(VISITOR, BALANCER) + REQUEST)
        line = await journal.wait_for("visitor_refused")
        told = await journal.wait_for("proxy_header_from_stranger")

    assert "which is not in accept_proxy_protocol" in line["reason"]
    assert told["reason"] == line["reason"]


async def test_a_header_that_a_visitor_forges_behind_that_of_the_balancer_is_no_strangers(
    journal: Journal,
) -> None:
    async with site(*BY_NAME) as made, visit(made.public) as visitor:
        await visitor.send(build_v2(VISITOR, BALANCER) + build_v2(VISITOR, BALANCER))
        line = await journal.wait_for("visitor_refused")

    assert "accept_proxy_protocol" not in line["reason"]
    assert journal.find("proxy_header_from_stranger") == []


async def test_a_second_header_is_the_visitors_own_and_no_header() -> None:
    forged = build_v1(Endpoint("203.0.113.1", 1), BALANCER)
    async with site() as made, visit(made.public) as visitor:
        await visitor.send(build_v2(VISITOR, BALANCER) + forged)

        offer = await made.client.join(visitor)

        assert opened(offer).source == VISITOR
        await until(lambda: offer._early == forged)


@pytest.mark.parametrize("routes", [(route(),), BY_NAME], ids=["raw", "by name"])
@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (REQUEST, "sent no PROXY header: turn it on there"),
        (client_hello(), "sent no PROXY header: turn it on there"),
        (b"PROXY TCP4 1.2.3.4\r\n", "sent a bad PROXY header"),
        (b"PROXY TCP4 192.0.2.7 198.51.100.1 50000 443" + b" " * 100, "sent a bad PROXY header"),
        (build_v2(VISITOR, BALANCER)[:12] + b"\x21\x11\xff\xff", "sent a bad PROXY header"),
    ],
    ids=["a request", "a hello", "a bad line", "a long line", "a long header"],
)
async def test_without_a_good_header_the_connection_is_closed_and_the_balancer_named(
    data: bytes, reason: str, routes: tuple[RouteSpec, ...], journal: Journal
) -> None:
    async with site(*routes) as made, visit(made.public) as balancer:
        await balancer.send(data)

        assert await balancer.receive_until_gone() == b""

        line = await journal.wait_for("visitor_refused")
        assert line["visitor"] == balancer.address
        assert line["reason"].startswith("127.")
        assert "is in accept_proxy_protocol and " in line["reason"]
        assert reason in line["reason"]
        assert not made.client.offers


@pytest.mark.parametrize("data", [b"", b"PROXY TCP4 192.0.2.7 ", build_v2(VISITOR, BALANCER)[:20]])
async def test_half_a_header_and_silence_is_ended_in_time(data: bytes, journal: Journal) -> None:
    async with site(peek_timeout=0.05) as made, visit(made.public) as balancer:
        await balancer.send(data)

        assert await balancer.receive_until_gone() == b""

        line = await journal.wait_for("visitor_refused")
        assert "sent no PROXY header within 0.05 s" in line["reason"]


@pytest.mark.parametrize("data", [b"", b"PROXY TCP4 192.0.2.7 "])
async def test_half_a_header_and_an_end_is_told_of(data: bytes, journal: Journal) -> None:
    async with site() as made, visit(made.public) as balancer:
        await balancer.send(data)
        balancer.end()

        await balancer.receive_until_gone()

        line = await journal.wait_for("visitor_refused")
        assert "left before it had sent a PROXY header" in line["reason"]


async def test_who_says_nothing_behind_its_header_has_the_time_of_any_visitor(journal: Journal) -> None:
    async with site(*BY_NAME, peek_timeout=0.05) as made, visit(made.public) as visitor:
        await visitor.send(build_v2(VISITOR, BALANCER))

        assert await visitor.receive_until_gone() == b""

        line = await journal.wait_for("visitor_refused")
        assert line["visitor"] == "192.0.2.7:50000"
        assert "PROXY" not in line["reason"]


async def test_an_end_behind_the_header_is_the_visitors() -> None:
    async with site() as made, visit(made.public) as visitor:
        await visitor.send(build_v2(VISITOR, BALANCER) + b"all that I have")
        visitor.end()

        offer = await made.client.join(visitor)

        await until(lambda: offer._early == b"all that I have")
        await until(lambda: offer._ended)


async def test_balancers_are_named_and_dropped_while_the_port_stays_open() -> None:
    """Whoever comes from then on is asked, or is not."""
    async with gateway_parts() as parts, hand_driven(parts.control) as client:
        address = free_listen()
        await parts.put(listener(address, route()))
        async with visit(address) as visitor:
            await client.join(visitor)

        await parts.put(listener(address, *behind("127.0.0.0/8", route())))
        async with visit(address) as visitor:
            await visitor.send(build_v1(VISITOR, BALANCER))
            assert opened(await client.join(visitor)).source == VISITOR

        await parts.put(listener(address, route()))
        async with visit(address) as visitor:
            assert opened(await client.join(visitor)).source.host.startswith("127.")
