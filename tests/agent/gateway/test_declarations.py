"""What a client offers and declares counts as far as its rights go, and as long as it is there."""

from __future__ import annotations

import struct
from dataclasses import replace

import anyio
import pytest

from agent.gateway.connected_client import ConnectedClient
from reconcile.desired import AdmissionSpec
from schemas.messages import MAX_SERVICES, Declare, Drain, Services, ServicesRefused
from schemas.names import ClientId
from schemas.state import ClientEntry
from tests.support import pki
from tests.support.gateway_parts import admission, gateway_parts, hand_driven, route
from tests.support.journal import PATIENCE, Journal
from tests.support.peers import until, visit
from tests.support.tls_peers import context_with, knock
from transport.wire.control import encode_message
from transport.wire.frames import SYN

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("nothing_left_open")]


def having(*entries: ClientEntry) -> AdmissionSpec:
    """These clients may connect, with these rights."""
    return replace(admission(*(entry.id for entry in entries)), rights=entries)


def may(client: str, *services: str) -> ClientEntry:
    return ClientEntry(id=ClientId(client), services=services)


async def test_a_client_offers_only_what_it_may_and_is_told_what_is_ignored(journal: Journal) -> None:
    async with (
        gateway_parts(admitted=having(may("homelab", "w*"))) as parts,
        hand_driven(parts.control, services=["web", "mail", "ssh"]) as homelab,
    ):
        assert await homelab.next_message() == ServicesRefused(services=("mail", "ssh"))
        (sessions,) = parts.sessions.connected().values()
        assert sessions.services == {"web"}
        line = await journal.wait_for("services_refused", client="homelab")
        assert line["services"] == ("mail", "ssh")
        public = await parts.listen(route(service="mail"))
        async with visit(public) as visitor:
            assert await visitor.receive_until_gone() == b""
        assert not homelab.offers


async def test_a_service_that_is_offered_after_the_greeting_is_held_to_the_same_rights() -> None:
    async with (
        gateway_parts(admitted=having(may("homelab", "web"))) as parts,
        hand_driven(parts.control, services=["web"]) as homelab,
    ):
        public = await parts.listen(route(service="ssh"))
        homelab.session.tell(Services(services=("web", "ssh")))

        assert await homelab.next_message() == ServicesRefused(services=("ssh",))
        async with visit(public) as visitor:
            assert await visitor.receive_until_gone() == b""
        assert not homelab.offers
        homelab.session.tell(Services(services=("web",)))
        assert await homelab.next_message() == ServicesRefused(services=())


async def test_a_client_that_offers_what_it_may_not_again_and_again_costs_one_line(journal: Journal) -> None:
    async with (
        gateway_parts(admitted=having(may("homelab"))) as parts,
        hand_driven(parts.control, services=[]) as homelab,
    ):
        for number in range(5):
            homelab.session.tell(Services(services=(f"service-{number}",)))
            assert await homelab.next_message() == ServicesRefused(services=(f"service-{number}",))

        assert len(journal.find("services_refused")) == 1


async def test_a_client_with_a_thousand_services_costs_no_long_lines(journal: Journal) -> None:
    services = [f"{number:x>128}" for number in range(MAX_SERVICES)]
    async with (
        gateway_parts(admitted=having(may("homelab", "*5", "*0"))) as parts,
        hand_driven(parts.control, services=services) as homelab,
    ):
        refused = await homelab.next_message()
        assert isinstance(refused, ServicesRefused)
        assert len(refused.services) == 800
        for line in (await journal.wait_for("services_refused"), await journal.wait_for("client_connected")):
            assert len(line["services"]) == 50


async def test_rights_that_change_hold_at_once_and_visitors_who_are_there_stay() -> None:
    async with (
        gateway_parts(admitted=having(may("homelab", "web"))) as parts,
        hand_driven(parts.control, services=["web"]) as homelab,
    ):
        public = await parts.listen(route())
        async with visit(public) as visitor, visit(public) as late:
            offer = await homelab.join(visitor)
            await homelab.join(late)

            await parts.put(having(may("homelab", "mail")))

            assert await homelab.next_message() == ServicesRefused(services=("web",))
            async with visit(public) as turned_away:
                assert await turned_away.receive_until_gone() == b""
            offer.stream.send(b"still here")
            assert await visitor.receive_exactly(10) == b"still here"

        await parts.put(having(ClientEntry(id=ClientId("homelab"))))

        assert await homelab.next_message() == ServicesRefused(services=())
        async with visit(public) as visitor:
            await homelab.join(visitor)


class Heard:
    """Who hears of declarations."""

    def __init__(self) -> None:
        self.declared: list[tuple[str, int]] = []
        self.here: list[str] = []

    def welcomed(self, client: ConnectedClient) -> None:
        self.here.append(client.id)

    def declare(self, client: ConnectedClient, message: Declare) -> None:
        self.declared.append((client.id, message.number))

    def gone(self, client_id: ClientId) -> None:
        self.here.remove(client_id)


async def test_a_declaration_is_heard_from_the_process_that_is_there_now_and_from_no_other() -> None:
    heard = Heard()
    async with gateway_parts() as parts:
        parts.sessions.declarations = heard
        async with (
            hand_driven(parts.control, instance="old") as draining,
            hand_driven(parts.control, instance="old", session=2) as replaced,
        ):
            draining.session.tell(Drain())
            draining.session.tell(Declare(number=1, tunnels=()))
            replaced.session.tell(Declare(number=2, tunnels=()))
            with anyio.fail_after(PATIENCE):
                await until(lambda: bool(heard.declared))
            assert heard.declared == [("homelab", 2)]

            async with hand_driven(parts.control, instance="new") as newer:
                replaced.session.tell(Declare(number=3, tunnels=()))
                draining.session.tell(Declare(number=4, tunnels=()))
                newer.session.tell(Declare(number=5, tunnels=()))
                with anyio.fail_after(PATIENCE):
                    await until(lambda: len(heard.declared) > 1)

            assert heard.declared == [("homelab", 2), ("homelab", 5)]


async def test_a_client_is_gone_when_the_last_of_its_sessions_has_ended_and_not_before() -> None:
    heard = Heard()
    async with gateway_parts() as parts:
        parts.sessions.declarations = heard
        async with hand_driven(parts.control, instance="a") as one:
            async with hand_driven(parts.control, instance="a", session=2):
                assert heard.here == ["homelab", "homelab"]
            with anyio.fail_after(PATIENCE):
                await until(lambda: len(next(iter(parts.sessions.connected().values()))) == 1)
            assert heard.here == ["homelab", "homelab"]
            one.session.close("the test is over")
            with anyio.fail_after(PATIENCE):
                await until(lambda: len(heard.here) == 1)


async def test_a_declaration_before_the_greeting_is_over_ends_the_session(journal: Journal) -> None:
    heard = Heard()
    async with gateway_parts() as parts:
        parts.sessions.declarations = heard
        line = encode_message(Declare(number=1, tunnels=()))
        first_of_all = struct.pack(">BBHII", 0, 0, SYN, 1, len(line)) + line

        await knock(parts.control, context_with(pki.client()), first_of_all)

        refused = await journal.wait_for("client_refused")
        assert "began with declare instead of a hello" in refused["reason"]
        assert not heard.declared
