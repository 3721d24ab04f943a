"""What a client offers, and the connections that it makes for visitors."""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from agent.client import services as services_module
from agent.client import target
from agent.client.services import Services, _explain
from agent.lingering import Lingering
from agent.process.descriptors import Use
from reconcile.desired import ServicesSpec
from schemas.names import ListenAddress, ProxyProtocol, ServiceEntry, ServiceName, parse_target
from schemas.status import Traffic
from tests.support.descriptors import open_sockets, room_left
from tests.support.gateway_parts import GatewayParts, gateway_parts, hand_driven, route
from tests.support.journal import Journal
from tests.support.peers import (
    blackhole,
    free_listen,
    free_port_of,
    service,
    unconnected,
    unix_service,
    until,
    visit,
)
from transport.offer import Offer
from transport.pump.relay import Relay, RelayOwner
from transport.pump.sockets import dial_tcp
from transport.session import Session

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("nothing_left_open")]


def offering(**targets: str) -> ServicesSpec:
    return ServicesSpec(
        targets=tuple(
            (ServiceName(name), ServiceEntry(parse_target(text))) for name, text in sorted(targets.items())
        )
    )


class Place:
    """A gateway with a public port, a client with services, and nothing between them that is not real."""

    def __init__(self, parts: GatewayParts, services: Services, address: ListenAddress) -> None:
        self.parts = parts
        self.services = services
        self.address = address
        self.lingering = Lingering(600.0)
        self.session: Session


@asynccontextmanager
async def place(*, proxy_protocol: ProxyProtocol = ProxyProtocol.OFF, **targets: str) -> AsyncIterator[Place]:
    services = Services()
    await services.update(offering(**targets))
    async with gateway_parts() as parts, anyio.create_task_group() as tasks:
        made = Place(parts, services, await parts.listen(route(proxy_protocol=proxy_protocol)))

        def take(session: Session, offer: Offer) -> None:
            services.connect(offer, session, made.lingering)

        async with hand_driven(parts.control, take=take) as client:
            made.session = client.session
            yield made
        tasks.cancel_scope.cancel()


# What is offered


async def test_the_names_are_those_of_the_newest_specification() -> None:
    services = Services()
    seen = [services.names]

    for spec in (offering(web="127.0.0.1:80", smtp="127.0.0.1:25"), offering(web="127.0.0.1:80")):
        await services.update(spec)
        seen.append(services.names)
    await services.close()
    seen.append(services.names)

    assert seen == [(), ("smtp", "web"), ("web",), ()]
    assert services.is_alive


async def test_a_change_is_told_after_it_is_in_force() -> None:
    services = Services()
    told: list[tuple[str, ...]] = []
    services.on_change = lambda: told.append(services.names)

    await services.update(offering(web="127.0.0.1:80"))
    await services.close()

    assert told == [("web",), ()]


# Visitors and services


async def test_a_visitor_and_a_service_talk(journal: Journal) -> None:
    with service() as web:
        async with place(web=web.target) as here:
            async with visit(here.address) as visitor:
                await visitor.send(b"question")
                answering = await web.accept()
                assert await answering.receive_exactly(8) == b"question"
                await answering.send(b"an answer")
                answering.end()
                assert await visitor.receive_all() == b"an answer"
                name = visitor.address
                visitor.end()
                assert await answering.receive_all() == b""
            line = await journal.wait_for("stream_closed")

            assert isinstance(line.pop("seconds"), float)
            assert line == {
                "event": "stream_closed",
                "level": "info",
                "tunnel": "blog",
                "service": "web",
                "target": web.target,
                "visitor": name,
                "end": "done",
                "bytes_in": 8,
                "bytes_out": 9,
            }
            (status,) = here.services.status()
            assert (status.name, status.target, status.last_error) == ("web", web.target, None)
            assert status.traffic == Traffic(open=0, total=1, bytes_in=8, bytes_out=9)


async def test_a_service_on_a_unix_socket_is_reached(tmp_path: Path) -> None:
    with unix_service(tmp_path / "web.sock") as web:
        async with place(web=web.target) as here, visit(here.address) as visitor:
            await visitor.send(b"question")
            assert await (await web.accept()).receive_exactly(8) == b"question"


async def test_a_connection_leaves_the_descriptors_that_the_agent_needs_itself(journal: Journal) -> None:
    with service() as web:
        async with place(web=web.target) as here:
            with unconnected(here.address) as visitor, room_left(Use.VISITOR, 1):  # at the gateway's door
                await visitor.connect(here.address)
                line = await journal.wait_for("stream_failed")

            assert "raise the limit (LimitNOFILE, ulimit -n)" in line["reason"]
            async with visit(here.address) as visitor:
                await visitor.send(b"question")
                await web.accept()  # of the first, which was reset
                assert await (await web.accept()).receive_exactly(8) == b"question"


async def test_a_service_is_reached_by_name(journal: Journal) -> None:
    with service(free_port_of("127.0.0.1")) as web:
        named = web.target.replace("127.0.0.1", "localhost")
        async with place(web=named) as here, visit(here.address):
            await web.accept()


@pytest.mark.parametrize("version", [ProxyProtocol.V1, ProxyProtocol.V2], ids=lambda version: version.value)
async def test_the_service_learns_who_the_visitor_is_before_it_hears_it(version: ProxyProtocol) -> None:
    with service() as web:
        async with place(web=web.target, proxy_protocol=version) as here, visit(here.address) as visitor:
            await visitor.send(b"question")
            visitor.end()
            heard = await (await web.accept()).receive_all()

            port, gateway = visitor.socket.getsockname()[1], here.address
            headers = {
                ProxyProtocol.V1: f"PROXY TCP4 127.0.0.1 {gateway.host} {port} {gateway.port}\r\n".encode(),
                ProxyProtocol.V2: b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"
                + socket.inet_aton("127.0.0.1")
                + socket.inet_aton(gateway.host)
                + struct.pack("!HH", port, gateway.port),
            }
            assert heard == headers[version] + b"question"


async def test_what_a_visitor_said_before_the_service_accepted_and_its_end_arrive(journal: Journal) -> None:
    with service() as web:
        async with place(web=web.target) as here:
            async with visit(here.address) as visitor:
                await visitor.send(b"all of it")
                visitor.end()
                await until(lambda: here.parts.tunnels["blog"].snapshot().bytes_in == 9)
                answering = await web.accept()
                assert await answering.receive_all() == b"all of it"
                await answering.send(b"the answer")
                answering.end()
                assert await visitor.receive_all() == b"the answer"
            assert (await journal.wait_for("stream_closed"))["end"] == "done"


async def test_a_service_that_resets_resets_the_visitor(journal: Journal) -> None:
    with service() as web:
        async with place(web=web.target) as here, visit(here.address) as visitor:
            answering = await web.accept()
            await until(lambda: here.services.status()[0].traffic.open == 1)
            await answering.send(b"x")
            assert await visitor.receive() == b"x"
            answering.reset()

            await visitor.wait_reset()
            assert (await journal.wait_for("stream_closed"))["end"] == "socket_lost"


async def test_a_visitor_that_resets_resets_the_service(journal: Journal) -> None:
    with service() as web:
        async with place(web=web.target) as here, visit(here.address) as visitor:
            answering = await web.accept()
            await answering.send(b"x")
            assert await visitor.receive() == b"x"
            visitor.reset()

            await answering.wait_reset()
            assert (await journal.wait_for("stream_closed"))["end"] == "stream_reset"


async def test_a_half_closed_connection_is_kept_among_the_lingering_until_it_ends(journal: Journal) -> None:
    with service() as web:
        async with place(web=web.target) as here, visit(here.address) as visitor:
            answering = await web.accept()
            visitor.end()
            assert await answering.receive_all() == b""
            await until(lambda: len(here.lingering._connections) == 1)
            answering.end()

            await journal.wait_for("stream_closed")
            assert not here.lingering._connections


# Services that do not answer


async def test_an_unknown_service_is_told_to_both_sides(journal: Journal) -> None:
    async with place() as here, visit(here.address) as visitor:
        assert await visitor.receive_until_gone() == b""

        line = await journal.wait_for("stream_failed")
        assert (line["tunnel"], line["service"]) == ("blog", "web")
        assert line["reason"] == (
            "the client offers no service 'web'; add it under services in the client's file"
        )
        assert (await journal.wait_for("visitor_refused"))["reason"] == line["reason"]


async def test_a_service_that_is_down_is_told_without_its_address_and_shown_with_it(journal: Journal) -> None:
    target = str(free_listen())
    async with place(web=target) as here, visit(here.address) as visitor:
        assert await visitor.receive_until_gone() == b""

        line = await journal.wait_for("stream_failed")
        assert line["reason"] == (
            f"{target}: connection refused; start the service, or correct its address in the client's file"
        )
        assert (await journal.wait_for("visitor_refused"))["reason"] == "service web does not answer"
        assert here.services.status()[0].last_error == line["reason"]


async def test_a_service_that_answers_again_has_no_error_any_more(journal: Journal) -> None:
    address = free_listen()
    async with place(web=str(address)) as here:
        async with visit(here.address):
            await journal.wait_for("stream_failed")
        with service(address) as web:
            async with visit(here.address):
                await web.accept()
                await until(lambda: here.services.status()[0].last_error is None)


async def test_a_unix_socket_that_is_not_there_is_told(tmp_path: Path, journal: Journal) -> None:
    async with place(web=f"unix:{tmp_path / 'none.sock'}") as here, visit(here.address):
        line = await journal.wait_for("stream_failed")

        assert "there is no such socket; start the service, or correct its path" in line["reason"]


async def test_a_name_that_nobody_knows_is_told(journal: Journal) -> None:
    async with place(web="nobody.invalid:80") as here, visit(here.address):
        line = await journal.wait_for("stream_failed")

        assert line["reason"].startswith("nobody.invalid:80: ")


async def test_a_service_that_never_answers_is_given_up(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(services_module, "DIAL_TIMEOUT", 0.05)
    with blackhole() as hole:
        async with place(web=hole.target) as here, visit(here.address) as visitor:
            assert await visitor.receive_until_gone() == b""

            line = await journal.wait_for("stream_failed")
            assert "no answer within 0.05 s; check that the service is up and reachable" in line["reason"]


async def test_a_service_that_resets_as_soon_as_it_is_reached_has_been_reached_and_nothing_is_kept_of_it(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It can do so in the very turn in which it was reached, before the task that dialed goes on."""

    async def reached_and_lost(host: str, port: int, owner: RelayOwner) -> Relay:
        relay = await dial_tcp(host, port, owner)
        relay._transport.abort()
        await until(lambda: relay._phase.name == "CLOSED")
        return relay

    monkeypatch.setattr(target, "dial_tcp", reached_and_lost)
    with service() as web:
        async with place(web=web.target) as here, visit(here.address) as visitor:
            assert await visitor.receive_until_gone() == b""

            await journal.wait_for("stream_closed", end="socket_lost")
            assert here.services.status()[0].traffic == Traffic(total=1)


async def test_dialing_stops_when_the_visitor_leaves(journal: Journal) -> None:
    with blackhole() as hole:
        async with place(web=hole.target) as here:
            async with visit(here.address) as visitor:
                await until(hole.has_caller)
                visitor.reset()

            line = await journal.wait_for("stream_abandoned")

            assert line["reason"] == "its stream was reset before the service answered"
            await until(lambda: not hole.has_caller())
            assert here.services.status()[0].traffic == Traffic()


async def test_dialing_stops_when_the_session_ends(journal: Journal) -> None:
    with blackhole() as hole:
        async with place(web=hole.target) as here, visit(here.address):
            await until(hole.has_caller)
            here.session.close("a test")

            await journal.wait_for("stream_abandoned")
            await until(lambda: not hole.has_caller())


async def test_a_visitor_that_left_before_it_was_looked_at_is_not_dialed_for(journal: Journal) -> None:
    with service() as web:
        async with gateway_parts() as parts:
            address = await parts.listen(route())
            services = Services()
            await services.update(offering(web=web.target))
            async with hand_driven(parts.control) as client:
                async with visit(address) as visitor:
                    offer = await client.next_offer()
                    visitor.reset()
                    await until(lambda: offer.stream.is_closed)

                services.connect(offer, client.session, Lingering(600.0))

            assert journal.find("stream_abandoned")
            assert not web.has_caller()


async def test_stopping_the_client_while_it_dials_leaves_no_socket_behind() -> None:
    with blackhole() as hole:
        before = open_sockets()
        async with place(web=hole.target) as here, visit(here.address):
            await until(hole.has_caller)

        await until(lambda: open_sockets() == before)


async def test_a_defect_while_dialing_fails_the_one_stream(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(header: object) -> bytes:
        raise KeyError("a test")

    with service() as web:
        async with place(web=web.target) as here:
            monkeypatch.setattr(services_module, "_prologue", broken)
            async with visit(here.address) as visitor:
                assert await visitor.receive_until_gone() == b""
            line = await journal.wait_for("stream_failed")
            assert line["reason"] == "a defect in Tidegate: KeyError; please report it"
            line = await journal.wait_for("visitor_refused")
            assert line["reason"] == "the client failed inside; look into its log"
            assert here.session.is_open


async def test_nothing_is_kept_of_a_stream_that_has_ended(journal: Journal) -> None:
    with service() as web:
        async with place(web=web.target) as here:
            for _ in range(10):
                async with visit(here.address) as visitor:
                    answering = await web.accept()
                    visitor.end()
                    answering.end()
                    await visitor.receive_all()
            await journal.wait_for("stream_closed", count=10)

            assert not here.services.traffic["web"]._open
            assert not here.lingering._connections
            await until(lambda: list(here.session.link.mux.streams) == [1])


@pytest.mark.parametrize("code", [errno.EACCES, errno.EHOSTUNREACH, errno.ETIMEDOUT])
async def test_what_the_system_says_of_a_service_is_one_line(code: int) -> None:
    said = _explain(OSError(code, os.strerror(code)), 10)

    assert said
    assert len(said.splitlines()) == 1


async def test_of_a_name_with_several_addresses_the_first_error_is_told() -> None:
    tried = OSError(
        "Multiple exceptions: [Errno 111] Connect call failed ('::1', 80, 0, 0), "
        "[Errno 111] Connect call failed ('127.0.0.1', 80)"
    )

    assert _explain(tried, 10).startswith("connection refused; start the service")
