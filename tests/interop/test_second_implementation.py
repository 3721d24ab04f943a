"""SPEC.md is enough: a gateway and a client made of hashicorp/yamux and that page work with ours."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Final

import pytest

from schemas.names import ProxyProtocol
from tests.transport.world import HELLO, Listening, Plain, RecordingHandler, RecordingOwner, both
from transport.offer import Offer
from transport.pump.relay import Relay, RelayEnd
from transport.pump.sockets import dial_tcp, serve
from transport.session import CONTROL_STREAM, Session
from transport.wire.mux import Role
from transport.wire.open_header import OpenHeader
from transport.wire.proxy_protocol import Endpoint

from .go_peer import GoPeer, Program
from .meeting import hashed, linked, some_bytes

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.real_software("go"),
    pytest.mark.timeout(300),  # the first test builds the peer, and Go's library with it
]

DATA: Final = some_bytes(1 << 20)
WELCOME: Final = {"type": "welcome", "protocol": 1, "gateway": "made with yamux", "software": "test"}


@pytest.fixture
async def listening() -> AsyncIterator[Listening]:
    made = Listening()
    yield made
    made.close()


async def hear_line(go: GoPeer, stream: int) -> dict[str, object]:
    """The next message on the control stream."""
    line = b""
    while not line.endswith(b"\n"):
        line += await go.hear(stream, 1)
    message: dict[str, object] = json.loads(line)
    return message


async def say_line(go: GoPeer, stream: int, message: dict[str, object]) -> None:
    await go.say(stream, json.dumps(message).encode() + b"\n")


async def hear_header(go: GoPeer, stream: int) -> dict[str, object]:
    """The open header of a visitor's stream."""
    size = int.from_bytes(await go.hear(stream, 2))
    header: dict[str, object] = json.loads(await go.hear(stream, size))
    return header


async def visit_and_end(visitor: Plain) -> bytes:
    """Say everything and end; all that comes back."""

    async def say() -> None:
        await visitor.send(DATA)
        visitor.end()

    _, echoed = await both(say, visitor.receive_all)
    received: bytes = echoed
    return received


async def test_a_client_made_with_yamux_serves_a_visitor_of_our_gateway(
    program: Program, tmp_path: Path
) -> None:
    def lead(relay: Relay) -> None:
        header = OpenHeader(
            tunnel="blog",
            service="web",
            source=Endpoint(*relay.source),
            destination=Endpoint(*relay.destination),
            proxy_protocol=ProxyProtocol.OFF,
        )
        session.open(relay, header)

    async with linked(Role.SERVER, program, tmp_path) as (link, go):

        async def say_hello() -> None:
            assert await go.open() == CONTROL_STREAM
            hello = {"type": "hello", "protocol": 1, "id": "homelab", "software": "test", "services": ["web"]}
            await say_line(go, CONTROL_STREAM, hello)

        (session, heard), _ = await both(partial(Session.accept, link, RecordingHandler()), say_hello)
        session.welcome(gateway="gw1", software="test")
        assert heard == HELLO
        assert (await hear_line(go, CONTROL_STREAM))["type"] == "welcome"

        door = RecordingOwner(on_connected=lead)
        public = socket.socket()
        public.bind(("127.0.0.1", 0))
        address = public.getsockname()
        server = await serve(public, door)
        visitor = await Plain.connect(address)
        stream = await go.accept()
        header = await hear_header(go, stream)
        assert (header["service"], header["source"]) == ("web", list(visitor.address))

        echoed, went_through = await both(partial(visit_and_end, visitor), partial(go.echo, stream))

        assert echoed == DATA
        assert went_through == hashed(DATA)
        await door.until_all_ended()
        assert list(door.ends.values()) == [RelayEnd.DONE]
        visitor.close()
        await server.close()
        assert go.complaints() == []


async def test_a_gateway_made_with_yamux_leads_a_visitor_to_our_service(
    program: Program, tmp_path: Path, listening: Listening
) -> None:
    back = RecordingOwner()
    offers: list[Offer] = []

    async def take_offer(session: Session) -> Plain:
        await handler.bell.until(lambda: offers)
        relay = await dial_tcp(*listening.address, back)
        offers[0].join(relay, session.link, b"")
        return await listening.accept()

    async with linked(Role.CLIENT, program, tmp_path) as (link, go):
        handler = RecordingHandler(on_offered=lambda session, offer: offers.append(offer))

        async def say_welcome() -> None:
            assert await go.accept() == CONTROL_STREAM
            hello = await hear_line(go, CONTROL_STREAM)
            assert (hello["type"], hello["id"], hello["services"]) == ("hello", "homelab", ["web"])
            await say_line(go, CONTROL_STREAM, WELCOME)

        (session, welcome), _ = await both(partial(Session.greet, link, HELLO, handler), say_welcome)
        assert welcome.gateway == "made with yamux"

        header = b'{"tunnel":"blog","service":"web","source":["192.0.2.1",4711],"destination":["::1",443]}'
        stream = await go.open()
        await go.say(stream, len(header).to_bytes(2) + header + b"the visitor's first words")
        service = await take_offer(session)
        assert await service.receive_exactly(25) == b"the visitor's first words"

        async def visit() -> object:
            written = await go.write(stream, 1 << 20)
            await go.ask("close", stream)
            heard = await go.read(stream)
            assert (heard.digest, heard.end) == (written.digest, "EOF")
            return heard.count

        async def answer() -> None:
            await service.send(await service.receive_all())
            service.end()

        count, _ = await both(visit, answer)

        assert count == 1 << 20
        await back.until_all_ended()
        assert list(back.ends.values()) == [RelayEnd.DONE]
        assert go.complaints() == []
