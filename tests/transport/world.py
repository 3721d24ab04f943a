"""A gateway and a client on loopback, and everybody around them: real sockets, real TLS, no program.

Rule: what is tested is the transport room, so what the agent would decide is decided here, most simply.
Nothing sleeps: a test waits for something to become true, and fails if that takes unreasonably long.
"""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

import anyio
import anyio.abc
import anyio.lowlevel

from schemas.messages import PROTOCOL, Hello
from schemas.names import ProxyProtocol
from tests.support import pki
from transport.offer import Offer
from transport.pump.link import Link
from transport.pump.relay import Relay, RelayEnd
from transport.pump.sockets import Server, accept_link, dial_link, dial_tcp, serve
from transport.session import LaterMessage, Session
from transport.tls import client_context, server_context
from transport.wire.open_header import OpenHeader
from transport.wire.proxy_protocol import Endpoint

PATIENCE: Final = 20.0  # seconds after which a test gives up; never waited for when all is well
HELLO: Final = Hello(protocol=PROTOCOL, id="homelab", software="test", services=("web",))


@cache
def server_tls() -> ssl.SSLContext:
    mine = pki.gateway()
    return server_context(cert=mine.certificate, key=mine.key, ca=pki.authority().certificate)


@cache
def client_tls() -> ssl.SSLContext:
    mine = pki.client()
    return client_context(cert=mine.certificate, key=mine.key, ca=pki.authority().certificate)


class Bell:
    """Rung when anything happens; a test waits at it until what it wants is true."""

    def __init__(self) -> None:
        self._event = anyio.Event()

    def ring(self) -> None:
        event, self._event = self._event, anyio.Event()
        event.set()

    async def until(self, is_true: Callable[[], object]) -> None:
        with anyio.fail_after(PATIENCE):
            while not is_true():
                await self._event.wait()


async def loop_turns(number: int = 30) -> None:
    """Let the loop look at its sockets that many times: what does not happen in these will not happen."""
    for _ in range(number):
        await anyio.lowlevel.checkpoint()


async def turn_until(is_true: Callable[[], object]) -> None:
    """Let the loop turn until something is true of which nobody is told."""
    with anyio.fail_after(PATIENCE):
        while not is_true():
            await loop_turns(1)


# Sockets of people who know nothing of us


class Plain:
    """A socket that does nothing by itself: it reads only when told to."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self.socket = connection

    @classmethod
    async def connect(cls, address: tuple[str, int], *, receive_buffer: int | None = None) -> Plain:
        connection = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET)
        if receive_buffer is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        try:
            connection.connect(address)
        except OSError:
            connection.close()
            raise
        return cls(connection)

    @property
    def address(self) -> tuple[str, int]:
        host, port = self.socket.getsockname()[:2]
        return host, port

    async def send(self, data: bytes | bytearray) -> None:
        rest = memoryview(data)
        with anyio.fail_after(PATIENCE):
            while rest:
                rest = rest[await self._send_some(rest) :]

    async def send_until(self, is_stuck: Callable[[], bool], data: bytes) -> int:
        """Send until the system takes no more and it is stuck for that reason; how much was sent."""
        sent = 0
        with anyio.fail_after(PATIENCE):
            while sent < len(data):
                try:
                    sent += self.socket.send(data[sent : sent + 65_536])
                except BlockingIOError:
                    if is_stuck():
                        return sent
                    await loop_turns(1)
        raise AssertionError(f"all of {len(data)} bytes could be sent")

    async def _send_some(self, data: memoryview) -> int:
        while True:
            try:
                return self.socket.send(data)
            except BlockingIOError:
                await anyio.wait_writable(self.socket)

    async def receive(self, size: int = 65_536) -> bytes:
        """Some bytes, or none at the end of file."""
        with anyio.fail_after(PATIENCE):
            while True:
                try:
                    return self.socket.recv(size)
                except BlockingIOError:
                    await anyio.wait_readable(self.socket)

    async def receive_exactly(self, size: int) -> bytes:
        received = bytearray()
        while len(received) < size:
            chunk = await self.receive(size - len(received))
            assert chunk, f"the end came after {len(received)} of {size} bytes"
            received += chunk
        return bytes(received)

    async def receive_all(self) -> bytes:
        """Everything up to the end of file."""
        received = bytearray()
        while chunk := await self.receive():
            received += chunk
        return bytes(received)

    async def is_reset(self) -> bool:
        """Read up to the end; whether it was a reset instead of one."""
        try:
            await self.receive_all()
        except ConnectionResetError:
            return True
        return False

    def end(self) -> None:
        """Say that no more will be sent."""
        self.socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def close(self) -> None:
        self.socket.close()


class Listening:
    """A listening socket of which the test itself accepts."""

    def __init__(self, *, receive_buffer: int | None = None) -> None:
        self.socket = socket.socket()
        self.socket.setblocking(False)
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.listen(1_000)
        self._accepted: list[Plain] = []

    @property
    def address(self) -> tuple[str, int]:
        host, port = self.socket.getsockname()
        return host, port

    async def accept_socket(self) -> socket.socket:
        with anyio.fail_after(PATIENCE):
            while True:
                try:
                    return self.socket.accept()[0]
                except BlockingIOError:
                    await anyio.wait_readable(self.socket)

    async def accept(self) -> Plain:
        self._accepted.append(Plain(await self.accept_socket()))
        return self._accepted[-1]

    def close(self) -> None:
        """Also what was accepted."""
        for plain in self._accepted:
            plain.close()
        self.socket.close()


async def both(
    one: Callable[[], Coroutine[Any, Any, Any]], other: Callable[[], Coroutine[Any, Any, Any]]
) -> tuple[Any, Any]:
    """Run two at the same time; what they return."""
    results: list[Any] = [None, None]

    async def run(index: int, function: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        results[index] = await function()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run, 0, one)
        tasks.start_soon(run, 1, other)
    return results[0], results[1]


# Owners that keep what they are told


@dataclass(eq=False)
class RecordingOwner:
    """The owner of relays that does what the test says and remembers all that it was told."""

    on_connected: Callable[[Relay], None] = lambda relay: None
    on_peeked: Callable[[Relay], None] = lambda relay: None
    on_refused: Callable[[Relay], None] = Relay.abort
    told: list[tuple[str, Relay]] = field(default_factory=list)
    ends: dict[Relay, RelayEnd] = field(default_factory=dict)
    bell: Bell = field(default_factory=Bell)

    def relays(self, what: str = "connected") -> list[Relay]:
        """Those of whom that was told, in order."""
        return [relay for name, relay in self.told if name == what]

    def names(self, relay: Relay) -> list[str]:
        """What was told of one, in order."""
        return [name for name, other in self.told if other is relay]

    async def until(self, what: str, count: int = 1) -> Relay:
        """Wait until that has been told so many times; of whom it was told last."""
        await self.bell.until(lambda: len(self.relays(what)) >= count)
        return self.relays(what)[-1]

    async def until_all_ended(self) -> None:
        await self.bell.until(lambda: len(self.ends) == len(self.relays()))

    def _tell(self, what: str, relay: Relay) -> None:
        assert relay not in self.ends, f"{what} after the end"
        self.told.append((what, relay))
        self.bell.ring()

    def connected(self, relay: Relay) -> None:
        self._tell("connected", relay)
        self.on_connected(relay)

    def peeked(self, relay: Relay) -> None:
        self._tell("peeked", relay)
        self.on_peeked(relay)

    def timed_out(self, relay: Relay) -> None:
        self._tell("timed_out", relay)

    def acknowledged(self, relay: Relay) -> None:
        self._tell("acknowledged", relay)

    def refused(self, relay: Relay) -> None:
        self._tell("refused", relay)
        self.on_refused(relay)

    def half_closed(self, relay: Relay) -> None:
        names = self.names(relay)
        assert names.count("half_closed") <= names.count("refused"), "told twice of one stream"
        self._tell("half_closed", relay)

    def ended(self, relay: Relay, end: RelayEnd) -> None:
        self._tell("ended", relay)
        self.ends[relay] = end
        self.bell.ring()


@dataclass(eq=False)
class RecordingHandler:
    """The handler of a session."""

    on_offered: Callable[[Session, Offer], None] = lambda session, offer: None
    messages: list[LaterMessage] = field(default_factory=list)
    offers: list[Offer] = field(default_factory=list)
    bell: Bell = field(default_factory=Bell)

    def message_received(self, message: LaterMessage) -> None:
        self.messages.append(message)
        self.bell.ring()

    def stream_offered(self, session: Session, offer: Offer) -> None:
        self.offers.append(offer)
        self.bell.ring()
        self.on_offered(session, offer)


# Links and sessions


async def make_links(listening: Listening) -> tuple[Link, Link]:
    """Both ends of a TLS connection: the gateway's and the client's."""

    async def accept() -> Link:
        return await accept_link(await listening.accept_socket(), server_tls(), handshake_timeout=PATIENCE)

    async def dial() -> Link:
        return await dial_link(*listening.address, client_tls(), handshake_timeout=PATIENCE)

    links: tuple[Link, Link] = await both(accept, dial)
    return links


async def make_sessions(
    listening: Listening, gateway: RecordingHandler, client: RecordingHandler
) -> tuple[Session, Session]:
    """Both ends of a session that has been greeted."""
    gateway_link, client_link = await make_links(listening)

    async def accept() -> Session:
        session, _ = await Session.accept(gateway_link, gateway)
        session.welcome(gateway="gw1", software="test")
        return session

    async def greet() -> Session:
        session, _ = await Session.greet(client_link, HELLO, client)
        return session

    sessions: tuple[Session, Session] = await both(accept, greet)
    return sessions


class World:
    """A public port, a session, and a service behind it.

    ``door`` owns the visitors' relays on the gateway, ``back`` the relays to the service on the client.
    """

    def __init__(self, tasks: anyio.abc.TaskGroup, listening: Listening, service: Listening) -> None:
        self.listening = listening
        self.service = service
        self.door = RecordingOwner(on_connected=self.lead)
        self.back = RecordingOwner()
        self.gateway_handler = RecordingHandler()
        self.client_handler = RecordingHandler(on_offered=self._offered)
        self.prologue = b""
        self.gateway: Session
        self.client: Session
        self._tasks = tasks
        self._visitors: list[Plain] = []
        self._server: Server
        self.public: tuple[str, int]

    def start(self, function: Callable[..., Coroutine[Any, Any, None]], *args: object) -> None:
        """Start a task that lives as long as the world."""
        self._tasks.start_soon(function, *args)

    async def build(self) -> None:
        self.gateway, self.client = await make_sessions(
            self.listening, self.gateway_handler, self.client_handler
        )
        public = socket.socket()
        public.bind(("127.0.0.1", 0))
        self.public = public.getsockname()
        self._server = await serve(public, self.door)

    async def visit(self, *, receive_buffer: int | None = None) -> Plain:
        self._visitors.append(await Plain.connect(self.public, receive_buffer=receive_buffer))
        return self._visitors[-1]

    async def meet(self, *, receive_buffer: int | None = None) -> tuple[Plain, Plain]:
        """A visitor and the service it was led to."""
        visitor = await self.visit(receive_buffer=receive_buffer)
        service = await self.service.accept()
        await self.door.bell.until(lambda: self.door.told[-1][0] == "acknowledged")
        return visitor, service

    async def stop(self) -> None:
        """Close everything, and wait until all have been told."""
        await self._server.close()
        for visitor in self._visitors:
            visitor.close()
        self.gateway.close("the test is over")
        self.client.close("the test is over")
        for owner in (self.door, self.back):
            for relay in owner.relays():
                relay.abort()
            await owner.until_all_ended()
        self.listening.close()
        self.service.close()

    def lead(self, relay: Relay) -> None:
        header = OpenHeader(
            tunnel="blog",
            service="web",
            source=Endpoint(*relay.source),
            destination=Endpoint(*relay.destination),
            proxy_protocol=ProxyProtocol.OFF,
        )
        self.gateway.open(relay, header)

    def _offered(self, session: Session, offer: Offer) -> None:
        self.start(self._dial, session, offer)

    async def _dial(self, session: Session, offer: Offer) -> None:
        relay = await dial_tcp(*self.service.address, self.back)
        offer.join(relay, session.link, self.prologue)


@asynccontextmanager
async def world(*, service_receive_buffer: int | None = None) -> AsyncIterator[World]:
    async with anyio.create_task_group() as tasks:
        made = World(tasks, Listening(), Listening(receive_buffer=service_receive_buffer))
        await made.build()
        try:
            yield made
        finally:
            with anyio.CancelScope(shield=True):
                await made.stop()
            tasks.cancel_scope.cancel()
