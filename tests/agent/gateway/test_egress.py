"""What clients have the gateway dial: by the rules in force, counted, and cut when no longer allowed."""

from __future__ import annotations

import socket
from ipaddress import ip_address

import anyio
import anyio.from_thread
import pytest
from anyio.lowlevel import current_token

from agent.gateway import egress_connection
from agent.gateway.connected_client import dial_nobody
from agent.gateway.egress import NOTHING
from agent.gateway.egress_rules import Standing
from agent.gateway.special_addresses import Address
from reconcile.actuator import ActionError
from reconcile.desired import Key, Kind, key_of
from reconcile.observed import Phase
from schemas.messages import Drain, FailureCode, StreamDialed
from schemas.names import ClientId, ListenAddress
from schemas.status import Traffic
from tests.support.asking import Program, asking, egress, rule
from tests.support.gateway_parts import gateway_parts, hand_driven, route
from tests.support.journal import Journal
from tests.support.peers import blackhole, free_listen, service, until

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("nothing_left_open")]

HOMELAB = ClientId("homelab")
HERE = rule("127.0.0.0/8")


async def test_a_client_talks_with_what_it_asked_for(journal: Journal) -> None:
    with service() as mail:
        async with asking(HERE) as (parts, program):
            stream = program.ask(mail.target, b"EHLO")
            far = await mail.accept()
            assert await far.receive_exactly(4) == b"EHLO"
            await far.send(b"250 hello")
            assert await stream.receive() == b"250 hello"
            assert (parts.egress.open, parts.egress.open_of(HOMELAB)) == (1, 1)

            await stream.send_eof()
            assert await far.receive_all() == b""
            far.end()
            line = await journal.wait_for("egress_closed")
            assert isinstance(line.pop("seconds"), float)
            assert line == {
                "event": "egress_closed",
                "level": "info",
                "client": "homelab",
                "destination": mail.target,
                "address": mail.target.partition(":")[0],
                "end": "done",
                "reason": None,
                "bytes_in": 9,
                "bytes_out": 4,
            }
            assert parts.sessions.traffic[HOMELAB].snapshot() == Traffic(total=1, bytes_in=9, bytes_out=4)
            assert (parts.egress.open, parts.egress.open_of(HOMELAB)) == (0, 0)


async def test_the_client_is_told_from_where_it_was_dialed_before_anything_that_is_answered() -> None:
    with service() as mail:
        async with asking(HERE) as (_, program):
            stream = program.ask(mail.target)
            far = await mail.accept()
            await far.send(b"220 ready")
            assert await stream.receive() == b"220 ready"

            assert program.client.messages == [
                StreamDialed(stream=stream.stream.id, source=far.socket.getpeername())
            ]


async def test_who_speaks_first_is_heard_first() -> None:
    with service() as mail:
        async with asking(HERE) as (_, program):
            stream = program.ask(mail.target)
            await (await mail.accept()).send(b"220 ready")
            assert await stream.receive() == b"220 ready"


async def test_what_is_said_before_anybody_has_answered_arrives_and_its_end_too() -> None:
    with service() as mail:
        async with asking(HERE) as (_, program):
            stream = program.ask(mail.target, b"all ")
            await stream.send(b"of it")
            await stream.send_eof()
            assert await (await mail.accept()).receive_all() == b"all of it"


async def test_more_than_may_wait_for_an_answer_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with blackhole() as hole:
        async with asking(HERE) as (parts, program):
            stream = program.ask(hole.target)
            await until(hole.has_caller)
            ((client,),) = map(tuple, parts.sessions.connected().values())
            monkeypatch.setattr(client.session.link.held, "_limit", 1_000)
            await stream.send(bytes(2_000))

            assert (await program.refusal(stream))[0] is FailureCode.OTHER
            await until(lambda: not parts.egress.open)


async def test_each_direction_ends_alone_and_a_reset_crosses() -> None:
    with service() as mail:
        async with asking(HERE) as (_, program):
            stream = program.ask(mail.target)
            far = await mail.accept()
            far.end()
            with pytest.raises(anyio.EndOfStream):
                await stream.receive()
            await stream.send(b"still here")
            assert await far.receive_exactly(10) == b"still here"
            stream.stream.reset()
            assert await far.wait_reset() == b""

            stream = program.ask(mail.target)
            (await mail.accept()).reset()
            with pytest.raises(anyio.BrokenResourceError):
                await stream.receive()


async def test_a_half_closed_connection_lingers_as_a_visitors() -> None:
    with service() as mail:
        async with asking(HERE) as (parts, program):
            stream = program.ask(mail.target)
            far = await mail.accept()
            await stream.send_eof()
            assert await far.receive_all() == b""
            ((client,),) = map(tuple, parts.sessions.connected().values())
            await until(lambda: bool(client.lingering._connections))
            for _ in range(5):
                client.lingering.look()

            assert await far.receive_until_gone() == b""


async def test_the_end_of_a_session_ends_what_it_asked_for(journal: Journal) -> None:
    with service() as mail:
        async with asking(HERE) as (parts, program):
            program.ask(mail.target)
            far = await mail.accept()
            program.client.session.close("a test")

            assert await far.wait_reset() == b""
            await journal.wait_for("egress_closed", end="stream_reset")
            assert parts.egress.open == 0


# Refusals


async def test_a_gateway_without_rules_refuses_and_says_what_to_add(journal: Journal) -> None:
    told = (
        "the client homelab may not reach mail.example.com:25: add to egress.allow in the gateway's file "
        '{client: homelab, to: "mail.example.com", ports: 25}'
    )
    async with asking() as (parts, program):
        assert await program.is_refused("mail.example.com:25", b"EHLO") == (FailureCode.NOT_ALLOWED, told)
        line = journal.find("egress_refused")[0]
        assert (line["client"], line["destination"], line["code"], line["reason"]) == (
            "homelab",
            "mail.example.com:25",
            "not_allowed",
            told,
        )

        await parts.drop(Key(kind=Kind.EGRESS, name=""))
        assert await program.is_refused("mail.example.com:25") == (FailureCode.NOT_ALLOWED, told)


async def test_a_refused_destination_is_never_dialed_nor_looked_for() -> None:
    with service() as mail:
        async with asking(rule("*.example.com")) as (parts, program):
            parts.zone["mail.example.org"] = [
                "127.0.0.1"
            ]  # and any other name would be an error of another kind
            assert (await program.is_refused(mail.target))[0] is FailureCode.NOT_ALLOWED
            assert (await program.is_refused("no.such.name:25"))[0] is FailureCode.NOT_ALLOWED
            assert not mail.has_caller()


@pytest.mark.parametrize("host", ["2130706433", "0177.0.0.1", "0x7f.1", "127.1"])
async def test_a_number_in_another_spelling_is_no_name(host: str) -> None:
    """The system's resolver would take each of these for 127.0.0.1."""
    assert socket.getaddrinfo(host, None)[0][4][0] == "127.0.0.1"
    async with asking(rule("*", "127.0.0.1")) as (_, program):
        code, told = await program.is_refused(f"{host}:25")

    assert code is FailureCode.NOT_ALLOWED
    assert told.startswith(f"{host} is no name")


async def test_a_name_that_leads_to_a_neighbor_is_refused_and_not_told_where(journal: Journal) -> None:
    with service() as mail:
        address, _, port = mail.target.partition(":")
        async with asking(rule("*")) as (parts, program):
            parts.zone["rebound.example.com"] = [address, f"::ffff:{address}", "::1", "10.0.0.1"]
            code, told = await program.is_refused(f"rebound.example.com:{port}")

            assert code is FailureCode.NOT_ALLOWED
            assert address not in told
            reason = journal.find("egress_refused")[0]["reason"]
            assert reason.startswith(f"rebound.example.com leads to {address}:{port}, which is loopback: ")
            assert f'to: "{address}"' in reason
            assert not mail.has_caller()


async def test_of_the_addresses_of_a_name_only_those_that_are_allowed_are_dialed() -> None:
    with service() as open_one:
        address, _, port = open_one.target.partition(":")
        with service(ListenAddress(free_listen().host, int(port))) as trap:
            async with asking(rule("mail.example.com", address)) as (parts, program):
                parts.zone["mail.example.com"] = [trap.target.partition(":")[0], address]
                stream = program.ask(f"mail.example.com:{port}")
                await (await open_one.accept()).send(b"220")

                assert await stream.receive() == b"220"
                assert not trap.has_caller()


async def test_a_name_is_looked_up_once_and_what_was_checked_is_dialed() -> None:
    """An answer that changes between two questions finds no second question."""
    with service() as mail:
        address, _, port = mail.target.partition(":")
        async with asking(rule("mail.example.com", address)) as (parts, program):
            answers: list[list[Address]] = [[ip_address(address)], [ip_address("127.0.0.1")]]
            asked: list[str] = []

            def changing(name: str) -> list[Address]:
                asked.append(name)
                return answers.pop(0)

            parts.egress.names._look_up = changing
            program.ask(f"mail.example.com:{port}")
            await mail.accept()
            assert asked == ["mail.example.com"]


async def test_the_gateways_own_ports_are_refused_on_every_address_of_its_machine(journal: Journal) -> None:
    async with asking(rule("127.0.0.0/8", "*")) as (parts, program):
        public = await parts.listen(route())
        for address in (parts.control, public):
            for host in (address.host, "127.0.0.1", "127.45.6.7", "[::ffff:127.0.0.1]"):
                code, _ = await program.is_refused(f"{host}:{address.port}")
                assert code is FailureCode.NOT_ALLOWED
        assert all(
            "one of the gateway's own ports: add to egress.allow" in line["reason"]
            for line in journal.find("egress_refused")
        )
        assert parts.egress.standing(ip_address("8.8.8.8"), public.port) is Standing.ELSEWHERE
        translated = ip_address(f"64:ff9b::{public.host}")  # by a translator that would come back
        assert parts.egress.standing(translated, public.port) is Standing.OWN_PORT

        await parts.put(egress(rule(parts.control.host, ports=str(parts.control.port))))
        program.ask(str(parts.control))
        await until(lambda: parts.egress.open_of(HOMELAB) == 1)


# What comes of dialing


async def test_a_name_without_an_address_is_unresolvable() -> None:
    async with asking(rule("*")) as (_, program):
        assert await program.is_refused("nobody.example.com:25") == (
            FailureCode.UNRESOLVABLE,
            "nobody.example.com:25: the gateway finds no address of that name",
        )


async def test_where_nothing_listens_the_connection_is_refused() -> None:
    address = free_listen()
    async with asking(HERE) as (_, program):
        assert await program.is_refused(str(address)) == (
            FailureCode.CONNECTION_REFUSED,
            f"{address}: connection refused",
        )


async def test_who_does_not_answer_in_time_has_timed_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(egress_connection, "DIAL_TIMEOUT", 0.05)
    with blackhole() as hole:
        async with asking(HERE) as (parts, program):
            code, _ = await program.is_refused(hole.target)

            assert code is FailureCode.TIMED_OUT
            assert parts.egress.open == 0


async def test_a_connection_is_made_from_the_address_that_the_file_says() -> None:
    with service() as mail:
        async with asking(HERE, bind=("127.0.0.77",)) as (_, program):
            program.ask(mail.target)
            assert (await mail.accept()).socket.getpeername()[0] == "127.0.0.77"


async def test_an_address_to_dial_from_that_is_not_this_machines_is_named_in_the_log_alone(
    journal: Journal,
) -> None:
    with service() as mail:
        async with asking(HERE) as (parts, program):
            with pytest.raises(
                ActionError, match=r"egress.bind: 198.51.100.77 is not an address of this machine"
            ):
                await parts.put(egress(HERE, bind=("198.51.100.77",)))
            code, told = await program.is_refused(mail.target)

            assert (code, told) == (
                FailureCode.OTHER,
                f"{mail.target}: the gateway cannot dial; look into its log",
            )
            reason = journal.find("egress_failed")[0]["reason"]
            assert reason.startswith("egress.bind: 198.51.100.77 is not an address of this machine")


async def test_rules_whose_address_to_dial_from_is_missing_are_in_force_where_they_allow_less() -> None:
    missing = ("198.51.100.77",)
    with service() as mail:
        async with gateway_parts() as parts:
            with pytest.raises(ActionError, match="is not an address of this machine"):
                await parts.put(egress(HERE, bind=missing))
            assert parts.actuator.observe()[Key(kind=Kind.EGRESS, name="")].phase is Phase.FAILED
            async with hand_driven(parts.control) as client:
                program = Program(client)
                assert (await program.is_refused(mail.target))[0] is FailureCode.NOT_ALLOWED
                await parts.put(egress(HERE))
                program.ask(mail.target)
                far = await mail.accept()
                with pytest.raises(ActionError):
                    await parts.put(egress(bind=missing))
                assert await far.wait_reset() == b""


async def test_a_family_without_an_address_to_dial_from_is_not_dialed(journal: Journal) -> None:
    async with asking(rule("::1"), bind=("127.0.0.1",)) as (_, program):
        code, _ = await program.is_refused("[::1]:25")

        assert code is FailureCode.NETWORK_UNREACHABLE
        assert "egress.bind has no address of that family" in journal.find("egress_failed")[0]["reason"]


async def test_dialing_stops_when_nobody_wants_it_any_more(journal: Journal) -> None:
    with blackhole() as hole:
        async with asking(HERE) as (parts, program):
            stream = program.ask(hole.target)
            await until(hole.has_caller)
            assert parts.egress.open == 1
            stream.stream.reset()
            await journal.wait_for("egress_abandoned")

            await until(lambda: not hole.has_caller())
            assert parts.egress.open == 0


# Changes


async def test_a_connection_that_is_no_longer_allowed_is_cut_and_the_others_stay(journal: Journal) -> None:
    with service() as mail, service() as web:
        async with asking(HERE) as (parts, program):
            streams = [program.ask(one.target) for one in (mail, web)]
            ends = [await one.accept() for one in (mail, web)]
            await until(lambda: parts.egress.open_of(HOMELAB) == 2)
            fewer = egress(rule(web.target.partition(":")[0]))
            assert parts.egress.losing(fewer) == {HOMELAB: 1}
            assert parts.egress.losing(NOTHING) == {HOMELAB: 2}
            assert parts.egress.losing(egress(HERE)) == {}

            await parts.put(fewer)
            assert await ends[0].wait_reset() == b""
            with pytest.raises(anyio.BrokenResourceError):
                await streams[0].receive()
            line = await journal.wait_for("egress_closed")
            assert line["destination"] == mail.target
            assert line["reason"].startswith("it is no longer allowed: ")
            assert "add to egress.allow" in line["reason"]
            await ends[1].send(b"still here")
            assert await streams[1].receive() == b"still here"

            await parts.drop(key_of(fewer))
            assert await ends[1].wait_reset() == b""


async def test_rules_that_change_during_a_dial_count() -> None:
    with service() as mail:
        address, _, port = mail.target.partition(":")
        async with asking(rule("mail.example.com", address)) as (parts, program):
            parts.zone["mail.example.com"] = [address]
            look_up, token = parts.egress.names._look_up, current_token()

            def changed(name: str) -> list[Address]:
                anyio.from_thread.run(parts.put, egress(rule("www.example.com")), token=token)
                return look_up(name)

            parts.egress.names._look_up = changed
            assert (await program.is_refused(f"mail.example.com:{port}"))[0] is FailureCode.NOT_ALLOWED


async def test_a_gateway_that_drains_dials_nothing_more_and_keeps_what_there_is() -> None:
    with service() as mail:
        async with asking(HERE) as (parts, program):
            stream = program.ask(mail.target)
            far = await mail.accept()
            await far.send(b"1")
            assert await stream.receive() == b"1"
            parts.sessions.drain()
            parts.egress.drain()
            await until(lambda: Drain() in program.client.messages)
            program.client.messages.clear()

            code, told = await program.is_refused(mail.target)
            assert (code, told) == (FailureCode.OTHER, "the gateway is stopping; ask another one")
            await far.send(b"2")
            assert await stream.receive() == b"2"

            parts.egress.turn_everyone_away()
            assert await far.wait_reset() == b""
            await until(lambda: not parts.egress.open)


async def test_a_gateway_that_has_no_egress_at_all_says_so() -> None:
    async with gateway_parts() as parts:
        parts.sessions.ask_egress = dial_nobody
        async with hand_driven(parts.control) as client:
            assert await Program(client).is_refused("a.example:1") == (
                FailureCode.NOT_ALLOWED,
                "the gateway dials nobody",
            )
