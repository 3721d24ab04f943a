"""No visitor is forgotten: not one that waits for its last bytes, nor one that goes while nobody reads it."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import anyio.lowlevel
import pytest

from reconcile.desired import Timing
from tests.support.gateway_parts import QUIET, GatewayParts, gateway_parts, hand_driven, route
from tests.support.peers import Peer, unconnected, until
from transport.pump.relay import Relay
from transport.session import Session

pytestmark = pytest.mark.anyio

IMPATIENT = Timing(ping_interval=0.05, ping_timeout=600.0, half_close_timeout=0.2)


@asynccontextmanager
async def served(timing: Timing = IMPATIENT) -> AsyncIterator[tuple[GatewayParts, Session, Relay, Peer]]:
    """A visitor that reads nothing by itself, and its client, which says and takes what the test wants."""
    async with gateway_parts(timing=timing) as gateway, hand_driven(gateway.control) as client:
        address = await gateway.listen(route())
        with unconnected(address) as visitor:
            visitor.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            await visitor.connect(address)
            await client.join(visitor)
            (relay,) = gateway.tunnels["blog"]._open
            relay._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            yield gateway, client.session, relay, visitor
            visitor.close()
            await until(lambda: not gateway.tunnels["blog"]._open)


async def has_left(gateway: GatewayParts) -> None:
    """Wait until the gateway is done with its only visitor."""
    await until(lambda: not gateway.tunnels["blog"]._open)


async def say_everything(session: Session, relay: Relay, visitor: Peer) -> None:
    """Both directions end, and what is left is for a socket that takes nothing."""
    visitor.end()
    (stream,) = (stream for number, stream in session.link.mux.streams.items() if number % 2 == 0)
    stream.send(bytes(200_000))
    stream.send_fin()
    await until(lambda: relay.stream is not None and relay.stream.is_closed)
    assert relay.holding > 0


async def test_a_visitor_that_does_not_take_its_last_bytes_is_dropped_at_last() -> None:
    async with served() as (gateway, session, relay, visitor):
        await say_everything(session, relay, visitor)
        await has_left(gateway)


async def test_who_does_not_take_its_last_bytes_is_dropped_also_when_its_session_has_ended() -> None:
    """Its stream was closed before, so the end of the session does not reach it."""
    async with served() as (gateway, session, relay, visitor):
        await say_everything(session, relay, visitor)
        session.close("gone")
        await until(lambda: not gateway.sessions.connected())
        await has_left(gateway)


async def test_who_still_takes_its_last_bytes_gets_all_of_them_when_its_session_has_ended() -> None:
    async with served(QUIET) as (gateway, session, relay, visitor):
        await say_everything(session, relay, visitor)
        session.close("gone")
        await until(lambda: not gateway.sessions.connected())
        assert await visitor.receive_exactly(200_000) == bytes(200_000)
        assert await visitor.receive() == b""


async def test_a_visitor_that_resets_while_nobody_takes_its_bytes_is_noticed() -> None:
    """Its service may wait for something else for hours, and would hold a connection to nobody."""
    async with served() as (gateway, _session, relay, visitor):
        sent = 0
        while relay.stream is not None and relay.stream.send_credit:
            try:
                sent += visitor.socket.send(bytes(65_536))
            except BlockingIOError:
                await anyio.lowlevel.checkpoint()
        assert sent
        visitor.reset()
        await has_left(gateway)
