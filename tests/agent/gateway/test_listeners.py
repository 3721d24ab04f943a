"""Public ports: the port belongs to the specification, and its visitors outlive both."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import anyio.lowlevel
import pytest

from agent.gateway import listeners
from agent.gateway.listeners import PublicListeners
from agent.process.bind import Ports, bind
from reconcile.actuator import ActionError
from reconcile.desired import key_of
from reconcile.observed import Phase
from schemas.names import ListenAddress
from tests.support.descriptors import break_listening, listening_inode, no_descriptors_left, open_sockets
from tests.support.gateway_parts import GatewayParts, gateway_parts, hand_driven, listener, route
from tests.support.handing_over import handed_over, opened
from tests.support.journal import PATIENCE, Journal
from tests.support.peers import free_listen, unconnected, until, visit
from transport.wire.open_header import OpenHeader

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("nothing_left_open")]


@pytest.mark.parametrize("few", [0, 1000], ids=["sorted in a thread", "sorted at once"])
async def test_a_changed_route_keeps_the_socket_and_leads_new_visitors_elsewhere(
    few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listeners, "_FEW", few)
    async with gateway_parts() as parts, hand_driven(parts.control) as homelab:
        address = await parts.listen(route("blog", service="web"))
        inode = listening_inode(address)

        await parts.put(listener(address, route("wiki", service="web")))

        assert listening_inode(address) == inode
        async with visit(address):
            offer = await homelab.next_offer()
            assert isinstance(offer.header, OpenHeader)
            assert offer.header.tunnel == "wiki"


async def test_a_visitor_keeps_the_client_it_was_led_to_when_the_route_changes(journal: Journal) -> None:
    async with gateway_parts() as parts:
        address = await parts.listen(route("blog", clients=["homelab"]))
        async with hand_driven(parts.control) as homelab, hand_driven(parts.control, "office"):
            async with visit(address) as visitor:
                offer = await homelab.next_offer()
                offer.stream.accept()

                await parts.put(listener(address, route("blog", clients=["office"])))

                offer.stream.send(b"still here")
                assert await visitor.receive() == b"still here"
                offer.stream.send_fin()
                visitor.end()
            line = await journal.wait_for("visitor_left")
            assert (line["client"], line["end"]) == ("homelab", "done")


async def test_visitors_of_a_closed_port_may_finish_and_new_ones_are_not_let_in(journal: Journal) -> None:
    async with gateway_parts() as parts, hand_driven(parts.control) as homelab:
        address = await parts.listen(route())
        async with visit(address) as visitor:
            offer = await homelab.next_offer()
            offer.stream.accept()

            await parts.drop(key_of(listener(address)))

            with pytest.raises(ConnectionRefusedError):
                async with visit(address):
                    pass
            await visitor.send(b"go on")
            offer.stream.send(b"still here")
            assert await visitor.receive() == b"still here"
            offer.stream.send_fin()
            visitor.end()
        line = await journal.wait_for("visitor_left")
        assert (line["end"], line["bytes_in"], line["bytes_out"]) == ("done", 5, 10)


async def test_a_port_is_free_for_another_listener_as_soon_as_it_is_closed() -> None:
    async with gateway_parts() as parts:
        address = await parts.listen(route())

        for _ in range(3):
            await parts.drop(key_of(listener(address)))
            await parts.put(listener(address, route()))

        assert parts.actuator.observe()[key_of(listener(address))].phase is Phase.OPEN


async def test_a_port_that_is_taken_fails_and_is_opened_when_it_is_free() -> None:
    address = free_listen()
    async with gateway_parts() as parts:
        with bind(address), pytest.raises(ActionError, match="is taken by another program"):
            await parts.put(listener(address, route()))

        await parts.put(listener(address, route()))

        assert parts.actuator.observe()[key_of(listener(address))].phase is Phase.OPEN


async def test_a_port_that_cannot_be_opened_leaves_no_socket_behind() -> None:
    address = free_listen()
    async with gateway_parts() as parts:
        with bind(address):
            before = open_sockets()
            with pytest.raises(ActionError):
                await parts.put(listener(address, route()))
            assert open_sockets() == before


async def test_a_port_whose_socket_dies_is_seen_to_have_failed_and_opened_anew() -> None:
    async with gateway_parts() as parts, hand_driven(parts.control) as homelab:
        address = await parts.listen(route())
        key = key_of(listener(address))
        break_listening(address)

        assert parts.actuator.observe()[key].phase is Phase.FAILED
        assert parts.rings == 1

        await parts.put(listener(address, route()))
        assert parts.actuator.observe()[key].phase is Phase.OPEN
        async with visit(address):
            await homelab.next_offer()


# Python's own loop keeps the port, too, and says a thousand times that it has no descriptor.
@pytest.mark.parametrize("anyio_backend", [pytest.param(("asyncio", {"use_uvloop": True}), id="uvloop")])
async def test_a_machine_without_descriptors_keeps_its_public_ports() -> None:
    async with gateway_parts() as parts, hand_driven(parts.control) as homelab:
        address = await parts.listen(route())
        with unconnected(address) as unlucky:
            with no_descriptors_left():
                await unlucky.connect(address)
                for _ in range(10):  # the loop looks at its sockets
                    await anyio.lowlevel.checkpoint()

            assert parts.actuator.observe()[key_of(listener(address))].phase is Phase.OPEN
        async with visit(address):
            await homelab.next_offer()


async def test_everyone_is_turned_away_at_the_end(journal: Journal) -> None:
    async with gateway_parts() as parts, hand_driven(parts.control) as homelab:
        raw = await parts.listen(route())
        peeking = await parts.listen(route("site", "a.example"))
        async with visit(raw) as joined, visit(raw) as opening, visit(peeking) as silent:
            (await homelab.next_offer()).stream.accept()
            await homelab.next_offer()
            await silent.send(b"G")
            await until(lambda: len(parts.listeners._visitors) == 3)

            parts.listeners.turn_everyone_away()

            for visitor in (joined, opening, silent):
                assert await visitor.wait_reset() == b""
        await journal.wait_for("visitor_left", count=3)


# Handed over


@asynccontextmanager
async def handed_listener(parts: GatewayParts) -> AsyncIterator[tuple[ListenAddress, anyio.Event]]:
    """A port that is older than the gateway, and when the gateway has opened it."""
    handed = opened()
    address = ListenAddress(*handed.getsockname())
    has_opened = anyio.Event()
    with handed_over(handed) as inherited:
        opening = PublicListeners(parts.sessions, parts.tunnels, Ports(inherited).bind)

        async def open_port() -> None:
            made = await opening(listener(address, route()), lambda death: None)
            has_opened.set()
            try:
                await anyio.sleep_forever()
            finally:
                with anyio.CancelScope(shield=True):
                    await made.close()
                opening.turn_everyone_away()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(open_port)
            yield address, has_opened
            tasks.cancel_scope.cancel()


async def test_a_port_that_was_handed_over_is_not_lost_when_opening_it_is_interrupted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(listeners, "_COMEBACK", PATIENCE)
    handed = opened()
    address = ListenAddress(*handed.getsockname())
    async with gateway_parts() as parts:
        with handed_over(handed) as inherited:
            ports = Ports(inherited)
            opening = PublicListeners(parts.sessions, parts.tunnels, ports.bind)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(opening, listener(address, route()), lambda death: None)
                await until(lambda: not inherited.has(address))
                tasks.cancel_scope.cancel()

            monkeypatch.setattr(listeners, "_COMEBACK", 0.0)
            again = PublicListeners(parts.sessions, parts.tunnels, ports.bind)
            opened_again = await again(listener(address, route()), lambda death: None)
            assert not inherited.has(address)
            await opened_again.close()


async def test_visitors_of_a_port_that_was_handed_over_wait_for_the_client_that_serves_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(listeners, "_COMEBACK", PATIENCE)
    async with (
        gateway_parts() as parts,
        handed_listener(parts) as (address, has_opened),
        visit(address) as visitor,
    ):
        await anyio.wait_all_tasks_blocked()
        assert not has_opened.is_set()
        async with hand_driven(parts.control) as homelab:
            await homelab.join(visitor)
            assert has_opened.is_set()


async def test_a_client_that_does_not_come_keeps_no_port_closed(
    monkeypatch: pytest.MonkeyPatch, journal: Journal
) -> None:
    monkeypatch.setattr(listeners, "_COMEBACK", 0.01)
    async with gateway_parts() as parts, handed_listener(parts) as (address, has_opened):
        await has_opened.wait()
        async with visit(address) as visitor:
            assert await visitor.receive_all() == b""
        await journal.wait_for("visitor_refused")


async def test_a_port_that_the_gateway_opens_itself_waits_for_nobody() -> None:
    """Nobody can have connected before, and whoever does now is told that the client is away."""
    async with gateway_parts() as parts:
        address = await parts.listen(route())
        async with visit(address) as visitor:
            assert await visitor.receive_all() == b""
