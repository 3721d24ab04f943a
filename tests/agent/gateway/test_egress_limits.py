"""However much clients ask for, the gateway stays there for its visitors and for each other client."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from anyio.lowlevel import checkpoint

from agent.gateway import egress as egress_module
from agent.gateway import egress_attempts, egress_room
from agent.gateway.egress_rules import Standing
from agent.gateway.special_addresses import Address
from agent.process.descriptors import Use
from schemas.messages import FailureCode
from schemas.names import ClientId
from tests.support.asking import Program, asking, rule
from tests.support.descriptors import room_left
from tests.support.gateway_parts import hand_driven, route
from tests.support.journal import Journal
from tests.support.peers import blackhole, service, until

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("nothing_left_open")]

HOMELAB = ClientId("homelab")
HERE = rule("127.0.0.0/8")


async def test_a_connection_leaves_the_descriptors_that_the_agent_needs_itself() -> None:
    with service() as mail:
        async with asking(HERE) as (parts, program):
            with room_left(Use.VISITOR, 0):
                code, told = await program.is_refused(mail.target)

            assert (code, told) == (FailureCode.OTHER, "the gateway is short of files")
            assert parts.egress.open == 0


async def test_a_client_that_dials_too_much_at_once_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(egress_module, "OPENING", 2)
    with blackhole() as hole, service() as mail:
        async with asking(HERE, rule("127.0.0.0/8", client="office")) as (parts, program):
            waiting = [program.ask(hole.target) for _ in range(2)]
            code, told = await program.is_refused(mail.target)
            assert (code, told) == (
                FailureCode.OTHER,
                "the client homelab dials 2 destinations already; wait for one of them",
            )

            async with hand_driven(parts.control, "office") as office:
                Program(office).ask(mail.target)
                await mail.accept()
            waiting[0].stream.reset()
            await until(lambda: len(parts.egress._opening[HOMELAB]) == 1)
            program.ask(mail.target)
            await mail.accept()


async def test_a_client_that_holds_its_share_of_the_files_gets_no_more_and_others_do(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Visitors need the rest, and no destination has to do anything for a client to hold them all."""
    monkeypatch.setattr(egress_room, "descriptor_limit", lambda: 12)
    with service() as mail:
        async with asking(HERE, rule("127.0.0.0/8", client="office")) as (parts, program):
            streams = [program.ask(mail.target) for _ in range(3)]
            ends = [await mail.accept() for _ in streams]
            await until(lambda: parts.egress.open_of(HOMELAB) == 3)
            code, told = await program.is_refused(mail.target)
            assert (code, told) == (
                FailureCode.OTHER,
                f"{mail.target}: the gateway has as many connections open for its clients, or for this one, "
                "as it may",
            )
            assert "raise the limit (LimitNOFILE" in journal.find("egress_failed")[0]["reason"]
            async with hand_driven(parts.control, "office") as office:
                Program(office).ask(mail.target)
                await mail.accept()

            ends[0].reset()
            await until(lambda: parts.egress.open_of(HOMELAB) == 2)
            program.ask(mail.target)
            await mail.accept()


async def test_every_socket_that_is_on_its_way_to_one_name_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """There are eight for each name whose addresses do not answer, and a client may ask for hundreds."""
    monkeypatch.setattr(egress_room, "descriptor_limit", lambda: 12)
    monkeypatch.setattr(egress_attempts, "NEXT_AFTER", 0.0)
    with blackhole(everywhere=True) as hole:
        async with asking(HERE) as (parts, program):
            parts.zone["far.example.com"] = [f"127.0.0.{number}" for number in range(200, 208)]
            stream = program.ask(f"far.example.com:{hole.address.port}")
            await until(lambda: hole.callers == 3)
            for _ in range(100):
                await checkpoint()
            assert (hole.callers, parts.egress.open) == (3, 1)

            stream.stream.reset()
            await until(lambda: not parts.egress.open and not hole.callers)
            assert not parts.egress.room._used


async def test_a_client_that_asks_in_vain_all_the_time_is_told_to_wait_and_fills_no_log(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(egress_room, "MOST_IN_VAIN", 3)
    async with asking(HERE) as (parts, program):
        parts.egress._pace = egress_room.Pace(lambda: 0.0)
        for _ in range(3):
            assert (await program.is_refused("10.0.0.1:25"))[0] is FailureCode.NOT_ALLOWED
        for _ in range(5):
            code, told = await program.is_refused("10.0.0.1:25")
            assert (code, told[-23:]) == (FailureCode.OTHER, "; wait for the next one")

        assert len(journal.find("egress_refused")) == 3
        (line,) = journal.find("egress_too_fast")
        assert line["client"] == "homelab"


async def test_of_the_addresses_of_a_name_so_many_are_judged_and_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever owns a name can give it thousands, and visitors wait while they are looked at."""
    judged: list[Address] = []
    async with asking(rule("*")) as (parts, program):

        def standing(address: Address, port: int) -> Standing:
            judged.append(address)
            return Standing.ELSEWHERE

        monkeypatch.setattr(parts.egress, "standing", standing)
        parts.zone["many.example.com"] = [f"10.{number >> 8}.{number & 255}.1" for number in range(4_000)]
        assert (await program.is_refused("many.example.com:25"))[0] is FailureCode.NOT_ALLOWED

    assert len(judged) == 64


async def test_the_ports_of_the_gateway_are_looked_up_again_when_there_are_others() -> None:
    async with asking() as (parts, _):
        here = ip_address("127.0.0.1")
        before = parts.egress._own_ports()
        assert parts.egress._own_ports() is before
        public = await parts.listen(route())
        assert parts.egress.standing(here, public.port) is Standing.OWN_PORT
