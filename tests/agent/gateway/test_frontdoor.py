"""What becomes of visitors, from their first byte to their line in the log."""

from __future__ import annotations

import socket
import struct
from contextlib import suppress
from typing import Any, Final

import anyio
import pytest

from agent.gateway import frontdoor
from agent.gateway.refusal import Reason, TrafficKind, refusal_bytes
from agent.process.descriptors import Use
from reconcile.desired import RouteSpec, Timing
from schemas.messages import FailureCode, StreamFailed
from schemas.names import ClientId, ProxyProtocol
from tests.support.descriptors import room_left
from tests.support.gateway_parts import gateway_parts, hand_driven, listener, route
from tests.support.hellos import python_hello
from tests.support.journal import Journal
from tests.support.peers import Peer, free_port_of, unconnected, until, visit
from transport.offer import Offer
from transport.wire import keepalive
from transport.wire.open_header import OpenHeader
from transport.wire.proxy_protocol import Endpoint

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("nothing_left_open")]

HOMELAB: Final = ClientId("homelab")
BLOG, MAIL = route("blog", "blog.example"), route("mail")
HELLO = python_hello("blog.example")
GET = b"GET / HTTP/1.1\r\nHost: blog.example\r\n\r\n"
RAW = b"\x00\x01\x02"

# A visitor of each kind, what it sends, and the port it comes to.
KINDS = {
    TrafficKind.TLS: (HELLO, BLOG),
    TrafficKind.HTTP: (GET, BLOG),
    TrafficKind.RAW: (RAW, MAIL),
}
every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.value)


def tunnel_of(offer: Offer) -> str:
    assert isinstance(offer.header, OpenHeader)
    return offer.header.tunnel


def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client is given up after five hundredths of a second."""
    monkeypatch.setattr(frontdoor, "PATIENCE", 0.03)
    monkeypatch.setattr(frontdoor, "_REST", 0.02)


async def left(journal: Journal) -> dict[str, Any]:
    """The one line about the one visitor."""
    await until(lambda: bool(lines_about_visitors(journal)))
    (line,) = lines_about_visitors(journal)
    return line


def said(offer: Offer) -> bytes:
    """What the visitor's bytes are so far, as the client has them."""
    return bytes(offer._early)


# Where visitors are led


async def test_the_descriptors_that_the_agent_needs_itself_are_for_no_visitor(journal: Journal) -> None:
    async with gateway_parts() as parts, hand_driven(parts.control) as homelab:
        address = await parts.listen(route())
        with unconnected(address) as first, unconnected(address) as second, room_left(Use.VISITOR, 1):
            await first.connect(address)
            await homelab.next_offer()
            await second.connect(address)
            assert await second.wait_reset() == b""
            line = await journal.wait_for("visitor_refused")

        assert "raise the limit (LimitNOFILE, ulimit -n)" in line["reason"]
        async with visit(address):
            await homelab.next_offer()


async def test_a_port_without_hostnames_does_not_wait_for_the_visitor_to_speak() -> None:
    smtp = route("mail", service="smtp", proxy_protocol=ProxyProtocol.V2)
    async with gateway_parts() as parts, hand_driven(parts.control, services=["smtp"]) as homelab:
        address = await parts.listen(smtp)
        async with visit(address) as visitor:
            offer = await homelab.next_offer()

            assert offer.header == OpenHeader(
                tunnel="mail",
                service="smtp",
                source=Endpoint("127.0.0.1", visitor.socket.getsockname()[1]),
                destination=Endpoint(address.host, address.port),
                proxy_protocol=ProxyProtocol.V2,
            )
            offer.stream.accept()
            offer.stream.send(b"220 mail.example ESMTP")
            assert await visitor.receive() == b"220 mail.example ESMTP"


@pytest.mark.parametrize("hello", [HELLO, GET], ids=["TLS", "HTTP"])
async def test_a_visitor_is_led_by_the_name_it_gives_and_all_it_said_goes_along(hello: bytes) -> None:
    async with gateway_parts() as parts, hand_driven(parts.control) as homelab:
        address = await parts.listen(BLOG, route("wiki", "wiki.example"), MAIL)
        async with visit(address) as visitor:
            await visitor.send(hello + b"and more")
            offer = await homelab.next_offer()

            assert tunnel_of(offer) == "blog"
            await until(lambda: said(offer) == hello + b"and more")


@pytest.mark.parametrize("hello", [HELLO, GET], ids=["TLS", "HTTP"])
async def test_a_name_that_comes_byte_by_byte_is_read_all_the_same(hello: bytes) -> None:
    async with gateway_parts() as parts, hand_driven(parts.control) as homelab:
        address = await parts.listen(BLOG)
        async with visit(address) as visitor:
            for position in range(len(hello)):
                await visitor.send(hello[position : position + 1])
                await until(lambda: not visitor.unread)
            offer = await homelab.next_offer()

            await until(lambda: said(offer) == hello)


async def test_who_says_nothing_in_time_is_led_by_the_default_route(journal: Journal) -> None:
    async with gateway_parts() as parts, hand_driven(parts.control) as homelab:
        address = await parts.listen(BLOG, MAIL, peek_timeout=0.01)
        async with visit(address):
            assert tunnel_of(await homelab.next_offer()) == "mail"


async def test_who_ends_without_a_word_is_led_by_the_default_route_and_its_end_goes_along() -> None:
    async with gateway_parts() as parts, hand_driven(parts.control) as homelab:
        address = await parts.listen(BLOG, MAIL)
        async with visit(address) as visitor:
            visitor.end()
            offer = await homelab.next_offer()

            assert tunnel_of(offer) == "mail"
            await until(lambda: offer._ended)


async def test_another_protocol_is_led_by_the_default_route_without_waiting() -> None:
    async with gateway_parts() as parts, hand_driven(parts.control) as homelab:
        address = await parts.listen(BLOG, MAIL)
        async with visit(address) as visitor:
            await visitor.send(b"SSH-2.0-OpenSSH\r\n")

            assert tunnel_of(await homelab.next_offer()) == "mail"


async def test_a_visitor_that_is_still_speaking_keeps_the_routes_that_the_port_had_when_it_came() -> None:
    async with gateway_parts() as parts, hand_driven(parts.control) as homelab:
        address = await parts.listen(BLOG)
        async with visit(address) as early, visit(address) as late:
            await early.send(HELLO[:50])
            await until(lambda: len(parts.listeners._visitors) == 2)

            await parts.put(listener(address, route("new", "blog.example")))

            await early.send(HELLO[50:])
            assert tunnel_of(await homelab.next_offer()) == "blog"
            await late.send(HELLO)
            assert tunnel_of(await homelab.next_offer()) == "blog"
            async with visit(address) as new:
                await new.send(HELLO)
                assert tunnel_of(await homelab.next_offer()) == "new"


# Who is turned away


@pytest.mark.parametrize(
    ("said_first", "kind"),
    [(python_hello("other.example"), TrafficKind.TLS), (GET.replace(b"blog", b"other"), TrafficKind.HTTP)],
    ids=["TLS", "HTTP"],
)
async def test_a_name_that_nobody_serves_is_told_so_in_its_own_language(
    said_first: bytes, kind: TrafficKind, journal: Journal
) -> None:
    async with gateway_parts() as parts, hand_driven(parts.control):
        address = await parts.listen(BLOG)
        async with visit(address) as visitor:
            await visitor.send(said_first)

            assert await visitor.receive_all() == refusal_bytes(kind, Reason.NO_ROUTE) != b""
        line = await left(journal)
        assert (line["event"], line["hostname"], line["tunnel"]) == ("visitor_refused", "other.example", None)
        assert line["reason"] == "no hostname matches other.example"


async def test_another_protocol_is_closed_where_nothing_is_for_it(journal: Journal) -> None:
    async with gateway_parts() as parts, hand_driven(parts.control):
        address = await parts.listen(BLOG)
        async with visit(address) as visitor:
            await visitor.send(RAW)

            assert await visitor.receive_all() == b""
        assert (await left(journal))["reason"] == "the visitor speaks neither TLS nor HTTP/1"


@pytest.mark.parametrize(
    ("said_first", "kind"),
    [(b"", TrafficKind.RAW), (HELLO[:50], TrafficKind.TLS), (GET[:20], TrafficKind.HTTP)],
    ids=["nothing", "TLS", "HTTP"],
)
async def test_who_does_not_say_in_time_where_to_is_turned_away(
    said_first: bytes, kind: TrafficKind, journal: Journal
) -> None:
    async with gateway_parts() as parts, hand_driven(parts.control):
        address = await parts.listen(BLOG, peek_timeout=0.05)
        async with visit(address) as visitor:
            await visitor.send(said_first)

            assert await visitor.receive_all() == refusal_bytes(kind, Reason.TIMED_OUT)
        assert (await left(journal))["event"] == "visitor_refused"


async def test_a_visitor_that_never_stops_saying_hello_is_turned_away(journal: Journal) -> None:
    endless = b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 100_000
    async with gateway_parts() as parts, hand_driven(parts.control):
        address = await parts.listen(BLOG)
        async with visit(address) as visitor, anyio.create_task_group() as tasks:
            tasks.start_soon(send_as_far_as_possible, visitor, endless)
            answer = await visitor.receive_until_gone()

            assert answer == refusal_bytes(TrafficKind.HTTP, Reason.MALFORMED)
        assert (await left(journal))["bytes_in"] == 0


@every_kind
async def test_when_the_client_is_away_a_visitor_learns_it_at_once(
    kind: TrafficKind, journal: Journal
) -> None:
    first, led = KINDS[kind]
    async with gateway_parts() as parts, hand_driven(parts.control, "office"):
        address = await parts.listen(led)
        async with visit(address) as visitor:
            await visitor.send(first)

            assert await visitor.receive_until_gone() == refusal_bytes(kind, Reason.CLIENT_AWAY)
        line = await left(journal)
        assert line["reason"] == "no client that offers web is connected (homelab)"
        assert (line["tunnel"], line["client"], line["end"]) == (led.tunnel, None, "aborted")


@every_kind
async def test_a_client_that_does_not_offer_the_service_is_as_good_as_away(
    kind: TrafficKind, journal: Journal
) -> None:
    first, led = KINDS[kind]
    async with gateway_parts() as parts, hand_driven(parts.control, services=["smtp"]):
        address = await parts.listen(led)
        async with visit(address) as visitor:
            await visitor.send(first)

            assert await visitor.receive_until_gone() == refusal_bytes(kind, Reason.CLIENT_AWAY)


@every_kind
async def test_a_failing_service_is_told_to_the_visitor_and_its_reason_to_the_log(
    kind: TrafficKind, journal: Journal
) -> None:
    first, led = KINDS[kind]
    async with gateway_parts() as parts, hand_driven(parts.control) as homelab:
        address = await parts.listen(led)
        async with visit(address) as visitor:
            await visitor.send(first)
            offer = await homelab.next_offer()
            homelab.session.fail_stream(offer.stream, FailureCode.SERVICE_DOWN, "service web does not answer")

            assert await visitor.receive_all() == refusal_bytes(kind, Reason.SERVICE_FAILED)
        line = await left(journal)
        assert (line["event"], line["reason"]) == ("visitor_refused", "service web does not answer")
        assert (line["tunnel"], line["client"], line["kind"]) == (led.tunnel, "homelab", kind.value)


async def test_a_client_that_gives_no_reason_is_reported_all_the_same(journal: Journal) -> None:
    async with gateway_parts() as parts, hand_driven(parts.control) as homelab:
        address = await parts.listen(MAIL)
        async with visit(address) as visitor:
            (await homelab.next_offer()).stream.reset()

            assert await visitor.receive_all() == b""
        assert (await left(journal))["reason"] == "the client closed the stream"


@every_kind
async def test_a_client_that_goes_away_before_it_answers_is_away(kind: TrafficKind, journal: Journal) -> None:
    first, led = KINDS[kind]
    async with gateway_parts() as parts, hand_driven(parts.control) as homelab:
        address = await parts.listen(led)
        async with visit(address) as visitor:
            await visitor.send(first)
            await homelab.next_offer()
            homelab.session.close("a test")

            assert await visitor.receive_all() == refusal_bytes(kind, Reason.CLIENT_AWAY)
        assert (await left(journal))["reason"] == "the client went away before it answered"


@every_kind
async def test_a_client_that_never_answers_is_given_up(
    kind: TrafficKind, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    impatient(monkeypatch)
    first, led = KINDS[kind]
    async with gateway_parts() as parts, hand_driven(parts.control) as homelab:
        address = await parts.listen(led)
        async with visit(address) as visitor:
            await visitor.send(first)

            assert await visitor.receive_all() == refusal_bytes(kind, Reason.SERVICE_FAILED)
        offer = await homelab.next_offer()
        await until(lambda: offer.stream.is_closed)
        assert (await left(journal))["reason"] == "the client did not answer"


async def test_a_client_that_is_silent_is_suspected_and_does_not_keep_its_visitors_for_long(
    monkeypatch: pytest.MonkeyPatch, journal: Journal
) -> None:
    monkeypatch.setattr(frontdoor, "PATIENCE", 0.03)
    monkeypatch.setattr(keepalive, "SUSPICION", 0.1)
    async with gateway_parts() as parts, hand_driven(parts.control) as homelab:
        address = await parts.listen(BLOG)
        homelab.session.link._transport.pause_reading()
        async with visit(address) as visitor:
            await visitor.send(GET)

            assert await visitor.receive_all() == refusal_bytes(TrafficKind.HTTP, Reason.CLIENT_AWAY)
        assert (await left(journal))["reason"] == "the client went away before it answered"


async def test_a_slow_client_that_has_answered_is_given_all_the_time_it_needs(
    monkeypatch: pytest.MonkeyPatch, journal: Journal
) -> None:
    impatient(monkeypatch)
    async with gateway_parts() as parts, hand_driven(parts.control) as homelab:
        address = await parts.listen(MAIL)
        async with visit(address) as visitor, visit(address):
            offer = await homelab.next_offer()
            offer.stream.accept()
            await journal.wait_for("visitor_refused")  # the other one's time is over

            offer.stream.send_fin()
            visitor.end()
        line = await journal.wait_for("visitor_left")
        assert line["client"] == "homelab"


async def test_a_failure_that_the_client_takes_back_is_none(journal: Journal) -> None:
    async with gateway_parts() as parts, hand_driven(parts.control) as homelab:
        address = await parts.listen(MAIL)
        async with visit(address) as visitor:
            offer = await homelab.next_offer()
            homelab.session.tell(
                StreamFailed(stream=offer.stream.id, code=FailureCode.OTHER, message="I cannot")
            )
            offer.stream.accept()
            offer.stream.send_fin()
            assert await visitor.receive_all() == b""
            visitor.end()
        assert ((await left(journal))["event"], journal.lines[-1]["reason"]) == ("visitor_left", None)


# Visitors that leave


@pytest.mark.parametrize("first", [b"", HELLO[:50]], ids=["without a word", "in its hello"])
async def test_a_visitor_that_breaks_off_before_it_is_led_leaves_one_line(
    first: bytes, journal: Journal
) -> None:
    async with gateway_parts() as parts, hand_driven(parts.control):
        address = await parts.listen(BLOG)
        async with visit(address) as visitor:
            await visitor.send(first)
            await until(lambda: len(parts.listeners._visitors) == 1 and not visitor.unread)
            visitor.reset()

        line = await left(journal)
        assert (line["event"], line["end"], line["tunnel"]) == ("visitor_left", "socket_lost", None)


@pytest.mark.parametrize("first", [b"", HELLO[:50]], ids=["without a word", "in its hello"])
async def test_a_visitor_that_closes_before_it_is_led_leaves_one_line(first: bytes, journal: Journal) -> None:
    async with gateway_parts() as parts, hand_driven(parts.control):
        address = await parts.listen(BLOG)
        async with visit(address) as visitor:
            await visitor.send(first)

        line = await left(journal)
        assert line["tunnel"] is None


async def test_a_visitor_that_breaks_off_while_the_client_dials_resets_its_stream(journal: Journal) -> None:
    async with gateway_parts() as parts, hand_driven(parts.control) as homelab:
        address = await parts.listen(MAIL)
        async with visit(address) as visitor:
            offer = await homelab.next_offer()
            visitor.reset()
            await until(lambda: offer.stream.is_closed)

        line = await left(journal)
        assert (line["event"], line["end"], line["client"]) == ("visitor_left", "socket_lost", "homelab")


async def test_a_visitor_that_breaks_off_later_resets_its_stream(journal: Journal) -> None:
    async with gateway_parts() as parts, hand_driven(parts.control) as homelab:
        address = await parts.listen(MAIL)
        async with visit(address) as visitor:
            offer = await homelab.join(visitor)
            visitor.reset()
            await until(lambda: offer.stream.is_closed)

        assert (await left(journal))["end"] == "socket_lost"


async def test_a_service_that_breaks_off_resets_the_visitor(journal: Journal) -> None:
    async with gateway_parts() as parts, hand_driven(parts.control) as homelab:
        address = await parts.listen(MAIL)
        async with visit(address) as visitor:
            (await homelab.join(visitor)).stream.reset()

            assert await visitor.wait_reset() == b""
        line = await left(journal)
        assert (line["event"], line["end"]) == ("visitor_left", "stream_reset")


async def test_a_visitor_that_is_gone_before_it_is_looked_at_costs_nothing(journal: Journal) -> None:
    async with gateway_parts() as parts, hand_driven(parts.control):
        address = await parts.listen(MAIL)
        async with visit(address) as visitor:
            visitor.reset()

        assert (await left(journal))["tunnel"] == "mail"


# The line in the log


@pytest.mark.parametrize("its_route", [BLOG, MAIL], ids=["peeked at", "raw"])
async def test_a_visitor_that_has_gone_before_it_is_accepted_is_led_nowhere(
    its_route: RouteSpec, journal: Journal
) -> None:
    """A loop that takes the address from accept() knows it all the same, and learns of the end later."""
    async with gateway_parts() as parts, hand_driven(parts.control) as homelab:
        address = await parts.listen(its_route)
        with socket.create_connection((address.host, address.port)) as visitor:
            visitor.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

        line = await left(journal)
        if line["visitor"] == "?:0":
            assert (line["event"], line["client"]) == ("visitor_refused", None)
            assert not homelab.offers
        assert not parts.listeners._visitors


async def test_the_line_about_a_visitor_has_all_its_numbers(journal: Journal) -> None:
    async with gateway_parts() as parts, hand_driven(parts.control) as homelab:
        address = await parts.listen(BLOG)
        async with visit(address) as visitor:
            name = visitor.address
            await visitor.send(GET)
            offer = await homelab.next_offer()
            offer.stream.accept()
            offer.stream.send(b"hello")
            offer.stream.send_fin()
            assert await visitor.receive_all() == b"hello"
            visitor.end()
        line = await left(journal)

    seconds = line.pop("seconds")
    assert isinstance(seconds, float)
    assert seconds >= 0
    assert line == {
        "event": "visitor_left",
        "level": "info",
        "listen": str(address),
        "visitor": name,
        "tunnel": "blog",
        "client": "homelab",
        "service": "web",
        "kind": "http",
        "hostname": "blog.example",
        "end": "done",
        "reason": None,
        "bytes_in": len(GET),
        "bytes_out": 5,
    }


async def test_a_visitor_with_an_ipv6_address_is_told_to_the_client_and_written_in_brackets(
    journal: Journal,
) -> None:
    address = free_port_of("::1")
    async with gateway_parts() as parts, hand_driven(parts.control) as homelab:
        await parts.put(listener(address, MAIL))
        async with visit(address) as visitor:
            port = visitor.socket.getsockname()[1]
            offer = await homelab.join(visitor)
            assert isinstance(offer.header, OpenHeader)
            assert offer.header.source == Endpoint("::1", port)
            assert offer.header.destination == Endpoint("::1", address.port)
            visitor.reset()
        line = await left(journal)
        assert (line["listen"], line["visitor"]) == (f"[::1]:{address.port}", f"[::1]:{port}")


async def test_every_visitor_has_one_line_and_nothing_else_is_kept_of_it(journal: Journal) -> None:
    async with gateway_parts() as parts, hand_driven(parts.control) as homelab:
        address = await parts.listen(BLOG, MAIL)
        for number in range(20):
            async with visit(address) as visitor:
                match number % 4:
                    case 0:
                        visitor.reset()
                    case 1:
                        await visitor.send(HELLO)
                        (await homelab.next_offer()).stream.reset()
                        await visitor.receive_all()
                    case 2:
                        await visitor.send(RAW)
                        await homelab.join(visitor)
                        visitor.reset()
                    case _:
                        await visitor.send(GET)
                        offer = await homelab.join(visitor)
                        offer.stream.send_fin()
                        visitor.end()
        await until(lambda: len(lines_about_visitors(journal)) == 20)

        assert not parts.listeners._visitors
        for meter in (parts.tunnels["blog"], parts.tunnels["mail"], parts.sessions.traffic["homelab"]):
            assert not meter._open
        (client,) = parts.sessions.connected()[HOMELAB]
        assert not client.lingering._connections
        await until(lambda: list(client.session.link.mux.streams) == [1])


# Half-closed visitors


async def test_a_visitor_that_has_ended_still_gets_its_answer(journal: Journal) -> None:
    async with gateway_parts() as parts, hand_driven(parts.control) as homelab:
        address = await parts.listen(MAIL)
        async with visit(address) as visitor:
            await visitor.send(b"all of it")
            visitor.end()
            offer = await homelab.next_offer()
            await until(lambda: offer._ended)
            assert said(offer) == b"all of it"

            offer.stream.accept()
            offer.stream.send(b"the answer")
            offer.stream.send_fin()
            assert await visitor.receive_all() == b"the answer"
        assert (await left(journal))["end"] == "done"


async def test_a_half_closed_visitor_that_stands_still_is_dropped(journal: Journal) -> None:
    timing = Timing(ping_interval=600.0, ping_timeout=600.0, half_close_timeout=0.05)
    async with gateway_parts(timing=timing) as parts, hand_driven(parts.control) as homelab:
        address = await parts.listen(MAIL)
        async with visit(address) as visitor:
            offer = await homelab.join(visitor)
            visitor.end()
            assert await visitor.wait_reset() == b""
            await until(lambda: offer.stream.is_closed)
        assert (await left(journal))["end"] == "aborted"


def lines_about_visitors(journal: Journal) -> list[dict[str, Any]]:
    return [line for line in journal.lines if line["event"].startswith("visitor_")]


async def send_as_far_as_possible(visitor: Peer, data: bytes) -> None:
    with suppress(ConnectionResetError, BrokenPipeError):
        await visitor.send(data)
