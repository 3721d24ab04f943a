"""A gateway without state file and API, and a client whose every move is the test's.

Rule: the parts are the real ones, on real sockets; what they are told is told here, specification by
specification, as the reconcile loop does it.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Final, TypeVar

import anyio
from anyio.abc import TaskGroup, TaskStatus

from agent.actuator import ResourceActuator
from agent.gateway.admission import Admissions
from agent.gateway.control_port import ControlPorts
from agent.gateway.egress import Egress, EgressOpener
from agent.gateway.egress_names import Names
from agent.gateway.keyring import Keyring
from agent.gateway.listeners import PublicListeners
from agent.gateway.sessions import Sessions
from agent.gateway.special_addresses import Address
from agent.keys.certificates import Credentials
from agent.process.spawn import IsolatedTasks, Spawn
from agent.traffic import TrafficBook, visitor_side
from reconcile.desired import (
    AdmissionSpec,
    ControlSpec,
    Key,
    Kind,
    ListenerSpec,
    RouteSpec,
    Spec,
    Timing,
    key_of,
)
from reconcile.plan import Action, Verb
from schemas.messages import PROTOCOL, Hello, Welcome
from schemas.names import Balance, ClientId, ListenAddress, ProxyProtocol, ServiceName, TunnelName
from schemas.references import InlinePem
from schemas.state import TlsGateway
from transport.offer import Offer
from transport.pump.sockets import dial_link
from transport.session import LaterMessage, Session
from transport.tls import client_context

from . import pki
from .journal import PATIENCE
from .peers import Peer, free_listen

# So long that no test ever sees a ping, or a half-closed connection dropped, that it did not ask for.
QUIET: Final = Timing(ping_interval=600.0, ping_timeout=600.0, half_close_timeout=600.0)

_T = TypeVar("_T")


def gateway_tls(
    credentials: Credentials | None = None, *, authority: Credentials | None = None
) -> TlsGateway:
    """The gateway's own certificate, and whose clients it takes."""
    own = credentials or pki.gateway("127.0.0.1", "localhost")
    return TlsGateway(
        cert=InlinePem(own.certificate.decode()),
        key=InlinePem(own.key.decode()),
        client_ca=InlinePem((authority or pki.authority()).certificate.decode()),
    )


def route(
    tunnel: str = "blog",
    *hostnames: str,
    clients: Iterable[str] = ("homelab",),
    service: str = "web",
    proxy_protocol: ProxyProtocol = ProxyProtocol.OFF,
    balance: Balance = Balance.PREFERENCE,
) -> RouteSpec:
    return RouteSpec(
        tunnel=TunnelName(tunnel),
        hostnames=hostnames,
        clients=tuple(ClientId(client) for client in clients),
        service=ServiceName(service),
        proxy_protocol=proxy_protocol,
        balance=balance,
    )


def listener(address: ListenAddress, *routes: RouteSpec, peek_timeout: float = 600.0) -> ListenerSpec:
    return ListenerSpec(address=address, routes=routes, peek_timeout=peek_timeout)


def admission(*clients: str, domain: str | None = None) -> AdmissionSpec:
    """These clients may connect; without any, everybody with a certificate."""
    admitted = frozenset(ClientId(client) for client in clients) if clients else None
    return AdmissionSpec(clients=admitted, domain=domain, admins=frozenset())


class GatewayParts:
    """Sessions, control port, public ports and egress. ``zone`` is all that there is of names."""

    def __init__(self, spawn: Spawn, stop: Callable[[], None], control: ListenAddress) -> None:
        self.stop = stop  # cancels every task of the gateway
        self.changes = 0
        self.rings = 0
        self.sessions = Sessions("gw-test", lambda: datetime.now(UTC), self._changed)
        self.tunnels = TrafficBook(visitor_side)
        self.listeners = PublicListeners(self.sessions, self.tunnels)
        self.keyring = Keyring()
        self.control_ports = ControlPorts(self.sessions, self.keyring, spawn)
        self.zone: dict[str, list[str]] = {}
        self.egress = Egress(Names(self._look_up), lambda: self.actuator.observe(), self.sessions.traffic)
        self.sessions.ask_egress = self.egress.ask
        self.actuator = ResourceActuator(
            {
                Kind.ADMISSION: Admissions(self.sessions),
                Kind.EGRESS: EgressOpener(self.egress),
                Kind.CONTROL: self.control_ports,
                Kind.LISTENER: self.listeners,
            },
            self._ring,
        )
        self.control = control

    async def put(self, spec: Spec) -> None:
        """Open it, or change what is open."""
        key = key_of(spec)
        verb = Verb.UPDATE if key in self.actuator.observe() else Verb.OPEN
        await self.actuator.perform(Action(verb=verb, key=key, spec=spec))

    async def drop(self, key: Key) -> None:
        await self.actuator.perform(Action(verb=Verb.CLOSE, key=key, spec=None))

    async def listen(self, *routes: RouteSpec, peek_timeout: float = 600.0) -> ListenAddress:
        """A new public port."""
        address = free_listen()
        await self.put(listener(address, *routes, peek_timeout=peek_timeout))
        return address

    def _look_up(self, name: str) -> list[Address]:
        try:
            return [ip_address(text) for text in self.zone[name]]
        except KeyError:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known") from None

    def _changed(self) -> None:
        self.changes += 1

    def _ring(self) -> None:
        self.rings += 1


@asynccontextmanager
async def gateway_parts(
    *,
    admitted: AdmissionSpec | None = None,
    timing: Timing = QUIET,
    tls: TlsGateway | None = None,
    control: ListenAddress | None = None,
) -> AsyncIterator[GatewayParts]:
    """A gateway that takes everybody with a certificate, until the block ends."""
    async with anyio.create_task_group() as outside:
        tasks: TaskGroup = await outside.start(_hold)
        parts = GatewayParts(IsolatedTasks(tasks), tasks.cancel_scope.cancel, control or free_listen())
        own = pki.gateway(parts.control.host)
        await parts.put(admitted or admission())
        await parts.put(ControlSpec(address=parts.control, tls=tls or gateway_tls(own), timing=timing))
        try:
            yield parts
        finally:
            with anyio.CancelScope(shield=True):
                await parts.actuator.close_all()
                parts.listeners.turn_everyone_away()
                parts.egress.turn_everyone_away()
            parts.stop()


async def _hold(*, task_status: TaskStatus[TaskGroup]) -> None:
    """A task group whose end is not that of the test."""
    async with anyio.create_task_group() as tasks:
        task_status.started(tasks)
        await anyio.sleep_forever()


class HandDriven:
    """The client's end of a session. It does nothing by itself: what it is offered waits for the test."""

    session: Session
    welcome: Welcome

    def __init__(self, take: Callable[[Session, Offer], None] | None = None) -> None:
        self.messages: list[LaterMessage] = []
        self.offers: list[Offer] = []
        self._take = take
        self._grown = anyio.Event()

    # SessionHandler

    def message_received(self, message: LaterMessage) -> None:
        self.messages.append(message)
        self._grow()

    def stream_offered(self, session: Session, offer: Offer) -> None:
        if self._take is not None:
            self._take(session, offer)
            return
        self.offers.append(offer)
        self._grow()

    # What a test waits for

    async def next_offer(self) -> Offer:
        return await self._next(self.offers)

    async def join(self, visitor: Peer) -> Offer:
        """Take the next visitor on, and wait until the gateway knows."""
        offer = await self.next_offer()
        offer.stream.accept()
        offer.stream.send(b"welcome")
        assert await visitor.receive_exactly(7) == b"welcome"
        return offer

    async def next_message(self) -> LaterMessage:
        return await self._next(self.messages)

    async def ended(self) -> str:
        """Wait until the session has ended; the reason."""
        with anyio.fail_after(PATIENCE):
            return await self.session.run(ping_interval=PATIENCE * 2, ping_timeout=PATIENCE)

    async def _next(self, things: list[_T]) -> _T:
        with anyio.fail_after(PATIENCE):
            while not things:
                await self._grown.wait()
        return things.pop(0)

    def _grow(self) -> None:
        grown, self._grown = self._grown, anyio.Event()
        grown.set()


@asynccontextmanager
async def hand_driven(
    control: ListenAddress,
    client_id: str = "homelab",
    *,
    services: Iterable[str] = ("web",),
    credentials: Credentials | None = None,
    take: Callable[[Session, Offer], None] | None = None,
    instance: str = "",
    session: int = 1,
) -> AsyncIterator[HandDriven]:
    """A client with a session, until the block ends.

    :param instance: the process of which it is the session with that number.
    :param take: what to do with an offered stream instead of keeping it for the test.
    """
    own = credentials or pki.client(client_id)
    context = client_context(cert=own.certificate, key=own.key, ca=pki.authority().certificate)
    link = await dial_link(control.host, control.port, context, handshake_timeout=PATIENCE)
    handler = HandDriven(take)
    hello = Hello(
        protocol=PROTOCOL,
        id=client_id,
        software="test/1",
        services=tuple(services),
        instance=instance,
        session=session,
    )
    handler.session, handler.welcome = await Session.greet(link, hello, handler)
    try:
        yield handler
    finally:
        handler.session.close("the test is over")
