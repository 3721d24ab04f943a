"""Two programs greet each other, say what there is to say, and know why it ended; all of it over real TLS."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import anyio
import pytest

from schemas.messages import (
    PROTOCOL,
    ControlMessage,
    Drain,
    FailureCode,
    Hello,
    Refusal,
    RefusalCode,
    Replaced,
    Services,
    StreamFailed,
    Welcome,
)
from schemas.names import ProxyProtocol
from tests.support import pki
from tests.support.mux_pair import RecordingSink
from transport import session as session_module
from transport.offer import Offer
from transport.pump.link import Link
from transport.pump.relay import Relay
from transport.pump.sockets import accept_link, dial_link
from transport.session import LaterMessage, Session, SessionLostError, SessionRefusedError
from transport.tls import client_context
from transport.wire.control import encode_message
from transport.wire.frames import GoAwayCode
from transport.wire.mux import MuxStream, StreamSink
from transport.wire.open_header import OpenHeader, encode_open_header
from transport.wire.proxy_protocol import Endpoint

from .world import (
    HELLO,
    PATIENCE,
    Bell,
    Listening,
    RecordingHandler,
    World,
    both,
    loop_turns,
    make_links,
    make_sessions,
    server_tls,
    turn_until,
)

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("tls_engine", "quiet")]


class Peer:
    """The other end of a link, which says on the control stream whatever the test wants.

    It is a real mux on a real link, so that only what is said can be wrong.
    """

    def __init__(self, link: Link, *, dials: bool) -> None:
        self.heard = bytearray()
        self.streams: list[MuxStream] = []
        self.error: Exception | None = None
        self.is_lost = False
        self.farewells: list[GoAwayCode] = []
        self.resets = 0
        self.bell = Bell()
        self.link = link
        link.start(self)
        if dials:
            self.streams.append(link.mux.open_stream(self))

    def say(self, *messages: ControlMessage | bytes) -> None:
        for message in messages:
            self.streams[0].send(message if isinstance(message, bytes) else encode_message(message))

    async def until_lost(self) -> None:
        await self.bell.until(lambda: self.is_lost)

    # LinkOwner and StreamSink

    def stream_offered(self, stream: MuxStream) -> StreamSink | None:
        stream.accept()
        self.streams.append(stream)
        self.bell.ring()
        return self

    def pong(self, value: int) -> None:
        self.bell.ring()

    def going_away(self, code: GoAwayCode) -> None:
        self.farewells.append(code)

    def link_lost(self, error: Exception | None) -> None:
        assert not self.is_lost
        self.is_lost, self.error = True, error
        self.bell.ring()

    def data(self, chunk: memoryview) -> None:
        self.heard += chunk
        self.bell.ring()

    def fin(self) -> None:
        self.bell.ring()

    def reset(self) -> None:
        self.resets += 1
        self.bell.ring()

    def acknowledged(self) -> None:
        self.bell.ring()

    def credit(self) -> None:
        pass


async def accept_fails(link: Link) -> str:
    """Accept on the gateway's side and expect that nothing comes of it; why not."""
    with pytest.raises(SessionLostError) as caught:
        await Session.accept(link, RecordingHandler())
    assert link.is_lost
    return str(caught.value)


async def greet_fails(link: Link) -> str:
    with pytest.raises(SessionLostError) as caught:
        await Session.greet(link, HELLO, RecordingHandler())
    assert link.is_lost
    return str(caught.value)


# The greeting


async def test_both_sides_learn_who_the_other_is(listening: Listening) -> None:
    gateway_link, client_link = await make_links(listening)

    was_open: list[bool] = []

    async def accept() -> tuple[Session, Hello]:
        session, hello = await Session.accept(gateway_link, RecordingHandler())
        was_open.append(session.is_open)
        session.welcome(gateway="gw1", software="tidegate 1", instance="a1")
        was_open.append(session.is_open)
        return session, hello

    (gateway, hello), (client, welcome) = await both(
        accept, lambda: Session.greet(client_link, HELLO, RecordingHandler())
    )

    assert was_open == [False, True]
    assert hello == HELLO
    assert welcome == Welcome(protocol=PROTOCOL, gateway="gw1", software="tidegate 1", instance="a1")
    assert client.is_open
    gateway.close("")
    client.close("")


@pytest.mark.parametrize("code", RefusalCode)
async def test_a_refused_client_learns_why(listening: Listening, code: RefusalCode) -> None:
    gateway_link, client_link = await make_links(listening)

    async def accept() -> None:
        session, _ = await Session.accept(gateway_link, RecordingHandler())
        session.refuse(code, "add the client\nto the file")
        assert not session.is_open

    async def greet() -> SessionRefusedError:
        with pytest.raises(SessionRefusedError) as caught:
            await Session.greet(client_link, HELLO, RecordingHandler())
        return caught.value

    _, error = await both(accept, greet)
    assert error.code is code
    assert str(error) == "add the client\ufffdto the file"
    assert client_link.is_lost


async def test_a_silent_client_is_given_up_on(listening: Listening, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "GREETING_TIMEOUT", 0.05)
    gateway_link, client_link = await make_links(listening)
    peer = Peer(client_link, dials=False)

    assert await accept_fails(gateway_link) == "no greeting came within 0.05 s"
    await peer.until_lost()


async def test_a_silent_gateway_is_given_up_on(listening: Listening, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "GREETING_TIMEOUT", 0.05)
    gateway_link, client_link = await make_links(listening)
    peer = Peer(gateway_link, dials=False)

    assert await greet_fails(client_link) == "no greeting came within 0.05 s"
    await peer.until_lost()


@pytest.mark.parametrize("side", ["gateway", "client"])
async def test_a_peer_that_leaves_during_the_greeting_ends_it_at_once(
    listening: Listening, side: str
) -> None:
    links = await make_links(listening)
    peer = Peer(links[1 if side == "gateway" else 0], dials=False)
    peer.link.close()

    if side == "gateway":
        assert await accept_fails(links[0]) in {"the peer closed the connection", "SSL shutdown timed out"}
    else:
        assert "closed the connection without a word" in await greet_fails(links[1])


async def test_a_client_whose_certificate_is_refused_learns_where_to_look(listening: Listening) -> None:
    """In TLS 1.3 its handshake is over before the gateway has looked at the certificate."""
    stranger = pki.client(signed_by=pki.authority("Other CA"))
    context = client_context(cert=stranger.certificate, key=stranger.key, ca=pki.authority().certificate)

    async def accept() -> None:
        with pytest.raises(OSError, match=r"(?i)verif"):
            await accept_link(await listening.accept_socket(), server_tls(), handshake_timeout=PATIENCE)

    async def dial() -> str:
        return await greet_fails(await dial_link(*listening.address, context, handshake_timeout=PATIENCE))

    _, reason = await both(accept, dial)
    assert "it may not accept this client's certificate" in reason


async def test_a_peer_that_left_before_the_greeting_ends_it_at_once(listening: Listening) -> None:
    gateway_link, client_link = await make_links(listening)
    peer = Peer(client_link, dials=False)
    peer.link.close()
    await loop_turns()

    assert await accept_fails(gateway_link)


async def test_a_cancelled_greeting_closes_the_link(listening: Listening) -> None:
    gateway_link, client_link = await make_links(listening)
    peer = Peer(client_link, dials=True)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(Session.accept, gateway_link, RecordingHandler())
        await loop_turns()
        tasks.cancel_scope.cancel()

    assert gateway_link.is_lost
    await peer.until_lost()


async def test_a_client_of_another_version_is_told_which_side_to_upgrade(listening: Listening) -> None:
    gateway_link, client_link = await make_links(listening)
    peer = Peer(client_link, dials=True)
    peer.say(replace(HELLO, protocol=PROTOCOL + 1))

    why = "the gateway speaks protocol 1 and the client protocol 2: upgrade the gateway"
    assert await accept_fails(gateway_link) == why
    await peer.until_lost()
    assert bytes(peer.heard) == encode_message(Refusal(code=RefusalCode.WRONG_PROTOCOL, message=why))


async def test_a_gateway_of_another_version_is_left(listening: Listening) -> None:
    gateway_link, client_link = await make_links(listening)
    peer = Peer(gateway_link, dials=False)

    async def answer() -> None:
        await peer.bell.until(lambda: peer.heard)
        peer.say(Welcome(protocol=0, gateway="gw1", software=""))

    why, _ = await both(lambda: greet_fails(client_link), answer)
    assert why == "the gateway speaks protocol 0 and the client protocol 1: upgrade the gateway"
    await peer.until_lost()


@pytest.mark.parametrize(
    "first",
    [
        Drain(),
        Welcome(protocol=PROTOCOL, gateway="", software=""),
        StreamFailed(stream=1, code=FailureCode.MALFORMED, message=""),
    ],
)
async def test_a_client_that_does_not_begin_with_a_hello_is_told_so(
    listening: Listening, first: ControlMessage
) -> None:
    gateway_link, client_link = await make_links(listening)
    peer = Peer(client_link, dials=True)
    peer.say(first)

    assert await accept_fails(gateway_link) == f"the client began with {first.type} instead of a hello"
    await peer.until_lost()
    assert b'"code":"malformed"' in peer.heard


@pytest.mark.parametrize("noise", [b"GET / HTTP/1.1\r\n", b"\n", b'{"type":"hello"}\n', b"x" * 200_000])
async def test_a_client_that_says_no_message_is_told_so(listening: Listening, noise: bytes) -> None:
    gateway_link, client_link = await make_links(listening)
    peer = Peer(client_link, dials=True)
    peer.say(noise)

    assert "control message" in await accept_fails(gateway_link)
    await peer.until_lost()
    assert b'"code":"malformed"' in peer.heard
    assert peer.farewells == [GoAwayCode.PROTOCOL_ERROR]


async def test_a_message_of_the_future_before_the_hello_is_passed_over(listening: Listening) -> None:
    gateway_link, client_link = await make_links(listening)
    peer = Peer(client_link, dials=True)
    peer.say(b'{"type":"weather","is":"fine"}\n', HELLO)
    session, hello = await Session.accept(gateway_link, RecordingHandler())

    assert hello == HELLO
    session.close("")


async def test_a_gateway_that_answers_something_else_is_left(listening: Listening) -> None:
    gateway_link, client_link = await make_links(listening)
    peer = Peer(gateway_link, dials=False)

    async def answer() -> None:
        await peer.bell.until(lambda: peer.heard)
        peer.say(Drain())

    why, _ = await both(lambda: greet_fails(client_link), answer)
    assert why == "the gateway answered the hello with drain"


async def test_a_client_that_speaks_before_the_welcome_is_cut_off(listening: Listening) -> None:
    """What it says would reach whoever has not even decided whether to take it on."""
    gateway_link, client_link = await make_links(listening)
    peer = Peer(client_link, dials=True)
    peer.say(HELLO, Services(services=("web",)))
    handler = RecordingHandler()
    with suppress(SessionLostError):
        await Session.accept(gateway_link, handler)
    await peer.until_lost()

    assert handler.messages == []
    assert gateway_link.is_lost


async def test_only_the_first_stream_of_the_client_is_the_control_stream(listening: Listening) -> None:
    gateway_link, client_link = await make_links(listening)
    peer = Peer(client_link, dials=True)
    late = peer.link.mux.open_stream(peer, encode_message(HELLO))
    peer.say(HELLO)
    session, _ = await Session.accept(gateway_link, RecordingHandler())
    await peer.bell.until(lambda: late.is_closed)

    assert not peer.streams[0].is_closed
    session.close("")


async def test_a_gateway_cannot_open_streams_before_it_has_welcomed_the_client(listening: Listening) -> None:
    gateway_link, client_link = await make_links(listening)
    peer = Peer(gateway_link, dials=False)
    early = gateway_link.mux.open_stream(peer, b"anything")

    async def answer() -> None:
        await peer.bell.until(lambda: early.is_closed)
        peer.say(Welcome(protocol=PROTOCOL, gateway="", software=""))

    (session, _), _ = await both(lambda: Session.greet(client_link, HELLO, RecordingHandler()), answer)
    session.close("")


# Later messages


async def test_messages_reach_the_handler_in_order(listening: Listening) -> None:
    gateway_handler, client_handler = RecordingHandler(), RecordingHandler()
    gateway, client = await make_sessions(listening, gateway_handler, client_handler)
    said = [Services(services=(f"s{number}",)) for number in range(100)]
    for message in said:
        client.tell(message)
    client.tell(Drain())
    gateway.tell(Drain())
    await gateway_handler.bell.until(lambda: len(gateway_handler.messages) == 101)
    await client_handler.bell.until(lambda: client_handler.messages)

    assert gateway_handler.messages == [*said, Drain()]
    assert client_handler.messages == [Drain()]
    gateway.close("")
    client.close("")


# Drain


async def test_a_stream_that_is_opened_before_a_drain_is_heard_of_comes_before_its_answer(
    site: World,
) -> None:
    """So whoever drains knows when no more can come."""
    offered: list[int] = []
    opened_before: list[int] = []
    hear = site.gateway_handler.message_received

    def count_and_hear(message: LaterMessage) -> None:
        opened_before.append(site.gateway.streams)
        hear(message)

    site.gateway_handler.message_received = count_and_hear  # type: ignore[method-assign]  # one test's handler
    site.client_handler.on_offered = lambda session, offer: offered.append(offer.stream.id)
    visitors = [await site.visit() for _ in range(20)]
    await site.door.until("connected", 20)

    site.client.drain()
    assert not site.client.is_drained
    await turn_until(lambda: site.client.is_drained)

    assert opened_before == [20]
    assert len(offered) == 20
    for visitor in visitors:
        visitor.close()


async def test_an_answer_to_a_drain_that_nobody_has_said_is_no_answer_to_the_next_one(
    listening: Listening,
) -> None:
    gateway, client = await make_sessions(listening, RecordingHandler(), RecordingHandler())
    client.pong(0xFFFFFFFF)

    client.drain()

    assert not client.is_drained
    await turn_until(lambda: client.is_drained)
    gateway.close("")
    client.close("")


async def test_a_session_that_has_ended_does_not_drain(listening: Listening) -> None:
    gateway, client = await make_sessions(listening, RecordingHandler(), RecordingHandler())
    client.close("")
    client.drain()

    assert not client.is_drained
    assert not client.streams
    gateway.close("")


async def test_streams_for_visitors_are_counted_without_the_control_stream(site: World) -> None:
    assert (site.gateway.streams, site.client.streams) == (0, 0)
    await site.meet()

    assert (site.gateway.streams, site.client.streams) == (1, 1)


async def test_a_second_hello_ends_the_session(listening: Listening) -> None:
    handler = RecordingHandler()
    gateway, client = await make_sessions(listening, handler, RecordingHandler())
    client.tell(HELLO)
    reason = await gateway.run(ping_interval=60, ping_timeout=60)

    assert reason == "the peer said hello after the greeting"
    assert not gateway.is_open
    assert (
        await client.run(ping_interval=60, ping_timeout=60) == "the peer ended the session (protocol error)"
    )


async def test_a_handler_that_ends_the_session_hears_no_more_of_it(listening: Listening) -> None:
    gateway_handler = RecordingHandler()
    gateway, client = await make_sessions(listening, gateway_handler, RecordingHandler())
    hear = gateway_handler.message_received

    def hear_and_close(message: object) -> None:
        hear(Drain())
        gateway.close("enough")

    gateway_handler.message_received = hear_and_close  # type: ignore[method-assign]  # one test's handler
    assert client._control is not None
    client._control.send(encode_message(Drain()) * 2)  # in one frame, so both are there at once
    await client.run(ping_interval=60, ping_timeout=60)

    assert gateway_handler.messages == [Drain()]


async def test_a_peer_that_does_not_read_its_messages_loses_the_session(listening: Listening) -> None:
    """Its mux reads them, so to speak, and its program gives no credit back."""
    gateway_link, client_link = await make_links(listening)
    peer = Peer(client_link, dials=True)
    peer.say(HELLO)
    session, _ = await Session.accept(gateway_link, RecordingHandler())
    session.welcome(gateway="gw1", software="")
    for _ in range(300):
        session.tell(StreamFailed(stream=1, code=FailureCode.OTHER, message="x" * 999))

    assert session.end_reason == "the peer does not read its messages"
    await peer.until_lost()


async def test_nothing_is_said_on_a_session_that_has_ended(listening: Listening) -> None:
    gateway, client = await make_sessions(listening, RecordingHandler(), RecordingHandler())
    gateway.close("first reason")
    gateway.tell(Replaced())
    gateway.close("second reason")
    gateway.refuse(RefusalCode.OTHER, "third reason")

    assert gateway.end_reason == "first reason"
    assert await gateway.run(ping_interval=60, ping_timeout=60) == "first reason"
    await client.run(ping_interval=60, ping_timeout=60)


# The end


async def test_a_client_that_is_no_longer_taken_learns_why(listening: Listening) -> None:
    gateway, client = await make_sessions(listening, RecordingHandler(), RecordingHandler())
    gateway.refuse(RefusalCode.NOT_DECLARED, "add the client to the file")

    assert gateway.end_reason == "add the client to the file"
    assert await client.run(ping_interval=60, ping_timeout=60) == "refused: add the client to the file"


async def test_a_session_that_is_replaced_hears_it_before_it_ends(listening: Listening) -> None:
    handler = RecordingHandler()
    old, old_client = await make_sessions(listening, RecordingHandler(), handler)
    new, new_client = await make_sessions(listening, RecordingHandler(), RecordingHandler())
    old.tell(Replaced())
    old.close("replaced by a newer session of the same client")

    assert await old_client.run(ping_interval=60, ping_timeout=60)
    assert handler.messages == [Replaced()]
    assert not old.is_open
    assert new.is_open
    assert new_client.is_open
    new.close("")
    new_client.close("")


async def test_closing_tells_the_other_side(listening: Listening) -> None:
    gateway, client = await make_sessions(listening, RecordingHandler(), RecordingHandler())
    reasons = await both(
        lambda: gateway.run(ping_interval=60, ping_timeout=60), lambda: _close_and_run(client, "stopping")
    )

    assert reasons == ("the peer closed the connection", "stopping")


async def _close_and_run(session: Session, reason: str) -> str:
    session.close(reason)
    return await session.run(ping_interval=60, ping_timeout=60)


@pytest.mark.parametrize("end", [MuxStream.send_fin, MuxStream.reset])
async def test_a_peer_that_ends_the_control_stream_ends_the_session(
    listening: Listening, end: Callable[[MuxStream], None]
) -> None:
    gateway_link, client_link = await make_links(listening)
    peer = Peer(client_link, dials=True)
    peer.say(HELLO)
    session, _ = await Session.accept(gateway_link, RecordingHandler())
    session.welcome(gateway="gw1", software="")
    end(peer.streams[0])

    assert await session.run(ping_interval=60, ping_timeout=60) == "the peer ended the session"
    await peer.until_lost()


async def test_a_peer_that_says_an_error_code_and_stays_is_left(listening: Listening) -> None:
    gateway, client = await make_sessions(listening, RecordingHandler(), RecordingHandler())
    client.link.mux.go_away(GoAwayCode.INTERNAL_ERROR)

    assert (
        await gateway.run(ping_interval=60, ping_timeout=60) == "the peer ended the session (internal error)"
    )
    assert gateway.link.is_lost
    client.close("")


async def test_a_peer_that_takes_no_more_streams_keeps_its_session(site: World) -> None:
    visitor, service = await site.meet()
    site.client.link.mux.go_away(GoAwayCode.NORMAL)
    await visitor.send(b"still")
    assert await service.receive_exactly(5) == b"still"

    assert not site.gateway.is_open
    visitor.close()
    service.close()


async def test_a_broken_protocol_is_the_reason_given(listening: Listening) -> None:
    gateway_link, client_link = await make_links(listening)
    peer = Peer(client_link, dials=True)
    peer.say(HELLO)
    session, _ = await Session.accept(gateway_link, RecordingHandler())
    session.welcome(gateway="gw1", software="")
    peer.link._transport.write(b"GET / HTTP/1.1\r\n\r\n")
    reason = await session.run(ping_interval=60, ping_timeout=60)
    await peer.until_lost()

    assert reason == "the peer broke the protocol: frame version 71; this is no yamux peer"
    assert peer.farewells == [GoAwayCode.PROTOCOL_ERROR]


async def test_a_session_whose_stream_ids_are_used_up_ends_and_makes_room_for_another(site: World) -> None:
    """It would otherwise live on, with visitors that nobody can be sent to."""
    site.gateway.link.mux._next_id = 2**32 - 2
    reasons: list[str] = []

    async def run() -> None:
        reasons.append(await site.gateway.run(ping_interval=60, ping_timeout=60))

    site.start(run)
    await site.visit()
    await turn_until(lambda: reasons)

    assert reasons == ["the session has used up its stream ids"]
    assert not site.gateway.is_open


# Keepalive


async def test_pings_measure_the_round_trip(listening: Listening) -> None:
    gateway, client = await make_sessions(listening, RecordingHandler(), RecordingHandler())
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: gateway.run(ping_interval=0.01, ping_timeout=20))
        await turn_until(lambda: gateway.round_trip is not None)
        gateway.close("")

    assert isinstance(gateway.round_trip, float)
    assert 0 < gateway.round_trip < 20
    client.close("")


async def test_a_peer_that_falls_silent_is_dropped_without_a_word(listening: Listening) -> None:
    gateway_link, client_link = await make_links(listening)
    peer = Peer(client_link, dials=True)
    peer.say(HELLO)
    session, _ = await Session.accept(gateway_link, RecordingHandler())
    session.welcome(gateway="gw1", software="")
    peer.link._transport.pause_reading()  # so it answers nothing, like a host that is gone
    reason = await session.run(ping_interval=0.01, ping_timeout=0.05)

    assert reason == "nothing was heard for 0.05 s after a ping"
    assert not session.is_open
    await turn_until(lambda: session.link.is_lost)
    peer.link._transport.resume_reading()
    await peer.until_lost()


async def test_what_waits_in_the_socket_is_heard_before_the_peer_is_called_dead(listening: Listening) -> None:
    """After this process was stopped for a while, both the deadline and an answer are overdue."""
    handler = RecordingHandler()
    gateway, client = await make_sessions(listening, handler, RecordingHandler())
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: gateway.run(ping_interval=0.01, ping_timeout=0.05))
        await turn_until(lambda: gateway._keepalive is not None and gateway._keepalive._asked_at is not None)
        client.link._transport.pause_reading()  # no pong, then
        client.tell(Drain())
        client.link._flush()
        started = time.monotonic()
        while time.monotonic() < started + 0.1:
            pass  # stopped
        await handler.bell.until(lambda: handler.messages)

        assert gateway.is_open
        client.link._transport.resume_reading()
        gateway.close("")
    client.close("")


# Streams


async def test_a_stream_that_failed_says_why_before_it_is_reset(site: World) -> None:
    site.client_handler.on_offered = lambda session, offer: session.fail_stream(
        offer.stream, FailureCode.SERVICE_DOWN, "nothing listens there"
    )
    told_when_reset: list[LaterMessage] = []

    def refused(relay: Relay) -> None:
        told_when_reset.extend(site.gateway_handler.messages)
        relay.abort()

    site.door.on_refused = refused
    visitor = await site.visit()
    assert await visitor.is_reset()

    assert told_when_reset == [
        StreamFailed(stream=2, code=FailureCode.SERVICE_DOWN, message="nothing listens there")
    ]
    visitor.close()


async def test_more_failed_streams_than_the_peer_reads_about_end_without_a_reason_and_not_the_session(
    listening: Listening,
) -> None:
    """A service can be down while the link has a long queue; the visitors of other services go on."""

    def fail(session: Session, offer: Offer) -> None:
        session.fail_stream(offer.stream, FailureCode.SERVICE_DOWN, "x" * 999)

    gateway_handler = RecordingHandler()
    gateway, client = await make_sessions(listening, gateway_handler, RecordingHandler(on_offered=fail))
    gateway.link._transport.pause_reading()
    header = encode_open_header(
        OpenHeader(
            tunnel="t",
            service="s",
            source=Endpoint("192.0.2.1", 1),
            destination=Endpoint("192.0.2.2", 2),
            proxy_protocol=ProxyProtocol.OFF,
        )
    )
    sinks = [RecordingSink() for _ in range(300)]
    for sink in sinks:
        gateway.link.mux.open_stream(sink, header)
    last = [gateway.link.mux.streams[2 * number] for number in range(1, 301)][-1]
    await turn_until(lambda: client.link.bytes_received > 300 * len(header))
    client.tell(Drain())
    gateway.link._transport.resume_reading()
    await turn_until(lambda: last.is_closed)

    assert all(sink.is_reset for sink in sinks)
    assert client.is_open
    said = [message.type for message in gateway_handler.messages]
    assert 100 < said.count("stream_failed") < 200
    assert said[-1] == "drain"
    gateway.link.mux.open_stream(sink := RecordingSink(), header)
    await turn_until(lambda: sink.is_reset)
    assert gateway_handler.messages[-1].type == "stream_failed"  # what was read makes room for reasons
    gateway.close("")
    client.close("")


async def test_a_stream_without_a_header_is_refused_and_the_session_lives(site: World) -> None:
    class Sink(Peer):
        def __init__(self) -> None:
            self.bell = Bell()
            self.resets = 0

    for first, ends in ((b"\xff\xff", False), (b"\x00", True), (b"\x00\x02[]", False)):
        sink = Sink()
        stream = site.gateway.link.mux.open_stream(sink, first)
        if ends:
            stream.send_fin()
        await sink.bell.until(lambda sink=sink: sink.resets)  # type: ignore[misc]  # mypy knows no such lambda
    assert [
        message.code for message in site.gateway_handler.messages if isinstance(message, StreamFailed)
    ] == [FailureCode.MALFORMED] * 3
    assert site.client_handler.offers == []

    visitor, service = await site.meet()
    await visitor.send(b"hello")
    assert await service.receive_exactly(5) == b"hello"
    visitor.close()
    service.close()


async def test_a_header_in_pieces_is_put_together(site: World) -> None:
    """Any peer may cut its frames as it likes."""
    mux = site.gateway.link.mux
    send = mux.open_stream

    def open_in_pieces(sink: StreamSink, first: bytes | bytearray = b"") -> MuxStream:
        stream = send(sink, first[:1])
        for start in range(1, len(first), 3):
            stream.send(first[start : start + 3])
        return stream

    mux.open_stream = open_in_pieces  # type: ignore[method-assign]  # a peer that cuts its frames small
    visitor, service = await site.meet()
    await visitor.send(b"hello")
    assert await service.receive_exactly(5) == b"hello"
    visitor.close()
    service.close()
