"""Who is connected: one session a client, and who may have one.

Rule: a client has at most one session, the newest. It is taken on here, replaced
here and forgotten here; nobody else holds a session for longer than a call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import TYPE_CHECKING

import anyio
import structlog

from reconcile.desired import AdmissionSpec, Timing
from schemas.errors import TidegateError
from schemas.messages import Drain, Hello, RefusalCode, Replaced, Services, StreamFailed
from schemas.names import ClientId, HostPort, ServiceName
from transport.pump.link import Link
from transport.pump.relay import Relay
from transport.session import LaterMessage, Session, SessionLostError
from transport.tls import IdentityError, client_id_from, peer_identity

from .lingering import Lingering
from .traffic import TrafficBook, visitor_side
from .version import SOFTWARE

if TYPE_CHECKING:
    from transport.offer import Offer

_log = structlog.get_logger("sessions")


class ConnectedClient:
    """A client with a session. Also the handler of what it says on it."""

    session: Session

    def __init__(self, link: Link, timing: Timing, since: datetime, changed: Callable[[], None]) -> None:
        self.id = ClientId("")
        self.address = str(HostPort(*link.peer_address))
        self.since = since
        self.software = ""
        self.services: frozenset[ServiceName] = frozenset()
        self.draining = False
        self.lingering = Lingering(timing.half_close_timeout)
        self._timing = timing
        self._changed = changed

    def greeted(self, session: Session, client_id: ClientId, hello: Hello) -> None:
        self.session = session
        self.id = client_id
        self.software = hello.software
        self.services = _names(hello.services)

    @property
    def can_serve(self) -> bool:
        """Whether visitors may be sent to it."""
        return self.session.is_open and not self.draining

    async def run(self) -> str:
        """Keep the session until it ends; the reason why it ended."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.lingering.run)
            reason = await self.session.run(
                ping_interval=self._timing.ping_interval, ping_timeout=self._timing.ping_timeout
            )
            tasks.cancel_scope.cancel()
        return reason

    # SessionHandler

    def message_received(self, message: LaterMessage) -> None:
        match message:
            case Services(services=services):
                self.services = _names(services)
                self._changed()
            case StreamFailed(stream=stream_id, message=text):
                stream = self.session.link.mux.streams.get(stream_id)
                if stream is not None and isinstance(stream.sink, Relay) and stream.sink.is_opening:
                    stream.sink.note.failure = text
            case Drain():
                self.draining = True
                self._changed()
            case Replaced():
                pass  # only a gateway says this

    def stream_offered(self, session: Session, offer: Offer) -> None:
        """A gateway is offered no streams; the session refuses them before this."""


class Sessions:
    """All sessions of a gateway.

    :param name: how the gateway introduces itself.
    :param clock: the time now, in UTC.
    :param changed: called when a client has come, gone, or changed its services.
    """

    def __init__(self, name: str, clock: Callable[[], datetime], changed: Callable[[], None]) -> None:
        self.traffic = TrafficBook(visitor_side)
        self.admission = AdmissionSpec(clients=frozenset(), domain=None, admins=frozenset())
        self._name = name
        self._clock = clock
        self._changed = changed
        self._started = clock()
        self._connected: dict[ClientId, ConnectedClient] = {}
        self._last_seen: dict[ClientId, datetime] = {}  # clients that came and went

    # Who may connect

    def set_admission(self, admission: AdmissionSpec) -> None:
        """Change who may connect. A client that no longer may loses its session at once."""
        self.admission = admission
        for client in list(self._connected.values()):
            try:
                self._admit(client.session.link)
            except _NotAdmittedError as error:
                client.session.close(str(error))

    def _admit(self, link: Link) -> ClientId:
        """Which client the peer's certificate makes it.

        :raises _NotAdmittedError: if it may not connect.
        """
        try:
            client_id = client_id_from(peer_identity(link.peer_certificate), self.admission.domain)
        except IdentityError as error:
            raise _NotAdmittedError(RefusalCode.WRONG_IDENTITY, str(error)) from error
        clients = self.admission.clients
        if clients is not None and client_id not in clients:
            raise _NotAdmittedError(
                RefusalCode.NOT_DECLARED,
                f"the gateway does not list the client {client_id!r}: add it under clients in its file",
            )
        return client_id

    def _identify(self, link: Link, hello: Hello) -> ClientId:
        client_id = self._admit(link)
        if hello.id != client_id:
            raise _NotAdmittedError(
                RefusalCode.WRONG_IDENTITY,
                f"the client calls itself {hello.id!r}, but its certificate is for {client_id!r}: "
                f"set client.id to {client_id} or use the certificate of {hello.id}",
            )
        return client_id

    # Who is connected

    def serving(self, clients: Iterable[ClientId], service: ServiceName) -> ConnectedClient | None:
        """The first of these, in order of preference, that is connected and offers the service."""
        for client_id in clients:
            client = self._connected.get(client_id)
            if client is not None and client.can_serve and service in client.services:
                return client
        return None

    def last_seen(self, client_id: ClientId) -> datetime:
        """Since when it has been away; since the start of the gateway if it never came."""
        return self._last_seen.get(client_id, self._started)

    def connected(self) -> Mapping[ClientId, ConnectedClient]:
        """Everyone who has a session."""
        return MappingProxyType(self._connected)

    def known(self) -> frozenset[ClientId]:
        """Every client that is declared, connected, or has been."""
        return (
            frozenset(self._connected) | frozenset(self._last_seen) | (self.admission.clients or frozenset())
        )

    def states(self) -> Mapping[ClientId, tuple[str, str]]:
        """The current and the last state of every known client, in threshold's words."""
        states: dict[ClientId, tuple[str, str]] = {}
        for client_id in sorted(self.known()):
            came_before = client_id in self._last_seen
            if client_id in self._connected:
                states[client_id] = (
                    "ClientConnected",
                    "ClientDisconnected" if came_before else "ClientUnknown",
                )
            elif came_before:
                states[client_id] = ("ClientDisconnected", "ClientConnected")
            else:
                states[client_id] = ("ClientUnknown", "ClientUnknown")
        return states

    async def serve(self, link: Link, timing: Timing) -> None:
        """Greet whoever is on the link and keep its session until it ends."""
        client = ConnectedClient(link, timing, self._clock(), self._changed)
        try:
            session, hello = await Session.accept(link, client)
        except SessionLostError as error:
            _log.warning("client_refused", address=client.address, reason=str(error))
            return
        try:
            client_id = self._identify(link, hello)
        except _NotAdmittedError as error:
            session.refuse(error.code, str(error))
            _log.warning("client_refused", address=client.address, reason=str(error))
            return
        client.greeted(session, client_id, hello)
        self._take_on(client)
        log = _log.bind(client=client_id, address=client.address)
        log.info("client_connected", software=client.software, services=sorted(client.services))
        reason = "the gateway is stopping"
        try:
            reason = await client.run()
        finally:
            session.close(reason)
            self._forget(client)
            log.info("client_disconnected", reason=reason)

    def _take_on(self, client: ConnectedClient) -> None:
        """Make this the client's session. An older one is ended, also if its peer is long gone."""
        old = self._connected.get(client.id)
        self._connected[client.id] = client
        client.session.welcome(gateway=self._name, software=SOFTWARE)
        if old is not None:
            old.session.tell(Replaced())
            old.session.close("replaced by a newer session of the same client")
        self._changed()

    def _forget(self, client: ConnectedClient) -> None:
        if self._connected.get(client.id) is client:
            del self._connected[client.id]
            self._last_seen[client.id] = self._clock()
            self._changed()


def _names(services: Iterable[str]) -> frozenset[ServiceName]:
    return frozenset(ServiceName(name) for name in services)


class _NotAdmittedError(TidegateError):
    def __init__(self, code: RefusalCode, message: str) -> None:
        super().__init__(message)
        self.code = code
