"""What becomes of programs that use the SOCKS5 port, from their first byte to their line in the log."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import anyio
import pytest

from agent.client import socks5_door
from agent.client.socks5_door import Credentials
from agent.process.descriptors import Use
from schemas.messages import FailureCode
from schemas.names import HostPort
from tests.support.asking import egress
from tests.support.descriptors import room_left
from tests.support.home import HOMELAB, link_to
from tests.support.journal import PATIENCE, Journal
from tests.support.peers import Peer, free_listen, service, unconnected, until
from tests.support.socks5_programs import (
    OPEN,
    Asked,
    Socks,
    at,
    hear_success,
    password_in,
    request,
    socks,
    succeeded,
    wanted,
)
from transport.wire import keepalive
from transport.wire.socks5 import Login, Method, Reply, encode_greeting, encode_login

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("nothing_left_open")]

GATEWAY_SAID: Final = "the words of the gateway"


async def ended(journal: Journal) -> dict[str, Any]:
    """The one line about the one program."""
    line = await journal.wait_for_any("program_left", "program_refused")
    assert len(journal.find("program_left")) + len(journal.find("program_refused")) == 1
    return line


async def hear(program: Peer) -> bytes:
    """All that a program hears, who goes then: it is waited for while it reads."""
    heard = await program.receive_all()
    program.close()
    return heard


async def answer_to(program: Peer, first: bytes) -> bytes:
    """All that a program hears that says only that."""
    await program.send(first)
    return await hear(program)


async def lose_session(here: Socks, gateway: int = 0) -> None:
    (client,) = here.gateways[gateway].sessions.connected()[HOMELAB]
    client.session.link.abort()


# Led where it wants to go


async def test_a_program_is_led_where_it_wants_and_counted(journal: Journal) -> None:
    with service() as far:
        address = at(far)
        async with socks(journal) as here:
            async with here.led(address) as program:
                there = await far.accept()
                await program.send(b"question")
                assert await there.receive_exactly(8) == b"question"
                await there.send(b"an answer")
                assert await program.receive_exactly(9) == b"an answer"
                assert here.ports.open == 1
                program_address = program.address
                program.end()
                assert await there.receive_all() == b""
                there.end()
                assert await program.receive_all() == b""
            line = await ended(journal)

            assert line["event"] == "program_left"
            assert line["program"] == program_address
            assert line["to"] == str(address)
            assert line["gateway"] == str(here.gateway.control)
            assert (line["end"], line["bytes_in"], line["bytes_out"]) == ("done", 9, 8)
            status = here.ports.status()
            assert status is not None
            traffic = status.traffic
            assert (traffic.open, traffic.total, traffic.bytes_in, traffic.bytes_out) == (0, 1, 9, 8)
            assert here.ports.open == 0


async def test_the_reply_comes_before_the_first_byte_of_whoever_speaks_first(journal: Journal) -> None:
    with service() as far:
        async with socks(journal) as here, here.program() as program:
            await program.send(OPEN + request(at(far)))
            there = await far.accept()
            reply = succeeded(there)
            await there.send(b"220 mail.example ready\r\n")
            there.end()
            program.end()

            assert await program.receive_all() == b"\x05\x00" + reply + b"220 mail.example ready\r\n"


async def test_the_reply_has_the_address_from_which_the_gateway_dialed(journal: Journal) -> None:
    """RFC 1928, section 6. A gateway of before that was told says nothing, and the reply has 0.0.0.0:0."""
    old = Asked()
    async with socks(journal, asked=[old]) as here, here.program() as program:
        await program.send(OPEN + request("mx.example", 25))
        first, second = await old.next(), b"\x05\x00"
        first.stream.accept()
        first.stream.send_fin()
        program.end()
        assert await program.receive_all() == second + b"\x05\x00\x00\x01" + bytes(6)

        async with here.program() as again:
            await again.send(OPEN + request("mx.example", 25))
            offer = await old.next()
            (client,) = here.gateway.sessions.connected()[HOMELAB]
            client.session.tell_source(offer.stream, "2001:db8::7", 50_000)
            offer.stream.accept()
            offer.stream.send_fin()
            again.end()
            address = bytes.fromhex("20010db8" + "00" * 11 + "07")
            assert await again.receive_all() == second + b"\x05\x00\x00\x04" + address + b"\xc3\x50"


async def test_what_a_program_sends_ahead_goes_where_it_wants(journal: Journal) -> None:
    with service() as far:
        async with socks(journal) as here, here.program() as program:
            await program.send(OPEN + request(at(far)) + b"EHLO me\r\n")
            program.end()
            there = await far.accept()
            reply = succeeded(there)

            assert await there.receive_all() == b"EHLO me\r\n"
            there.end()
            assert await program.receive_all() == b"\x05\x00" + reply


async def test_a_handshake_may_come_byte_by_byte(journal: Journal) -> None:
    with service() as far:
        async with socks(journal) as here, here.program() as program:
            for byte in OPEN:
                await program.send(bytes([byte]))
            assert await program.receive_exactly(2) == b"\x05\x00"
            for byte in request(at(far)):
                await program.send(bytes([byte]))
            await hear_success(program)
            await far.accept()


async def test_a_name_is_left_to_the_gateway(journal: Journal) -> None:
    asked = Asked()
    async with socks(journal, asked=[asked]) as here, here.program() as program:
        await program.send(OPEN + request("MX.example", 25))

        assert wanted(await asked.next()) == ("mx.example", 25)


async def test_a_large_transfer_arrives_whole_both_ways(journal: Journal) -> None:
    there_and_back = bytes(range(256)) * 8_000
    with service() as far:
        async with socks(journal) as here, here.led(at(far)) as program:
            there = await far.accept()
            received: dict[str, bytes] = {}

            async def send(peer: Peer) -> None:
                await peer.send(there_and_back)
                peer.end()

            async def receive(name: str, peer: Peer) -> None:
                received[name] = await peer.receive_all()

            async with anyio.create_task_group() as tasks:
                for name, peer in {"program": program, "there": there}.items():
                    tasks.start_soon(send, peer)
                    tasks.start_soon(receive, name, peer)

            assert received == {"program": there_and_back, "there": there_and_back}


# Logging in


async def test_who_logs_in_is_led(journal: Journal, tmp_path: Path) -> None:
    with service() as far:
        async with socks(journal) as here:
            await here.port.update(here.spec(user="mail", password=password_in(tmp_path)))
            async with here.led(at(far), Login(b"mail", b"secret")):
                await far.accept()


@pytest.mark.parametrize(
    ("user", "password"), [(b"mail", b"Secret"), (b"nobody", b"secret"), (b"", b""), (b"mail", b"secret\n")]
)
async def test_who_says_something_else_is_turned_away_and_what_it_said_is_not_logged(
    journal: Journal, tmp_path: Path, user: bytes, password: bytes
) -> None:
    login = bytes([1, len(user)]) + user + bytes([len(password)]) + password
    async with socks(journal) as here:
        await here.port.update(here.spec(user="mail", password=password_in(tmp_path)))
        async with here.program() as program:
            assert await answer_to(program, b"\x05\x01\x02" + login) == b"\x05\x02\x01\x01"
        line = await ended(journal)
        status = here.ports.status()

    assert line["event"] == "program_refused"
    assert line["reason"].startswith("the user or the password is wrong")
    assert status is not None
    assert status.last_error == f"a program at {line['program']}: {line['reason']}"
    assert "ecret" not in str(journal)


async def test_who_cannot_log_in_is_turned_away(journal: Journal, tmp_path: Path) -> None:
    async with socks(journal) as here:
        await here.port.update(here.spec(user="mail", password=password_in(tmp_path)))
        async with here.program() as program:
            assert await answer_to(program, OPEN) == b"\x05\xff"

        assert "offers no user and password" in (await ended(journal))["reason"]


async def test_who_is_asked_for_a_login_when_the_last_one_is_taken_away_is_let_in(
    journal: Journal, tmp_path: Path
) -> None:
    with service() as far:
        async with socks(journal) as here:
            await here.port.update(here.spec(user="mail", password=password_in(tmp_path)))
            async with here.program() as program:
                await program.send(encode_greeting((Method.PASSWORD,)))
                assert await program.receive_exactly(2) == b"\x05\x02"
                await here.port.update(here.spec())
                await program.send(encode_login(Login(b"mail", b"x")) + request(at(far)))
                await hear_success(program, behind=b"\x01\x00")
                await far.accept()


async def test_both_have_to_be_right() -> None:
    right = Credentials(user=b"mail", password=b"secret")

    assert right.match(Login(b"mail", b"secret"))
    assert not right.match(Login(b"mail", b"secre"))
    assert not right.match(Login(b"mai", b"secret"))
    assert not right.match(Login("mäil".encode(), b"secret"))
    assert "secret" not in repr(right)


# Turned away


@pytest.mark.parametrize(
    ("code", "reply"),
    [
        (FailureCode.NOT_ALLOWED, Reply.NOT_ALLOWED),
        (FailureCode.UNRESOLVABLE, Reply.HOST_UNREACHABLE),
        (FailureCode.HOST_UNREACHABLE, Reply.HOST_UNREACHABLE),
        (FailureCode.NETWORK_UNREACHABLE, Reply.NETWORK_UNREACHABLE),
        (FailureCode.CONNECTION_REFUSED, Reply.CONNECTION_REFUSED),
        (FailureCode.TIMED_OUT, Reply.TTL_EXPIRED),
        (FailureCode.OTHER, Reply.GENERAL_FAILURE),
    ],
)
async def test_a_refusal_of_the_gateway_is_the_reply_that_says_it_and_is_shown(
    journal: Journal, code: FailureCode, reply: Reply
) -> None:
    asked = Asked()
    async with socks(journal, asked=[asked]) as here, here.program() as program:
        await program.send(OPEN + request("mx.example", 25))
        (await asked.next()).refuse(code, GATEWAY_SAID)

        assert (await hear(program))[2:] == bytes([5, reply, 0, 1]) + bytes(6)
        line = await ended(journal)
        assert (line["event"], line["level"]) == ("program_refused", "warning")
        assert (line["to"], line["reason"]) == ("mx.example:25", GATEWAY_SAID)
        status = here.ports.status()
        assert status is not None
        assert status.last_error == f"mx.example:25: {GATEWAY_SAID}"
        assert status.traffic.total == 0


async def test_the_last_error_is_told_until_a_program_is_led(journal: Journal) -> None:
    nobody = free_listen()
    with service() as far:
        async with socks(journal) as here:
            async with here.program() as program:
                await answer_to(program, OPEN + request(nobody))
            before = here.ports.status()
            async with here.led(at(far)):
                await far.accept()
            after = here.ports.status()

    assert before is not None
    assert before.last_error == f"{nobody}: connection refused"
    assert after is not None
    assert after.last_error is None


async def test_a_gateway_that_refuses_without_a_word_is_a_general_failure(journal: Journal) -> None:
    """As one does that is older than egress."""
    asked = Asked()
    async with socks(journal, asked=[asked]) as here, here.program() as program:
        await program.send(OPEN + request("mx.example", 25))
        (await asked.next()).stream.reset()

        assert (await hear(program))[2:4] == bytes([5, Reply.GENERAL_FAILURE])
        assert "without a reason" in (await ended(journal))["reason"]


async def test_where_nothing_listens_the_connection_is_refused(journal: Journal) -> None:
    async with socks(journal) as here, here.program() as program:
        assert (await answer_to(program, OPEN + request(free_listen())))[2:4] == bytes(
            [5, Reply.CONNECTION_REFUSED]
        )


async def test_what_no_rule_allows_is_not_allowed(journal: Journal) -> None:
    async with socks(journal) as here, here.program() as program:
        await here.gateway.put(egress())

        assert (await answer_to(program, OPEN + request(free_listen())))[2:4] == bytes([5, Reply.NOT_ALLOWED])
        assert "egress.allow" in (await ended(journal))["reason"]


@pytest.mark.parametrize(
    ("said", "answer", "why"),
    [
        (OPEN + b"\x05\x02\x00\x01" + bytes(6), bytes([5, 0, 5, 7]), "BIND"),
        (OPEN + b"\x05\x03\x00\x01" + bytes(6), bytes([5, 0, 5, 7]), "UDP ASSOCIATE"),
        (OPEN + b"\x05\x01\x00\x09" + bytes(6), bytes([5, 0, 5, 8]), "address type 9"),
        (b"\x05\x01\x01", b"\x05\xff", "none of the supported methods"),
        (b"\x04\x01\x00\x19\x01\x02\x03\x04\x00", b"\x00\x5b", "SOCKS4"),
        (b"GET http://a/ HTTP/1.1\r\n\r\n", b"HTTP/1.1 400 Bad Request", "HTTP"),
        (b"CONNECT a:1 HTTP/1.1\r\n\r\n", b"HTTP/1.1 400 Bad Request", "HTTP"),
        (b"\x16\x03\x01\x02\x00", b"", "TLS"),
    ],
)
async def test_who_speaks_something_else_is_told_so_and_so_is_the_log(
    journal: Journal, said: bytes, answer: bytes, why: str
) -> None:
    async with socks(journal) as here, here.program() as program:
        heard = await answer_to(program, said)

        assert heard.startswith(answer)
        assert bool(heard) is bool(answer)
        line = await ended(journal)
        assert why in line["reason"]
        assert (line["event"], line["end"], line["to"]) == ("program_refused", "aborted", None)


async def test_who_ends_before_it_has_said_where_to_go_is_let_go(journal: Journal) -> None:
    async with socks(journal) as here, here.program() as program:
        await program.send(OPEN + request(free_listen())[:4])
        program.end()

        assert await hear(program) == b"\x05\x00"
        assert "ended before" in (await ended(journal))["reason"]


async def test_who_resets_while_it_says_where_to_go_is_forgotten(journal: Journal) -> None:
    async with socks(journal) as here:
        async with here.program() as program:
            await program.send(OPEN)
            assert await program.receive_exactly(2) == b"\x05\x00"
            program.reset()
        await ended(journal)

        assert here.ports.open == 0


async def test_who_does_not_say_where_to_go_is_not_waited_for(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with socks(journal) as here:
        monkeypatch.setattr(socks5_door, "HANDSHAKE_TIMEOUT", 0.0)
        async with here.program() as program:
            assert await hear(program) == b""

        assert "did not say within 0 s" in (await ended(journal))["reason"]


async def test_a_gateway_that_does_not_answer_is_not_waited_for(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that lives, and says other things meanwhile."""
    asked = Asked()
    monkeypatch.setattr(socks5_door, "_UNEASE", 0.0)
    monkeypatch.setattr(socks5_door, "_OPEN_TIMEOUT", 0.0)
    async with socks(journal, asked=[asked]) as here, here.program() as program:
        heard = await answer_to(program, OPEN + request("mx.example", 25))

        assert heard[2:4] == bytes([5, Reply.GENERAL_FAILURE])
        offer = await asked.next()
        await until(lambda: offer.stream.is_closed)
        assert (await ended(journal))["reason"] == "the gateway did not answer"


async def test_of_more_programs_than_there_may_be_that_say_nothing_the_oldest_makes_room(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socks5_door, "_MOST_UNDECIDED", 2)
    with service() as far:
        async with socks(journal) as here, here.led(at(far)) as led:
            there = await far.accept()
            async with here.program() as first, here.program() as second:
                for program in (first, second):
                    await program.send(OPEN)
                    assert await program.receive_exactly(2) == b"\x05\x00"
                async with here.led(at(far)):
                    await far.accept()
                    await first.wait_reset()
                await second.send(request(at(far)))
                await hear_success(second)
            await led.send(b"still here")
            assert await there.receive_exactly(10) == b"still here"

            assert "too many others" in (await journal.wait_for("program_refused"))["reason"]


async def test_who_would_take_what_the_agent_needs_itself_is_turned_away(journal: Journal) -> None:
    async with socks(journal) as here:
        address = here.address
        with unconnected(address) as first, unconnected(address) as second, room_left(Use.VISITOR, 1):
            await first.connect(address)
            await first.send(OPEN)
            assert await first.receive_exactly(2) == b"\x05\x00"
            await second.connect(address)
            await second.wait_reset()
            line = await journal.wait_for("program_refused")

        assert "LimitNOFILE" in line["reason"]


# Which gateway


async def test_without_a_gateway_nobody_is_led(journal: Journal) -> None:
    async with socks(journal, gateways=0) as here, here.program() as program:
        assert (await answer_to(program, OPEN + request("mx.example", 25)))[2:4] == bytes(
            [5, Reply.GENERAL_FAILURE]
        )
        line = await ended(journal)
        assert (line["reason"], line["gateway"]) == ("no gateway is connected", None)


async def test_the_first_gateway_in_the_file_is_asked_and_no_other(journal: Journal) -> None:
    first, second = Asked(), Asked()
    async with socks(journal, gateways=2, asked=[first, second]) as here, here.program() as program:
        await program.send(OPEN + request("mx.example", 25))
        offer = await first.next()
        offer.refuse(FailureCode.NOT_ALLOWED, GATEWAY_SAID)

        assert (await hear(program))[2:4] == bytes([5, Reply.NOT_ALLOWED])
        assert second.offers == []


@pytest.mark.usefixtures("patient")
async def test_when_its_session_is_lost_before_it_answered_the_next_one_is_asked_with_all_that_was_said(
    journal: Journal,
) -> None:
    first = Asked()
    with service() as far:
        async with socks(journal, gateways=2, asked=[first]) as here, here.program() as program:
            await program.send(OPEN + request(at(far)) + b"EHLO ")
            await first.next()
            await program.send(b"me\r\n")
            await lose_session(here)
            there = await far.accept()

            assert await there.receive_exactly(9) == b"EHLO me\r\n"
            await hear_success(program, behind=b"\x05\x00")
            there.end()
            program.end()
            await hear(program)
            line = await ended(journal)
            assert line["gateway"] == str(here.gateways[1].control)
            assert (line["bytes_out"], line["reason"]) == (9, None)


@pytest.mark.usefixtures("patient")
async def test_when_the_last_session_is_lost_before_an_answer_the_program_is_told(journal: Journal) -> None:
    asked = Asked()
    async with socks(journal, asked=[asked]) as here, here.program() as program:
        await program.send(OPEN + request("mx.example", 25))
        await asked.next()
        await lose_session(here)

        assert (await hear(program))[2:4] == bytes([5, Reply.GENERAL_FAILURE])
        assert (await ended(journal))["reason"] == "no gateway is connected"


@pytest.mark.usefixtures("patient")
async def test_when_a_session_is_lost_its_programs_are_reset_and_new_ones_take_another(
    journal: Journal,
) -> None:
    with service() as far:
        async with socks(journal, gateways=2) as here:
            async with here.led(at(far)) as before:
                there = await far.accept()
                await lose_session(here)
                await before.wait_reset()
                await there.wait_reset()
            async with here.led(at(far)) as after:
                await far.accept()
                after.reset()
            await journal.wait_for("program_left", count=2)

            assert [line["gateway"] for line in journal.find("program_left")] == [
                str(gateway.control) for gateway in here.gateways
            ]


@pytest.mark.usefixtures("patient")
async def test_a_gateway_that_is_silent_is_asked_whether_it_lives_and_the_next_one_takes_its_place(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socks5_door, "_UNEASE", 0.0)
    monkeypatch.setattr(keepalive, "SUSPICION", 1.0)  # seconds in which the second one has to answer
    first = Asked()
    with service() as far:
        async with socks(journal, gateways=2, asked=[first]) as here, here.program() as program:
            (client,) = here.gateway.sessions.connected()[HOMELAB]
            client.session.link._transport.pause_reading()  # as if its cable had been pulled
            await program.send(OPEN + request(at(far)))

            await hear_success(program, behind=b"\x05\x00")
            await far.accept()
            assert first.offers == []
            assert "nothing was heard" in (await journal.wait_for("link_down"))["reason"]


async def test_a_gateway_that_was_about_to_stop_when_it_was_asked_is_followed_by_the_next(
    journal: Journal,
) -> None:
    first = Asked()
    with service() as far:
        async with socks(journal, gateways=2, asked=[first]) as here, here.program() as program:
            await program.send(OPEN + request(at(far)) + b"EHLO")
            offer = await first.next()
            (client,) = here.gateway.sessions.connected()[HOMELAB]
            client.session.drain()
            offer.refuse(FailureCode.OTHER, "the gateway is stopping")

            await hear_success(program, behind=b"\x05\x00")
            assert await (await far.accept()).receive_exactly(4) == b"EHLO"


async def test_of_several_sessions_the_one_with_fewer_streams_is_taken(journal: Journal) -> None:
    with service() as far:
        async with socks(journal) as here:
            await here.home.put(link_to(here.gateway.control, session=2))
            await journal.wait_for("link_up", count=2)
            async with here.led(at(far)), here.led(at(far)):
                for _ in range(2):
                    await far.accept()

                clients = here.gateway.sessions.connected()[HOMELAB]
                assert [client.session.streams for client in clients] == [1, 1]


async def test_a_gateway_that_is_about_to_stop_is_asked_no_more(journal: Journal) -> None:
    first = Asked()
    with service() as far:
        async with socks(journal, gateways=2, asked=[first]) as here:
            (client,) = here.gateway.sessions.connected()[HOMELAB]
            client.session.drain()
            await journal.wait_for("gateway_drains")
            async with here.led(at(far)):
                await far.accept()

            assert first.offers == []


# How it ends


@pytest.mark.parametrize("who", ["program", "far end"])
async def test_a_reset_crosses_as_a_reset(journal: Journal, who: str) -> None:
    with service() as far:
        async with socks(journal) as here, here.led(at(far)) as program:
            there = await far.accept()
            one, other = (program, there) if who == "program" else (there, program)
            one.reset()

            await other.wait_reset()


async def test_a_program_that_goes_while_the_gateway_dials_takes_its_wish_back(journal: Journal) -> None:
    asked = Asked()
    async with socks(journal, asked=[asked]) as here:
        async with here.program() as program:
            await program.send(OPEN + request("mx.example", 25))
            offer = await asked.next()
            program.reset()
            await until(lambda: offer.stream.is_closed)
        await ended(journal)

        assert here.ports.open == 0


async def test_who_has_ended_and_hears_nothing_more_is_dropped_like_any_other(journal: Journal) -> None:
    with service() as far:
        async with socks(journal) as here, here.led(at(far)) as program:
            there = await far.accept()
            (session,) = here.home.links.first_healthy()
            program.end()
            assert await there.receive_all() == b""
            for _ in range(5):
                session.lingering.look()

            await program.wait_reset()
            assert (await ended(journal))["end"] == "aborted"


async def test_a_program_can_have_ended_before_it_is_led_to_the_next_gateway(journal: Journal) -> None:
    """And is watched there, and no longer where it was."""
    first = Asked()
    with service() as far:
        async with socks(journal, gateways=2, asked=[first]) as here, here.program() as program:
            (session,) = here.home.links.first_healthy()
            await program.send(OPEN + request(at(far)) + b"QUIT")
            program.end()
            await first.next()
            await until(lambda: bool(session.lingering._connections))
            await lose_session(here)
            there = await far.accept()
            reply = succeeded(there)

            assert await there.receive_all() == b"QUIT"
            assert not session.lingering._connections
            there.end()
            with anyio.fail_after(PATIENCE):
                assert await hear(program) == b"\x05\x00" + reply


async def test_where_it_went_is_written_as_addresses_are(journal: Journal) -> None:
    async with socks(journal, gateways=0) as here, here.program() as program:
        await answer_to(program, OPEN + request("2001:db8::1", 25))

        assert (await ended(journal))["to"] == str(HostPort("2001:db8::1", 25))
