"""A link of ours that leads to a peer made with hashicorp/yamux.

Rule: our end is the real link, with TLS, and its streams are byte streams. What the two say to each other is
up to the tests.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio

from tests.transport.world import (
    PATIENCE,
    Bell,
    Listening,
    client_tls,
    server_tls,
    turn_until,
)
from transport.byte_stream import MuxByteStream, accept_byte_stream, open_byte_stream
from transport.pump.link import Link
from transport.pump.sockets import accept_link, dial_link
from transport.wire.frames import GoAwayCode
from transport.wire.mux import MuxStream, Role, StreamSink

from .go_peer import GoPeer, Moved, Program, running


class Ours:
    """Our end: it accepts every stream, unless told otherwise, and remembers what it is told."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.accepts = True
        self.accepted: list[MuxByteStream] = []
        self.pongs: list[int] = []
        self.farewells: list[GoAwayCode] = []
        self.is_lost = False
        self.error: Exception | None = None  # why the link was lost
        self.bell = Bell()
        link.start(self)

    def open(self, first: bytes = b"") -> MuxByteStream:
        return open_byte_stream(self.link, first)

    async def accept(self) -> MuxByteStream:
        """The next stream that Go opens."""
        await self.bell.until(lambda: self.accepted)
        return self.accepted.pop(0)

    async def ping(self, value: int = 1) -> None:
        """Ask for a sign of life and wait for it. Go has then dealt with all that was said before."""
        self.link.mux.ping(value)
        await self.bell.until(lambda: value in self.pongs)
        self.pongs.remove(value)

    # LinkOwner

    def stream_offered(self, stream: MuxStream) -> StreamSink | None:
        if not self.accepts:
            return None
        self.accepted.append(accept_byte_stream(self.link, stream))
        self.bell.ring()
        return self.accepted[-1]

    def pong(self, value: int) -> None:
        self.pongs.append(value)
        self.bell.ring()

    def going_away(self, code: GoAwayCode) -> None:
        self.farewells.append(code)
        self.bell.ring()

    def link_lost(self, error: Exception | None) -> None:
        self.is_lost, self.error = True, error
        self.bell.ring()


@asynccontextmanager
async def linked(
    role: Role, program: Program, directory: Path, *options: str
) -> AsyncIterator[tuple[Link, GoPeer]]:
    """A link on which nothing has been said yet; ``role`` is ours."""
    listening = Listening()
    dial = "" if role is Role.CLIENT else "{}:{}".format(*listening.address)
    async with running(program, directory, *options, dial=dial) as go, anyio.create_task_group() as tasks:
        if role is Role.CLIENT:
            link = await dial_link(*await go.address(), client_tls(), handshake_timeout=PATIENCE)
        else:
            connection = await listening.accept_socket()
            link = await accept_link(connection, server_tls(), handshake_timeout=PATIENCE)
        listening.close()
        tasks.start_soon(go.listen)
        try:
            yield link, go
        finally:
            link.abort()
            tasks.cancel_scope.cancel()


@asynccontextmanager
async def meeting(
    role: Role, program: Program, directory: Path, *options: str
) -> AsyncIterator[tuple[Ours, GoPeer]]:
    """Both ends of a session. At its end Go's program must have nothing to complain of."""
    async with linked(role, program, directory, *options) as (link, go):
        ours = Ours(link)
        yield ours, go
        assert go.complaints() == []


async def nothing_is_left(ours: Ours, go: GoPeer) -> None:
    """Both sides have forgotten every stream."""
    await turn_until(lambda: not ours.link.mux.streams)
    await ours.ping()
    assert await go.streams() == 0


def some_bytes(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


def hashed(data: bytes, end: str = "EOF") -> Moved:
    """What Go says of having read these bytes, or written them."""
    return Moved(len(data), hashlib.sha256(data).hexdigest(), end)


async def receive_all(stream: MuxByteStream) -> bytes:
    """Everything up to the end."""
    with anyio.fail_after(PATIENCE):
        return b"".join([chunk async for chunk in stream])


async def receive_exactly(stream: MuxByteStream, size: int) -> bytes:
    received = bytearray()
    with anyio.fail_after(PATIENCE):
        while len(received) < size:
            received += await stream.receive(size - len(received))
    return bytes(received)


async def send_all(stream: MuxByteStream, data: bytes) -> None:
    """Send, and say that this was all."""
    with anyio.fail_after(PATIENCE):
        await stream.send(data)
        await stream.send_eof()
