"""What a gateway reports of itself."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import pytest

from agent.gateway.lookout import STEP
from agent.gateway.revocation import REVOKED_HERE
from agent.gateway.status import GatewayReporter
from agent.process.bind import bind
from reconcile.loop import Reconciler
from schemas.messages import Drain
from schemas.names import ClientId, ListenAddress, ServiceName, TunnelName
from schemas.revocation import spell_serial
from schemas.state import ClientEntry, GatewaySettings, GatewayState, Revocation, Tunnel
from schemas.status import ConditionType, SessionStatus, Standing, Traffic, TunnelStatus
from tests.reconcile.loops import MemorySource
from tests.support import pki
from tests.support.authorities import serial
from tests.support.gateway_parts import GatewayParts, admission, gateway_parts, gateway_tls, hand_driven
from tests.support.journal import Journal
from tests.support.peers import free_listen, until, visit
from transport.session import SessionRefusedError

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("nothing_left_open")]

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)


class Place:
    """A gateway whose state and clock are the test's."""

    def __init__(self, parts: GatewayParts) -> None:
        self.parts = parts
        self.now = NOON
        self.source = MemorySource()
        self.reconciler = Reconciler(
            self.source, parts.actuator, random=lambda: 0.999, clock=self._clock, report=lambda turn: None
        )
        self.reporter = GatewayReporter(
            name="gw1",
            path=Path("gateway.yaml"),
            clock=self._clock,
            reconciler=self.reconciler,
            actuator=parts.actuator,
            sessions=parts.sessions,
            tunnels=parts.tunnels,
        )
        self._tls = gateway_tls(pki.gateway(parts.control.host))

    def hour_passes(self) -> None:
        self.now += timedelta(hours=1)

    async def declare(self, *tunnels: Tunnel, clients: tuple[str, ...] | None = None) -> None:
        """Write a state, and wait for the turn that applies it."""
        entries = None if clients is None else tuple(ClientEntry(id=ClientId(client)) for client in clients)
        settings = GatewaySettings(tls=self._tls, control=(self.parts.control,))
        self.source.put(GatewayState(gateway=settings, clients=entries, tunnels=tunnels))
        await self.reconciler.wait_turn(self.reconciler.ring())

    def tunnel(self, name: str = "blog") -> TunnelStatus:
        (found,) = [tunnel for tunnel in self.reporter.status().tunnels if tunnel.name == name]
        return found

    def client(self, client_id: str = "homelab") -> SessionStatus:
        (found,) = [client for client in self.reporter.status().clients if client.id == client_id]
        return found

    def _clock(self) -> datetime:
        return self.now


@asynccontextmanager
async def place() -> AsyncIterator[Place]:
    async with gateway_parts() as parts, anyio.create_task_group() as tasks:
        made = Place(parts)
        tasks.start_soon(made.reconciler.run)
        await made.reconciler.wait_turn(1)
        yield made
        tasks.cancel_scope.cancel()


def tunnel(name: str, *listen: ListenAddress, service: str = "web", client: str = "homelab") -> Tunnel:
    return Tunnel(
        name=TunnelName(name), listen=listen, client=(ClientId(client),), service=ServiceName(service)
    )


def reasons(of: TunnelStatus) -> dict[ConditionType, str]:
    return {condition.type: condition.reason for condition in of.conditions}


async def test_before_a_state_was_accepted_there_is_nothing_to_tell_but_that() -> None:
    async with place() as here:
        status = here.reporter.status()

        assert (status.name, status.role, status.ready) == ("gw1", "gateway", False)
        assert (status.tunnels, status.clients, status.source.generation) == ((), (), 0)


async def test_a_tunnel_through_which_a_visitor_gets_is_ready() -> None:
    async with place() as here, hand_driven(here.parts.control) as homelab:
        listen = free_listen()
        await here.declare(tunnel("blog", listen))
        async with visit(listen) as visitor:
            await homelab.join(visitor)
            told = here.tunnel()

        assert told.condition(ConditionType.READY).status
        assert (told.listen, told.client, told.service) == ((str(listen),), ("homelab",), "web")
        assert told.serving_client == "homelab"
        assert told.traffic == Traffic(open=1, total=1, bytes_in=0, bytes_out=7)
        assert here.reporter.status().ready


async def test_the_certificate_of_a_client_is_told_so_that_it_can_be_revoked() -> None:
    own = pki.client()
    async with place() as here, hand_driven(here.parts.control, credentials=own):
        told = here.client()
        assert told.serial is not None
        entry = Revocation.model_validate({"serial": told.serial, "fingerprint": told.fingerprint})
        assert entry.serial == serial(own)
        revoked = replace(admission(), revoked=(entry,))

        assert here.parts.sessions.losing(revoked) == {"homelab"}


async def test_of_a_client_that_has_gone_the_certificate_is_told_that_it_had(journal: Journal) -> None:
    own = pki.client()
    async with place() as here:
        await here.declare(clients=("homelab",))
        assert here.client().serial is None
        async with hand_driven(here.parts.control, credentials=own):
            there = here.client()
        await journal.wait_for("client_disconnected")

        told = here.client()
        assert not told.connected
        assert (told.serial, told.fingerprint) == (there.serial, there.fingerprint)
        assert told.serial == spell_serial(serial(own))


async def test_of_a_client_that_was_revoked_it_is_told_wherever_it_is_missed() -> None:
    stolen = pki.client()
    async with place() as here:
        await here.declare(tunnel("blog", free_listen()), clients=("homelab",))
        await here.parts.put(replace(admission("homelab"), revoked=(Revocation(serial=serial(stolen)),)))
        assert here.client().refused is None
        with pytest.raises(SessionRefusedError):
            async with hand_driven(here.parts.control, credentials=stolen):
                pass

        refused = here.client().refused
        assert refused is not None
        assert (refused.reason, refused.serial) == (REVOKED_HERE, spell_serial(serial(stolen)))
        missed = here.tunnel().condition(ConditionType.RESOLVED_REFS)
        assert missed.reason == "ClientAway"
        assert missed.message == f"homelab is not connected: it was refused, because {REVOKED_HERE}."


async def test_a_status_that_was_prepared_in_steps_is_a_whole_one_and_is_kept_until_something_changes() -> (
    None
):
    async with place() as here:
        one, other = free_listen(), free_listen()
        names = [f"tunnel-{number}" for number in range(2 * STEP + 1)]
        tunnels = [tunnel(name, one) for name in names]
        await here.declare(*tunnels)

        await here.reporter.catch_up()
        before = here.reporter.status().tunnels

        assert [told.name for told in before] == names
        assert {told.condition(ConditionType.PROGRAMMED).reason for told in before} == {"Programmed"}
        await here.declare(*tunnels[:-1], tunnel(names[-1], other))
        after = here.reporter.status().tunnels
        assert after[-1].listen == (str(other),)
        assert all(told is then for told, then in zip(here.reporter.status().tunnels, after, strict=True))


async def test_the_resources_are_told_with_their_phases() -> None:
    async with place() as here:
        listen = free_listen()
        await here.declare(tunnel("blog", listen))

        told = [(one.kind, one.name, one.phase) for one in here.reporter.status().resources]

        assert told == [
            ("admission", "", "open"),
            ("control", str(here.parts.control), "open"),
            ("listener", str(listen), "open"),
        ]


async def test_a_port_that_is_taken_is_a_tunnel_that_is_not_programmed() -> None:
    async with place() as here, hand_driven(here.parts.control):
        listen = free_listen()
        with bind(listen):
            await here.declare(tunnel("blog", listen))

        assert reasons(here.tunnel())[ConditionType.PROGRAMMED] == "AddressInUse"
        assert reasons(here.tunnel())[ConditionType.READY] == "AddressInUse"
        assert not here.reporter.status().ready


async def test_since_is_when_something_changed_and_not_when_somebody_asked(journal: Journal) -> None:
    async with place() as here:
        await here.declare(tunnel("blog", free_listen()))
        here.reporter.look()
        here.hour_passes()
        assert here.tunnel().condition(ConditionType.RESOLVED_REFS).since == NOON

        async with hand_driven(here.parts.control):
            here.reporter.look()
            here.hour_passes()
            resolved = here.tunnel().condition(ConditionType.RESOLVED_REFS)
            assert (resolved.status, resolved.since) == (True, NOON + timedelta(hours=1))
            assert here.tunnel().condition(ConditionType.PROGRAMMED).since == NOON


async def test_a_client_that_is_not_served_any_more_makes_its_tunnels_not_ready(journal: Journal) -> None:
    async with place() as here:
        await here.declare(tunnel("blog", free_listen()))
        async with hand_driven(here.parts.control):
            assert here.tunnel().serving_client == "homelab"
        await journal.wait_for("client_disconnected")

        assert here.tunnel().serving_client is None
        assert reasons(here.tunnel())[ConditionType.READY] == "ClientAway"


async def test_a_service_that_the_client_does_not_offer_is_told() -> None:
    async with place() as here, hand_driven(here.parts.control, services=["smtp"]):
        await here.declare(tunnel("blog", free_listen()))

        assert reasons(here.tunnel())[ConditionType.RESOLVED_REFS] == "ServiceUnknown"


async def test_a_tunnel_keeps_the_generation_that_declared_it_as_it_is() -> None:
    async with place() as here:
        blog, mail = tunnel("blog", free_listen()), tunnel("mail", free_listen())
        await here.declare(blog, mail)
        here.reporter.look()

        await here.declare(blog, tunnel("mail", *mail.listen, service="smtp"))

        generations = {
            told.name: {condition.observed_generation for condition in told.conditions}
            for told in here.reporter.status().tunnels
        }
        assert generations == {"blog": {1}, "mail": {2}}


async def test_a_tunnel_that_is_removed_is_told_no_more() -> None:
    async with place() as here:
        blog, mail = tunnel("blog", free_listen()), tunnel("mail", free_listen())
        await here.declare(blog, mail)
        here.reporter.look()

        await here.declare(mail)

        assert [told.name for told in here.reporter.status().tunnels] == ["mail"]


async def test_every_client_that_is_declared_or_was_ever_there_is_told(journal: Journal) -> None:
    async with place() as here:
        await here.declare(tunnel("blog", free_listen()))
        async with hand_driven(here.parts.control, "laptop"):
            pass
        await journal.wait_for("client_disconnected")
        async with hand_driven(here.parts.control, services=["web", "smtp"]):
            await here.declare(tunnel("blog", free_listen()), clients=("homelab", "office"))

            homelab = here.client("homelab")
            assert (homelab.connected, homelab.declared) == (True, True)
            assert (homelab.services, homelab.software) == (("smtp", "web"), "test/1")
            assert homelab.address is not None
            office, laptop = here.client("office"), here.client("laptop")
            assert (office.connected, office.declared, office.address) == (False, True, None)
            assert (laptop.connected, laptop.declared, laptop.services) == (False, False, ())
            assert laptop.since == here.parts.sessions.last_seen(ClientId("laptop"))


async def test_a_client_is_told_once_with_the_number_of_its_sessions(journal: Journal) -> None:
    async with place() as here, hand_driven(here.parts.control, instance="a", session=2) as two:
        await here.declare(tunnel("blog", free_listen()))
        async with hand_driven(here.parts.control, instance="a", services=["web", "smtp"]) as one:
            told = here.client()
            assert (told.connected, told.sessions, told.services) == (True, 2, ("smtp", "web"))
            assert told.address == "{}:{}".format(*one.session.link._transport.get_extra_info("sockname"))
        await journal.wait_for("client_disconnected")
        assert (here.client().connected, here.client().sessions) == (True, 1)
        assert here.client().since == told.since

        two.session.close("the test")
        await journal.wait_for("client_disconnected", count=2)
        assert (here.client().connected, here.client().sessions) == (False, 0)


async def test_a_tunnel_is_ready_while_one_session_of_its_client_can_serve() -> None:
    async with (
        place() as here,
        hand_driven(here.parts.control, instance="a", session=1) as one,
        hand_driven(here.parts.control, instance="a", session=2) as two,
    ):
        await here.declare(tunnel("blog", free_listen()))
        changes = here.parts.changes

        one.session.tell(Drain())
        await until(lambda: here.parts.changes > changes)
        assert here.tunnel().serving_client == "homelab"

        two.session.tell(Drain())
        await until(lambda: here.parts.changes > changes + 1)
        assert reasons(here.tunnel())[ConditionType.READY] == "ClientAway"


async def test_the_traffic_of_a_client_is_that_of_all_its_tunnels(journal: Journal) -> None:
    async with place() as here, hand_driven(here.parts.control) as homelab:
        one, other = free_listen(), free_listen()
        await here.declare(tunnel("blog", one), tunnel("mail", other))
        for listen in (one, other):
            async with visit(listen) as visitor:
                offer = await homelab.join(visitor)
                await visitor.send(b"four")
                await until(lambda offer=offer: bytes(offer._early) == b"four")  # type: ignore[misc] # bound now
                visitor.reset()
        await journal.wait_for("visitor_left", count=2)

        assert here.client().traffic == Traffic(open=0, total=2, bytes_in=8, bytes_out=14)
        assert here.tunnel("mail").traffic == Traffic(open=0, total=1, bytes_in=4, bytes_out=7)


async def test_of_a_tunnel_with_several_clients_it_is_told_how_each_of_them_stands_now() -> None:
    async with (
        place() as here,
        hand_driven(here.parts.control) as homelab,
        hand_driven(here.parts.control, "office"),
    ):
        listen = free_listen()
        names = tuple(ClientId(name) for name in ("homelab", "office", "attic"))
        await here.declare(tunnel("blog", listen).model_copy(update={"client": names}))
        async with visit(listen) as visitor:
            await homelab.join(visitor)
            told = here.tunnel()
            assert told == here.tunnel()
            here.parts.sessions.balancer.doubts.failed(names[0], ServiceName("web"), time.monotonic())
            later = here.tunnel()

    assert [(one.id, one.standing, one.visitors) for one in told.clients] == [
        ("homelab", Standing.SERVES, 1),
        ("office", Standing.STANDS_BY, 0),
        ("attic", Standing.AWAY, 0),
    ]
    assert (told.serving_client, later.serving_client) == ("homelab", "office")
    assert later.clients[0].standing is Standing.DOUBTED
