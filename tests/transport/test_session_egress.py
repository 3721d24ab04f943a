"""Streams that a client opens: the gateway is offered them with their egress header, and may refuse them."""

from __future__ import annotations

import pytest

from schemas.messages import FailureCode, StreamFailed
from tests.support.mux_pair import RecordingSink
from transport.pump.link import CLIENTS_OFFERED
from transport.session import Session
from transport.wire.control import encode_message
from transport.wire.egress_header import EgressHeader, encode_egress_header
from transport.wire.mux import MuxStream

from .test_session import Peer
from .world import (
    HELLO,
    Listening,
    RecordingHandler,
    World,
    loop_turns,
    make_links,
    make_sessions,
    turn_until,
)

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("tls_engine", "quiet")]

WANTED = EgressHeader(host="mail.example.com", port=25)


def ask(site: World, first: bytes = encode_egress_header(WANTED)) -> tuple[MuxStream, RecordingSink]:
    sink = RecordingSink()
    return site.client.link.mux.open_stream(sink, first), sink


async def test_what_a_client_asks_for_is_offered_to_the_gateway_with_what_follows(site: World) -> None:
    stream, sink = ask(site, encode_egress_header(WANTED) + b"EHLO")
    await site.gateway_handler.bell.until(lambda: site.gateway_handler.offers)
    (offer,) = site.gateway_handler.offers

    assert offer.header == WANTED
    assert (offer.stream.id, offer.holding) == (stream.id, 4)
    offer.stream.accept()
    await turn_until(lambda: sink.acknowledgements)
    offer.stream.reset()


async def test_what_a_program_says_follows_the_header(site: World) -> None:
    site.door.on_connected = lambda relay: site.client.open_egress(relay, WANTED, keeps=True)
    program = await site.visit()
    relay = await site.door.until("connected")
    await program.send(b"EHLO")
    await site.gateway_handler.bell.until(lambda: site.gateway_handler.offers)
    (offer,) = site.gateway_handler.offers
    await turn_until(lambda: offer.holding == 4)

    assert offer.header == WANTED
    offer.stream.accept()
    offer.stream.send(b"250 ok")
    assert await program.receive_exactly(6) == b"250 ok"
    assert (relay.bytes_read, relay.bytes_written) == (4, 6)
    offer.stream.reset()


async def test_a_gateway_says_why_it_refuses(site: World) -> None:
    stream, sink = ask(site)
    await site.gateway_handler.bell.until(lambda: site.gateway_handler.offers)
    site.gateway_handler.offers[0].refuse(FailureCode.NOT_ALLOWED, "add to egress.allow …")
    await turn_until(lambda: sink.is_reset)

    assert site.client_handler.messages == [
        StreamFailed(stream=stream.id, code=FailureCode.NOT_ALLOWED, message="add to egress.allow …")
    ]


async def test_a_header_that_is_no_egress_header_costs_the_stream_and_not_the_session(site: World) -> None:
    for first in (b"\x00\x02{}", b"\xff\xff", b'\x00\x12{"egress":["a",0]}'):
        _, sink = ask(site, first)
        await turn_until(lambda sink=sink: sink.is_reset)  # type: ignore[misc]  # mypy knows no such lambda

    assert site.gateway_handler.offers == []
    assert [
        message.code for message in site.client_handler.messages if isinstance(message, StreamFailed)
    ] == [FailureCode.MALFORMED] * 3
    assert site.client.is_open


async def test_a_client_that_opens_more_than_may_wait_is_refused_those(site: World) -> None:
    streams = [ask(site, b"\x00") for _ in range(CLIENTS_OFFERED + 3)]
    await turn_until(lambda: streams[-1][0].is_closed)
    await loop_turns()

    assert [stream.is_closed for stream, _ in streams] == [False] * CLIENTS_OFFERED + [True] * 3


async def test_a_stream_without_its_header_waits_from_one_ping_to_the_next_and_no_longer(site: World) -> None:
    """A client could otherwise fill the places of all that it may ask for, and have them kept for days."""
    streams = [ask(site, first) for first in (b"", b"\x00", encode_egress_header(WANTED)[:-1])]
    asked, _ = ask(site)
    await site.gateway_handler.bell.until(lambda: site.gateway_handler.offers)
    site.gateway._look()
    await loop_turns()
    assert not any(stream.is_closed for stream, _ in streams)

    site.gateway._look()
    await turn_until(lambda: all(sink.is_reset for _, sink in streams))
    assert [
        (message.code, message.message)
        for message in site.client_handler.messages
        if isinstance(message, StreamFailed)
    ] == [(FailureCode.MALFORMED, "the stream's header did not come in time")] * 3
    assert not asked.is_closed  # what is to be dialed for it has a limit of its own
    site.gateway_handler.offers[0].stream.reset()


async def test_a_client_is_not_listened_to_before_its_welcome(listening: Listening) -> None:
    gateway_link, client_link = await make_links(listening)
    peer, handler = Peer(client_link, dials=True), RecordingHandler()
    peer.streams[0].send(encode_message(HELLO))
    session, _ = await Session.accept(gateway_link, handler)
    early = peer.link.mux.open_stream(peer, encode_egress_header(WANTED))
    await peer.bell.until(lambda: early.is_closed)

    assert handler.offers == []
    session.close("")


async def test_a_session_that_ends_drops_what_it_was_offered(listening: Listening) -> None:
    handler = RecordingHandler()
    gateway, client = await make_sessions(listening, handler, RecordingHandler())
    client.link.mux.open_stream(RecordingSink(), encode_egress_header(WANTED))
    await handler.bell.until(lambda: handler.offers)
    told: list[str] = []
    handler.offers[0].on_reset = lambda: told.append("reset")
    client.close("")
    await turn_until(lambda: told)

    assert handler.offers[0].stream.is_closed
    gateway.close("")
