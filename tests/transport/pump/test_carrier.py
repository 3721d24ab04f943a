"""A carrier moves what a link says through a WebSocket, whoever is at its other end."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from functools import cache, partial
from typing import cast

import anyio
import pytest
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.uri import WebSocketURI

from tests.support import pki
from tests.transport.world import (
    PATIENCE,
    Listening,
    Plain,
    both,
    client_tls,
    loop_turns,
    server_tls,
    turn_until,
)
from transport.pump import carrier as carrier_module
from transport.pump.carrier import Carrier
from transport.pump.link import Link
from transport.pump.sockets import accept_carrier, accept_link, dial_carrier, dial_link
from transport.tls import client_context, server_context
from transport.wire.plain_end import PlainEnd
from transport.wire.websocket import MAX_MESSAGE, WebSocketEnd

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("quiet", "tls_engine")]

A_FEW_BUFFERS = 1024 * 1024
BULK = bytes(range(256)) * 16_384  # 4 MiB


def server_end() -> WebSocketEnd:
    return WebSocketEnd(ServerProtocol(state=State.OPEN, max_size=MAX_MESSAGE))


def client_end() -> WebSocketEnd:
    uri = WebSocketURI(secure=True, host="gw1", port=443, path="/tunnel", query="")
    return WebSocketEnd(ClientProtocol(uri, state=State.OPEN, max_size=MAX_MESSAGE))


def framed(opcode: Opcode, data: bytes, *, fin: bool = True) -> bytes:
    """What a client of another make sends."""
    return Frame(opcode, data, fin).serialize(mask=True)


@cache
def outer_server_tls() -> ssl.SSLContext:
    mine = pki.gateway()
    return server_context(
        cert=mine.certificate, key=mine.key, ca=pki.authority().certificate, alpn=["http/1.1"]
    )


@cache
def outer_client_tls() -> ssl.SSLContext:
    mine = pki.client()
    return client_context(
        cert=mine.certificate, key=mine.key, ca=pki.authority().certificate, alpn=["http/1.1"]
    )


class Pair:
    """Two carriers that lead to each other, and the sockets behind them."""

    def __init__(self, listening: Listening, *, is_secure: bool, is_plain: bool = False) -> None:
        self._listening = listening
        self._is_secure = is_secure
        self._is_plain = is_plain
        self.gateway: Carrier
        self.client: Carrier

    async def connect(self) -> None:
        async def accept() -> Carrier:
            return await accept_carrier(
                await self._listening.accept_socket(),
                outer_server_tls() if self._is_secure else None,
                handshake_timeout=PATIENCE,
            )

        async def dial() -> Carrier:
            there = await Plain.connect(self._listening.address)
            return await dial_carrier(
                "127.0.0.1",
                there.socket,
                outer_client_tls() if self._is_secure else None,
                handshake_timeout=PATIENCE,
            )

        self.gateway, self.client = await both(accept, dial)

    async def carry(self) -> tuple[Plain, Plain]:
        """The sockets of the gateway and of the client."""
        if self._is_plain:
            return (
                Plain(await self.gateway.carry(PlainEnd(), ping_interval=None)),
                Plain(await self.client.carry(PlainEnd(), ping_interval=None)),
            )
        return Plain(await self.gateway.carry(server_end())), Plain(await self.client.carry(client_end()))

    async def link(self) -> tuple[Link, Link]:
        """A link on what they carry."""
        ours, theirs = await self.carry()

        async def accept() -> Link:
            return await accept_link(ours.socket, server_tls(), handshake_timeout=PATIENCE)

        async def dial() -> Link:
            return await dial_link(
                "127.0.0.1", 1, client_tls(), handshake_timeout=PATIENCE, connection=theirs.socket
            )

        gateway, client = await both(accept, dial)
        gateway.carrier, client.carrier = self.gateway, self.client
        return gateway, client

    async def until_closed(self) -> None:
        await turn_until(lambda: self.gateway.is_closed and self.client.is_closed)


@pytest.fixture(params=["in the clear", "within TLS"])
async def pair(request: pytest.FixtureRequest, listening: Listening) -> AsyncIterator[Pair]:
    made = Pair(listening, is_secure=request.param == "within TLS")
    await made.connect()
    yield made
    made.gateway.abort()
    made.client.abort()
    await made.until_closed()


@pytest.fixture(params=["in the clear", "within TLS", "nothing but TLS"])
async def any_pair(request: pytest.FixtureRequest, listening: Listening) -> AsyncIterator[Pair]:
    made = Pair(
        listening, is_secure=request.param != "in the clear", is_plain=request.param == "nothing but TLS"
    )
    await made.connect()
    yield made
    made.gateway.abort()
    made.client.abort()
    await made.until_closed()


async def test_bytes_cross_in_both_directions_at_once(any_pair: Pair) -> None:
    gateway, client = await any_pair.carry()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(gateway.send, BULK)
        tasks.start_soon(client.send, BULK[::-1])
        assert await client.receive_exactly(len(BULK)) == BULK
        assert await gateway.receive_exactly(len(BULK)) == BULK[::-1]
    gateway.close()
    client.close()


@pytest.mark.parametrize("who", ["gateway", "client"])
async def test_an_end_is_a_goodbye_behind_everything(any_pair: Pair, who: str) -> None:
    """And no failure on either side."""
    gateway, client = await any_pair.carry()
    leaver, other = (gateway, client) if who == "gateway" else (client, gateway)

    await leaver.send(b"the last words")
    leaver.close()

    assert await other.receive_all() == b"the last words"
    other.close()
    await any_pair.until_closed()
    assert (any_pair.gateway.failure, any_pair.client.failure) == ("", "")


@pytest.mark.parametrize("who", ["gateway", "client"])
async def test_who_takes_nothing_is_sent_no_more_than_a_few_buffers(any_pair: Pair, who: str) -> None:
    """Nobody keeps the rest in memory, and nothing is lost when it reads again."""
    gateway, client = await any_pair.carry()
    sender, sluggard = (gateway, client) if who == "gateway" else (client, gateway)
    ours = any_pair.gateway if who == "gateway" else any_pair.client
    data = BULK * 8

    sent = await sender.send_until(lambda: ours._is_paused, data)

    assert ours._transport.get_write_buffer_size() < A_FEW_BUFFERS
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(sender.send, data[sent:])
        assert await sluggard.receive_exactly(len(data)) == data
    sender.close()
    sluggard.close()


async def test_what_was_said_behind_the_upgrade_is_not_lost(pair: Pair) -> None:
    pair.client.write(client_end().send(b"early"))
    await turn_until(lambda: pair.gateway.early)

    gateway, client = await pair.carry()

    assert await gateway.receive_exactly(5) == b"early"
    gateway.close()
    client.close()


async def test_pings_keep_an_idle_connection_open(pair: Pair) -> None:
    """Both ways: each side hears of the other again and again, and nobody gives up."""
    ends = server_end(), client_end()
    gateway = Plain(await pair.gateway.carry(ends[0], ping_interval=0.001, ping_timeout=PATIENCE))
    client = Plain(await pair.client.carry(ends[1], ping_interval=0.001, ping_timeout=PATIENCE))

    await turn_until(lambda: all(end.received > 1_000 for end in ends))

    await gateway.send(b"still here")
    assert await client.receive_exactly(10) == b"still here"
    gateway.close()
    client.close()


async def test_a_peer_that_stops_in_the_midst_of_its_handshake_is_told_from_one_that_speaks(
    pair: Pair,
) -> None:
    pair.client.abort()

    with pytest.raises(EOFError):
        await pair.gateway.more()


async def test_a_link_runs_on_it_as_on_any_socket(any_pair: Pair) -> None:
    """With its own TLS, both certificates, and an end of which both sides hear."""
    gateway, client = await any_pair.link()
    gateway.stated_address = "192.0.2.7", 50_000

    assert gateway.peer_certificate["subject"] == ((("commonName", "homelab"),),)
    assert gateway.alpn == client.alpn == "tidegate/1"
    assert gateway.peer_address == ("192.0.2.7", 50_000)
    gateway.close()
    await turn_until(lambda: client.is_closed and gateway.is_closed)
    assert any_pair.gateway.is_closed


async def test_of_a_link_that_is_lost_nothing_is_kept_for_a_peer_that_does_not_read(
    any_pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits for it hides the end of the link, which nobody would see."""
    monkeypatch.setattr(carrier_module, "_GOODBYE", 0.01)
    gateway, client = await any_pair.link()
    under = Under()
    any_pair.gateway.under = cast("Carrier", under)
    any_pair.client._transport.pause_reading()
    while not any_pair.gateway._is_paused:
        gateway._transport.write(bytes(65_536))
        await loop_turns(1)

    gateway.abort()
    await turn_until(lambda: gateway.is_closed)

    assert under.is_told
    client.abort()


class Under:
    """As much of a carrier as one within it asks for."""

    is_closed = True
    is_told = False

    def link_lost(self) -> None:
        self.is_told = True


# A peer of another make, in the clear


class Stranger:
    """A raw connection to a carrier that holds a WebSocket."""

    def __init__(self, carrier: Carrier, wire: Plain, inside: Plain) -> None:
        self.carrier = carrier
        self.wire = wire
        self.inside = inside


@pytest.fixture
async def stranger(listening: Listening, request: pytest.FixtureRequest) -> AsyncIterator[Stranger]:
    wire = await Plain.connect(listening.address, receive_buffer=4096)
    carrier = await accept_carrier(await listening.accept_socket(), None, handshake_timeout=PATIENCE)
    ping_timeout = getattr(request, "param", PATIENCE)
    inside = Plain(await carrier.carry(server_end(), ping_interval=ping_timeout, ping_timeout=ping_timeout))
    yield Stranger(carrier, wire, inside)
    inside.close()
    carrier.abort()
    wire.close()
    await turn_until(lambda: carrier.is_closed)


@pytest.mark.parametrize("stranger", [0.02], indirect=True)
async def test_a_peer_that_answers_no_ping_is_dead(stranger: Stranger) -> None:
    assert await stranger.inside.receive_all() == b""

    assert stranger.carrier.failure == "nothing was heard for 0.02 s after a ping of the WebSocket"


async def test_a_flood_of_pings_from_a_peer_that_reads_nothing_fills_no_memory(stranger: Stranger) -> None:
    flood = framed(Opcode.PING, bytes(125)) * 5_000

    await stranger.wire.send(flood * 10)
    await stranger.wire.send(framed(Opcode.BINARY, b"and now this"))

    assert await stranger.inside.receive_exactly(12) == b"and now this"
    assert stranger.carrier._transport.get_write_buffer_size() < A_FEW_BUFFERS


async def test_a_text_message_is_answered_1003_and_the_connection_closed(stranger: Stranger) -> None:
    await stranger.wire.send(framed(Opcode.TEXT, b"hello"))

    said = await stranger.wire.receive_all()

    assert (1003).to_bytes(2, "big") + b"only binary messages are taken" in said
    assert await stranger.inside.receive_all() == b""
    assert "text message" in stranger.carrier.failure


async def test_an_oversized_message_is_answered_1009_before_it_has_come(stranger: Stranger) -> None:
    await stranger.wire.send(framed(Opcode.BINARY, bytes(MAX_MESSAGE + 1))[:14])

    assert (1009).to_bytes(2, "big") in await stranger.wire.receive_all()
    assert await stranger.inside.receive_all() == b""


async def test_a_connection_that_breaks_in_a_message_ends_what_is_behind_it(stranger: Stranger) -> None:
    """The message was not whole, so nothing of it is passed on."""
    await stranger.wire.send(framed(Opcode.BINARY, b"whole") + framed(Opcode.BINARY, b"not whole")[:9])
    assert await stranger.inside.receive_exactly(5) == b"whole"

    stranger.wire.reset()

    assert await stranger.inside.receive_all() == b""
    await turn_until(lambda: stranger.carrier.is_closed)
    assert stranger.carrier.failure == "the connection under the WebSocket was closed without a goodbye"


async def test_half_a_connection_is_an_end(stranger: Stranger) -> None:
    stranger.wire.end()

    assert await stranger.inside.receive_all() == b""
    await stranger.wire.receive_all()


async def test_nothing_is_kept_of_a_peer_who_leaves_while_the_two_are_joined(listening: Listening) -> None:
    """A stranger who asks and leaves at once, again and again, would have each of them kept for 40 s."""
    wire = await Plain.connect(listening.address)
    carrier = await accept_carrier(await listening.accept_socket(), None, handshake_timeout=PATIENCE)
    wire.reset()
    await turn_until(lambda: carrier.is_closed)
    inside = Plain(await carrier.carry(server_end()))

    assert await inside.receive_all() == b""
    assert carrier._timer is None
    inside.close()


async def test_who_is_refused_can_read_why_though_it_is_still_sending(listening: Listening) -> None:
    wire = await Plain.connect(listening.address)
    carrier = await accept_carrier(await listening.accept_socket(), None, handshake_timeout=PATIENCE)
    await wire.send(b"POST /tunnel")
    await carrier.more()

    carrier.refuse(b"no")
    assert not carrier.early
    await wire.send(BULK)
    wire.end()

    assert await wire.receive_all() == b"no"
    wire.close()
    await turn_until(lambda: carrier.is_closed)


@pytest.mark.parametrize("who", ["gateway", "client"])
async def test_a_handshake_that_fails_closes_the_socket(listening: Listening, who: str) -> None:
    peer = await Plain.connect(listening.address)
    accepted = await listening.accept_socket()
    await peer.send(b"this is no TLS at all, and long enough to be told from it")

    accepted.setblocking(False)
    shake_hands = {
        "gateway": partial(accept_carrier, accepted, outer_server_tls(), handshake_timeout=PATIENCE),
        "client": partial(dial_carrier, "gw1", accepted, outer_client_tls(), handshake_timeout=PATIENCE),
    }[who]

    with pytest.raises(OSError):  # noqa: PT011 - each engine has another
        await shake_hands()

    await peer.is_reset()
    assert accepted.fileno() == -1
    peer.close()


@pytest.mark.parametrize("turns", range(6))
async def test_giving_up_in_the_handshake_closes_the_socket(listening: Listening, turns: int) -> None:
    peer = await Plain.connect(listening.address)
    accepted = await listening.accept_socket()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(partial(accept_carrier, accepted, outer_server_tls(), handshake_timeout=PATIENCE))
        await loop_turns(turns)
        tasks.cancel_scope.cancel()

    if not turns:
        accepted.close()  # nobody had begun, and it was still the caller's
    await peer.is_reset()
    peer.close()


@pytest.mark.parametrize("turns", range(4))
async def test_giving_up_before_it_is_joined_leaves_nothing_open(pair: Pair, turns: int) -> None:
    joined: list[Plain] = []

    async def join() -> None:
        joined.append(Plain(await pair.gateway.carry(server_end())))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(join)
        await loop_turns(turns)
        tasks.cancel_scope.cancel()
    pair.gateway.abort()
    for inside in joined:
        assert await inside.receive_all() == b""
        inside.close()

    await turn_until(lambda: pair.client.is_closed or pair.client._peer_ended)
