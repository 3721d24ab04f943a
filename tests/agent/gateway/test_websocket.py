"""Sessions that come to the control port by a WebSocket, and whoever else speaks HTTP there."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager

import anyio
import pytest
from websockets.frames import Frame, Opcode

from agent.gateway import control_port, websocket
from reconcile.desired import ControlSpec, Timing
from schemas.names import ListenAddress
from schemas.networks import parse_network
from tests.support import pki
from tests.support.gateway_parts import QUIET, GatewayParts, gateway_parts, gateway_tls, hand_driven, route
from tests.support.journal import PATIENCE, Journal
from tests.support.peers import Peer, program_sockets, until, visit
from tests.support.tls_peers import knock
from tests.support.web_clients import REQUEST, answer_to, browser_context, carried, dial_carried, url_of
from transport import session
from transport.pump.sockets import accept_carrier
from transport.wire.http_head import MAX_HEAD
from transport.wire.proxy_protocol import Endpoint, build_v1, build_v2
from transport.wire.upgrade_request import Answer, UpgradeRequest, peek_upgrade_request

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("nothing_left_open")]

VISITOR, GATEWAY = Endpoint("192.0.2.7", 50_000), Endpoint("198.51.100.1", 9056)


def control(address: ListenAddress, balancers: Iterable[str] = (), *, timing: Timing = QUIET) -> ControlSpec:
    return ControlSpec(
        address=address,
        tls=gateway_tls(pki.gateway(address.host)),
        timing=timing,
        accept_proxy_protocol=tuple(parse_network(text) for text in balancers),
    )


@asynccontextmanager
async def behind_forwarders(*balancers: str) -> AsyncIterator[GatewayParts]:
    """A gateway whose control port has these in front; all of loopback if none are named."""
    async with gateway_parts() as parts:
        await parts.put(control(parts.control, balancers or ["127.0.0.0/8"]))
        yield parts


# Sessions


@pytest.mark.parametrize("secure", [False, True], ids=["in the clear", "within TLS"])
@pytest.mark.parametrize("path", ["/tunnel", "/base/path/tunnel"])
async def test_a_session_runs_in_a_websocket_beside_a_native_one(
    path: str, secure: bool, journal: Journal
) -> None:
    async with gateway_parts() as parts, hand_driven(parts.control, "office"):
        public = await parts.listen(route())

        async with carried(url_of(parts.control, path, secure=secure)) as homelab, visit(public) as visitor:
            await homelab.join(visitor)
            await visitor.send(b"hello")

        line = await journal.wait_for("client_disconnected")
        assert line["client"] == "homelab"
        assert line["address"].startswith("127.")
    assert not journal.find("handshake_failed")


async def test_who_it_is_says_the_certificate_inside_and_nothing_else(journal: Journal) -> None:
    """TLS around it asks for none, and one of another authority is refused inside."""
    async with gateway_parts() as parts:
        theirs = pki.authority("Somebody else")
        await parts.put(
            ControlSpec(
                address=parts.control,
                tls=gateway_tls(pki.gateway(parts.control.host), authority=theirs),
                timing=QUIET,
            )
        )
        link = await dial_carried(url_of(parts.control, secure=True))

        line = await journal.wait_for("handshake_failed")

        assert "not signed by the authority" in line["reason"]
        link.abort()
        await until(lambda: link.is_closed)


async def test_a_renewed_certificate_is_shown_in_both_tls_from_then_on() -> None:
    async with gateway_parts() as parts:
        url = url_of(parts.control, secure=True)
        async with carried(url):
            pass
        other = gateway_tls(pki.gateway(parts.control.host, name="gw2"))

        await parts.put(ControlSpec(address=parts.control, tls=other, timing=QUIET))

        link = await dial_carried(url)
        assert link.peer_certificate["subject"] == ((("commonName", "gw2"),),)
        assert link.carrier is not None
        outer = link.carrier._transport.get_extra_info("peercert")
        assert outer["subject"] == ((("commonName", "gw2"),),)
        link.abort()
        await until(lambda: link.is_closed)


async def test_a_peer_that_breaks_the_rules_later_ends_its_session_with_the_reason(journal: Journal) -> None:
    async with gateway_parts() as parts, carried(url_of(parts.control)) as homelab:
        carrier = homelab.session.link.carrier
        assert carrier is not None

        carrier.write(Frame(Opcode.TEXT, b"hello").serialize(mask=True))

        line = await journal.wait_for("client_disconnected")
        assert "text message" in line["reason"]


async def test_a_websocket_that_is_cut_ends_its_session_at_once(journal: Journal) -> None:
    async with gateway_parts() as parts, carried(url_of(parts.control)) as homelab:
        carrier = homelab.session.link.carrier
        assert carrier is not None

        carrier.abort()

        line = await journal.wait_for("client_disconnected")
        assert line["reason"] == "the connection under the WebSocket was closed without a goodbye"


# Strangers


@pytest.mark.parametrize(
    ("request_line", "status"),
    [(b"GET / HTTP/1.1", b"404"), (b"POST /tunnel HTTP/1.1", b"405"), (b"GET /tunnel HTTP/1.0", b"426")],
)
async def test_other_requests_are_answered_in_plain_words(
    request_line: bytes, status: bytes, journal: Journal
) -> None:
    async with gateway_parts() as parts, visit(parts.control) as peer:
        answer = await answer_to(peer, REQUEST.replace(b"GET /tunnel HTTP/1.1", request_line))

        assert answer.startswith(b"HTTP/1.1 " + status)
        assert b"control port of a Tidegate gateway" in answer
        line = await journal.wait_for("handshake_failed")
        assert f"answered {status.decode()}" in line["reason"]


async def test_a_browser_reads_within_tls_what_this_port_is() -> None:
    async with gateway_parts() as parts:
        answer = await knock(parts.control, browser_context(), b"GET / HTTP/1.1\r\nHost: gw1\r\n\r\n")

    assert answer.startswith(b"HTTP/1.1 404 ")


@pytest.mark.parametrize("more", [500, MAX_HEAD], ids=["short", "too long"])
async def test_a_request_that_comes_byte_by_byte_is_not_read_again_for_each(
    more: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A look at a long head costs more than the stranger's packet, and visitors wait meanwhile."""
    looks: list[int] = []

    def look(buffer: bytearray) -> UpgradeRequest | None:
        looks.append(len(buffer))
        return peek_upgrade_request(buffer)

    monkeypatch.setattr(websocket, "peek_upgrade_request", look)
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    carrier = await accept_carrier(ours, None, handshake_timeout=PATIENCE)
    answers: list[Answer] = []

    async def answer() -> None:
        answers.append(await websocket._answer(carrier, lambda _: None))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(answer)
        said = REQUEST.removesuffix(b"\r\n") + b"X-More: "
        for at in range(len(said)):
            theirs.send(said[at : at + 1])
            await until(lambda at=at: len(carrier.early) == at + 1)  # type: ignore[misc]  # mypy knows no such lambda
        assert len(looks) < 12
        theirs.send(b"x" * more)
        await until(lambda: len(carrier.early) == len(said) + more or bool(answers))
        theirs.send(b"\r\n")
        theirs.send(b"\r\n")
        await until(lambda: bool(answers))

    assert (answers[0].end is not None) is (more < MAX_HEAD)
    assert len(looks) < 24
    carrier.abort()
    theirs.close()
    await until(lambda: carrier.is_closed)


async def test_a_request_smuggled_behind_the_upgrade_is_not_answered(journal: Journal) -> None:
    """A reverse proxy that thinks that there is no WebSocket would take our answer for that of the second."""
    async with gateway_parts() as parts, visit(parts.control) as peer:
        answer = await answer_to(peer, REQUEST + b"GET /admin HTTP/1.1\r\nHost: inside\r\n\r\n")

        assert answer.count(b"HTTP/1.1") == 1
        assert answer.startswith(b"HTTP/1.1 400 ")
        line = await journal.wait_for("handshake_failed")
        assert "behind the request" in line["reason"]


@pytest.mark.parametrize(
    "said",
    [REQUEST[:30], REQUEST],
    ids=["half a request", "nothing inside"],
)
async def test_who_is_too_slow_is_turned_away_in_time(
    said: bytes, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One limit for all of it: who has got his WebSocket has not proved anything."""
    monkeypatch.setattr(control_port, "_HANDSHAKE_TIMEOUT", 0.2)
    async with gateway_parts() as parts, hand_driven(parts.control) as homelab:
        async with visit(parts.control) as peer:
            await peer.send(said)
            await peer.receive_until_gone()

            line = await journal.wait_for("handshake_failed")

        assert "did not answer in time" in line["reason"]
        assert homelab.session.is_open


async def test_who_says_no_hello_in_it_is_turned_away_in_time(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "GREETING_TIMEOUT", 0.05)
    async with gateway_parts() as parts:
        link = await dial_carried(url_of(parts.control))

        line = await journal.wait_for("client_refused")

        assert "no greeting came within" in line["reason"]
        link.abort()
        await until(lambda: link.is_closed)


async def test_those_who_have_proved_nothing_are_counted_also_in_a_websocket(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control_port, "_MAX_HANDSHAKES", 1)
    monkeypatch.setattr(control_port, "_MAX_WAITING", 0)
    async with gateway_parts() as parts:
        async with visit(parts.control) as silent:
            await silent.send(REQUEST)
            await silent.receive()  # the upgrade
            async with visit(parts.control) as other:
                assert await other.receive_all() == b""
            await journal.wait_for("handshakes_refused")
        await journal.wait_for("handshake_failed")

        async with carried(url_of(parts.control)):
            pass


async def test_stopping_in_the_middle_of_an_upgrade_leaves_no_socket_behind() -> None:
    async with gateway_parts() as parts, visit(parts.control) as silent:
        await silent.send(REQUEST)
        await silent.receive(1)

        parts.stop()

        await silent.receive_until_gone()
        await until(lambda: not program_sockets())


# Load balancers and reverse proxies


@pytest.mark.parametrize("build", [build_v1, build_v2])
async def test_the_address_of_a_client_behind_a_load_balancer_is_its_own(
    build: Callable[[Endpoint, Endpoint], bytes], journal: Journal
) -> None:
    async with behind_forwarders() as parts:
        async with carried(url_of(parts.control), first=build(VISITOR, GATEWAY)):
            line = await journal.wait_for("client_connected")

        assert line["address"] == "192.0.2.7:50000"


async def test_a_reverse_proxy_says_it_in_the_request(journal: Journal) -> None:
    async with behind_forwarders() as parts, visit(parts.control) as peer:
        head = REQUEST.replace(b"Host:", b"X-Forwarded-For: 203.0.113.9, 192.0.2.7\r\nHost:")

        assert b" 101 " in (await _first_line(peer, head))
        await peer.send(Frame(Opcode.BINARY, b"no TLS").serialize(mask=True))

        line = await journal.wait_for("handshake_failed")
        assert line["address"] == "192.0.2.7"


async def test_a_reverse_proxy_that_does_not_say_it_is_refused(journal: Journal) -> None:
    async with behind_forwarders() as parts, visit(parts.control) as peer:
        answer = await answer_to(peer, REQUEST)

        assert answer.startswith(b"HTTP/1.1 400 ")
        assert b"X-Forwarded-For" in answer
        assert b"127." not in answer
        line = await journal.wait_for("handshake_failed")
        assert "does not say for whom its request is" in line["reason"]


async def test_a_load_balancer_without_a_header_is_refused_and_told_of(journal: Journal) -> None:
    async with behind_forwarders() as parts:
        with pytest.raises(OSError):  # noqa: PT011 - each engine has another
            async with hand_driven(parts.control):
                pass

        line = await journal.wait_for("handshake_failed")
        assert "in accept_proxy_protocol and sent no PROXY header" in line["reason"]


async def test_a_load_balancer_may_look_as_often_as_it_likes(journal: Journal) -> None:
    async with behind_forwarders() as parts, visit(parts.control) as balancer:
        await balancer.send(build_v2(None, None))
        balancer.end()

        assert await balancer.receive_until_gone() == b""

        async with carried(url_of(parts.control), first=build_v2(None, None)):
            pass
    assert not [line for line in journal.lines if line["level"] != "info"]


async def test_half_a_header_and_silence_is_ended_in_time(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control_port, "_HANDSHAKE_TIMEOUT", 0.05)
    async with behind_forwarders() as parts, visit(parts.control) as peer:
        await peer.send(build_v2(VISITOR, GATEWAY)[:20])

        assert await peer.receive_until_gone() == b""

        line = await journal.wait_for("handshake_failed")
        assert "did not answer in time" in line["reason"]


async def test_who_is_not_named_is_not_believed(journal: Journal) -> None:
    """Neither a header nor a field; and whoever has no balancer is served as ever."""
    async with behind_forwarders("10.0.0.5") as parts, visit(parts.control) as peer:
        await peer.send(build_v2(VISITOR, GATEWAY))
        await peer.receive_until_gone()
        line = await journal.wait_for("handshake_failed")
        assert "does not speak TLS" in line["reason"]

        async with hand_driven(parts.control, "office"):
            line = await journal.wait_for("client_connected")
            assert line["address"].startswith("127.")


async def test_handshakes_are_counted_by_the_address_that_a_balancer_names(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One flooding client behind it keeps none of the others out."""
    monkeypatch.setattr(control_port, "_MAX_HANDSHAKES", 2)
    async with behind_forwarders() as parts:
        async with visit(parts.control) as one, visit(parts.control) as two:
            for crowd in (one, two):
                await crowd.send(build_v1(VISITOR, GATEWAY) + REQUEST)
                assert b" 101 " in await crowd.receive()
            async with carried(url_of(parts.control), first=build_v1(Endpoint("192.0.2.8", 1), GATEWAY)):
                pass
        line = await journal.wait_for("handshakes_refused")
        assert line["most_from"] == "192.0.2.7"


async def _first_line(peer: Peer, request: bytes) -> bytes:
    await peer.send(request)
    return (await peer.receive()).partition(b"\r\n")[0]
