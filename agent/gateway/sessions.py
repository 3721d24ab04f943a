"""Who is connected, and who may be.

Rule: every session of a gateway is taken on here and forgotten here. What a newer
one of the same client means for the older ones is decided in ``client_sessions``.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from itertools import chain
from types import MappingProxyType
from typing import Any, Final

import structlog

from agent.events import EventKind, Publish, publish_nowhere
from agent.keys.shown import verified_chain
from agent.process.looking import until
from agent.traffic import TrafficBook, visitor_side
from agent.version import SOFTWARE
from reconcile.desired import AdmissionSpec, RouteSpec, Timing
from schemas.errors import TidegateError
from schemas.messages import MAX_SESSION_NUMBER, MAX_SESSIONS, Declare, Drain, Hello, RefusalCode, Replaced
from schemas.names import ClientId, ServiceName
from transport.pump.link import Link
from transport.session import HelloRefusedError, Session, SessionLostError
from transport.tls import IdentityError, client_id_from, peer_identity

from .absentees import Absentees, Departure, Refused
from .balancing import Attempts, Balancer
from .client_sessions import ClientSessions
from .connected_client import MOST_LOGGED, AskEgress, dial_nobody
from .connected_client import ConnectedClient as ConnectedClient  # the front door needs both
from .declarations import Declarations, NoDeclarations
from .revocation import REVOKED, REVOKED_HERE, Lists, Revocations, ShownCertificate
from .rights import Rights

# A client says what it likes; a status is for reading.
_MOST_WARNINGS: Final = 20
_MOST_NAMES: Final = 5

_log = structlog.get_logger("sessions")


class Sessions:
    """The sessions of all clients of a gateway.

    :param name: how the gateway introduces itself, from the next session on if it changes.
    :param clock: the time now, in UTC.
    :param changed: called when a client has come, gone, or changed its services.
    :param publish: told of every session that comes and goes.
    """

    def __init__(
        self,
        name: str,
        clock: Callable[[], datetime],
        changed: Callable[[], None],
        publish: Publish = publish_nowhere,
    ) -> None:
        self.traffic = TrafficBook(visitor_side)
        self.admission = AdmissionSpec(clients=frozenset(), domain=None, admins=frozenset())
        self.revocations = Revocations()
        self.declarations: Declarations = NoDeclarations()
        self.name = name
        self._rights = Rights()
        self.ask_egress: AskEgress = dial_nobody
        self._clock = clock
        self._changed = changed
        self._publish = publish
        self._started = clock()
        self._instance = secrets.token_hex(8)  # tells clients which of their addresses lead here
        self._is_draining = False
        self.balancer = Balancer()
        self._connected: dict[ClientId, ClientSessions] = {}
        self._absentees = Absentees()

    # Who may connect

    def set_admission(self, admission: AdmissionSpec) -> None:
        """Change who may connect. A client that no longer may loses its sessions at once."""
        news = self._news(admission)
        self.admission = admission
        self.revocations = Revocations(admission.revoked, self.revocations.lists)
        self._rights = Rights(admission.rights)
        for client in chain.from_iterable(list(self._connected.values())):
            try:
                _admit(client.session.link, admission, news)
            except _NotAdmittedError as error:
                self.turn_out(client, error.code, str(error), error.reason)
            else:
                if client.grant(self._rights.of(client.id)):
                    self._client_changed(client)

    def set_lists(self, lists: Lists | None) -> None:
        """Let these revocation lists count for whoever comes. Who is here stays."""
        self.revocations = Revocations(self.admission.revoked, lists)

    def turn_out(self, client: ConnectedClient, code: RefusalCode, message: str, reason: str) -> None:
        """End a session of a client that may be here no longer.

        :param message: for the client.
        :param reason: the same for the operator of the gateway.
        """
        client.turned_out = self._refused(client, reason)
        client.session.refuse(code, message, reason=reason)

    def losing(self, admission: AdmissionSpec) -> frozenset[ClientId]:
        """The clients whose sessions :meth:`set_admission` would end."""
        losing: set[ClientId] = set()
        news = self._news(admission)
        for client in chain.from_iterable(self._connected.values()):
            try:
                _admit(client.session.link, admission, news)
            except _NotAdmittedError:
                losing.add(client.id)
        return frozenset(losing)

    def _news(self, admission: AdmissionSpec) -> Revocations:
        """What is revoked now and was not before. Of all else, whoever is here has been held against it:
        the certificates of a thousand clients are looked at in no time only if there is nothing to look for.
        """
        return Revocations(set(admission.revoked).difference(self.admission.revoked))

    def drain(self) -> None:
        """Take nobody on any more, and say so to everybody. Those who are here stay."""
        self._is_draining = True
        for client in chain.from_iterable(self._connected.values()):
            client.session.tell(Drain())

    async def end(self, reason: str) -> None:
        """End every session, and wait until each client has heard all that was said to it."""
        clients = list(chain.from_iterable(self._connected.values()))
        for client in clients:
            client.session.close(reason)
        await until(lambda: all(client.session.link.is_closed for client in clients))

    def _identify(self, link: Link, hello: Hello) -> ClientId:
        if self._is_draining:
            raise _NotAdmittedError(
                RefusalCode.GOING_AWAY, "the gateway is stopping; it is dialed again by itself"
            )
        client_id = _admit(link, self.admission, self.revocations)
        if hello.id != client_id:
            raise _NotAdmittedError(
                RefusalCode.WRONG_IDENTITY,
                f"the client calls itself {hello.id!r}, but its certificate is for {client_id!r}: "
                f"set client.id to {client_id} or use the certificate of {hello.id}",
            )
        if hello.session > MAX_SESSION_NUMBER:
            raise _NotAdmittedError(
                RefusalCode.TOO_MANY_SESSIONS,
                f"this is session {hello.session} of the client {client_id!r}, and the gateway takes "
                f"{MAX_SESSION_NUMBER} of a client: set client.sessions to {MAX_SESSIONS} or less",
            )
        return client_id

    def set_timing(self, timing: Timing) -> None:
        """Keep every session by these times."""
        for client in chain.from_iterable(self._connected.values()):
            client.set_timing(timing)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Which clients offer what they may not."""
        found = {
            client.id: client.refused
            for client in chain.from_iterable(self._connected.values())
            if client.refused
        }
        return tuple(
            f"{client} offers {_few(refused)}, and its entry under clients does not let it: "
            "add that to its services there, or take it out of the client's file"
            for client, refused in sorted(found.items())[:_MOST_WARNINGS]
        )

    # Who is connected

    def serving(self, clients: Iterable[ClientId], service: ServiceName) -> ConnectedClient | None:
        """A session of the first of these, in order of preference, that is connected and offers the service.

        A stream can be opened on it as long as nothing else has happened.
        """
        for client_id in clients:
            sessions = self._connected.get(client_id)
            client = sessions.choose(service) if sessions is not None else None
            if client is not None:
                return client
        return None

    def other(self, client: ConnectedClient, service: ServiceName) -> ConnectedClient | None:
        """Another session of the same client that can serve in place of this one."""
        sessions = self._connected.get(client.id)
        return None if sessions is None else sessions.choose(service, but=client)

    def attempts(self, route: RouteSpec) -> Attempts:
        """The clients of a route that has several, as a visitor who comes now is to try them."""

        def is_able(client_id: ClientId) -> bool:
            sessions = self._connected.get(client_id)
            return sessions is not None and sessions.can_serve(route.service)

        return self.balancer.attempts(route, is_able, time.monotonic())

    def last_seen(self, client_id: ClientId) -> datetime:
        """Since when it has been away; since the start of the gateway if it never came."""
        departure = self._absentees.departures.get(client_id)
        return self._started if departure is None else departure.at

    def last_certificate(self, client_id: ClientId) -> ShownCertificate | None:
        """That with which it was here last; None if it never came."""
        departure = self._absentees.departures.get(client_id)
        return None if departure is None else departure.certificate

    @property
    def refusals(self) -> Mapping[ClientId, Refused]:
        """The clients that are away and were at the door since, with what kept them out the last time."""
        return self._absentees.refusals

    def connected(self) -> Mapping[ClientId, ClientSessions]:
        """Everyone who has a session, with all of them."""
        return MappingProxyType(self._connected)

    def known(self) -> frozenset[ClientId]:
        """Every client that is declared, connected, or has been not too many clients ago."""
        return (
            frozenset(self._connected)
            | frozenset(self._absentees.departures)
            | (self.admission.clients or frozenset())
        )

    def states(self) -> Mapping[ClientId, tuple[str, str]]:
        """The current and the last state of every known client, in threshold's words."""
        states: dict[ClientId, tuple[str, str]] = {}
        for client_id in sorted(self.known()):
            came_before = client_id in self._absentees.departures
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
        client = ConnectedClient(link, timing, self._clock(), self._client_changed, self.ask_egress)
        try:
            session, hello = await Session.accept(link, client)
        except SessionLostError as error:
            self._log_refused(client, str(error))
            if isinstance(error, HelloRefusedError):
                self._remember_refused(client, str(error))
            return
        try:
            client_id = self._identify(link, hello)
        except _NotAdmittedError as error:
            session.refuse(error.code, str(error), reason=error.reason)
            self._log_refused(client, error.reason)
            if error.code is not RefusalCode.GOING_AWAY:
                self._remember_refused(client, error.reason)
            return
        client.greeted(session, client_id, hello, self._rights.of(client_id))
        client.on_declare = self._declare
        self._take_on(client)
        log = _log.bind(client=client_id, session=client.number, address=client.address)
        log.info("client_connected", software=client.software, services=sorted(client.services)[:MOST_LOGGED])
        which: dict[str, Any] = {
            "client": client_id,
            "session": client.number,
            "address": client.address,
        }
        self._publish(EventKind.CLIENT_CONNECTED, **which, software=client.software)
        reason = "the gateway is stopping"
        try:
            reason = await client.run()
        finally:
            session.close(reason)
            self._forget(client)
            log.info("client_disconnected", reason=reason)
            self._publish(EventKind.CLIENT_DISCONNECTED, **which, reason=reason)
        await client.lingering.run_out()

    def _client_changed(self, client: ConnectedClient) -> None:
        self.balancer.doubts.forget(client.id)
        self._changed()

    def _take_on(self, client: ConnectedClient) -> None:
        """Make this one of the client's sessions. Those that it replaces end, also if their peer is gone."""
        self._absentees.came(client.id)
        sessions = self._connected.setdefault(client.id, ClientSessions())
        replaced = sessions.take_on(client)
        client.session.welcome(gateway=self.name, software=SOFTWARE, instance=self._instance)
        for old in replaced:
            old.session.tell(Replaced())
            old.session.close("replaced by a newer session of the same client")
        client.welcomed()
        self.declarations.welcomed(client)
        self._client_changed(client)

    def _declare(self, client: ConnectedClient, message: Declare) -> None:
        """Pass on what a client declares, unless another process of it has taken its place, or will."""
        sessions = self._connected.get(client.id)
        if sessions is not None and sessions.is_current(client) and not client.draining:
            self.declarations.declare(client, message)

    def _forget(self, client: ConnectedClient) -> None:
        sessions = self._connected.get(client.id)
        if sessions is None or not sessions.discard(client):
            return  # it was replaced
        if not sessions:
            del self._connected[client.id]
            self._remember(client)
            self.declarations.gone(client.id)
        self._client_changed(client)

    def _remember(self, client: ConnectedClient) -> None:
        declared = self.admission.clients or frozenset()
        departure = Departure(at=self._clock(), certificate=client.certificate)
        self._absentees.went(client.id, departure, declared=declared)
        if client.turned_out is not None:
            self._absentees.refused(client.id, client.turned_out, declared=declared)

    def _refused(self, client: ConnectedClient, reason: str) -> Refused:
        return Refused(
            at=self._clock(), reason=reason, address=client.address, certificate=client.certificate
        )

    def _remember_refused(self, client: ConnectedClient, reason: str) -> None:
        """Keep why the client was refused whose certificate that is, unless it is here all the same."""
        client_id = _named_in(client.link, self.admission)
        if client_id is None or client_id in self._connected:
            return
        declared = self.admission.clients
        if declared is not None and client_id not in declared:
            return  # nobody asks for it
        if self._absentees.refused(
            client_id, self._refused(client, reason), declared=declared or frozenset()
        ):
            self._changed()

    def _log_refused(self, client: ConnectedClient, reason: str) -> None:
        client_id = _named_in(client.link, self.admission)
        _log.warning(
            "client_refused",
            address=client.address,
            **({} if client_id is None else {"client": client_id}),
            serial=client.certificate.serial,
            fingerprint=client.certificate.fingerprint,
            reason=reason,
        )


def _few(services: frozenset[ServiceName]) -> str:
    shown = sorted(services)[:_MOST_NAMES]
    return ", ".join(shown) + (
        f" and {len(services) - len(shown)} more" if len(services) > len(shown) else ""
    )


class _NotAdmittedError(TidegateError):
    """The message is for the client, ``reason`` for the operator of the gateway: "" for the same words."""

    def __init__(self, code: RefusalCode, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason or message


def _named_in(link: Link, admission: AdmissionSpec) -> ClientId | None:
    """The client whose certificate the peer has shown, whether or not it may connect."""
    try:
        return client_id_from(peer_identity(link.peer_certificate), admission.domain)
    except IdentityError:
        return None


def _admit(link: Link, admission: AdmissionSpec, revocations: Revocations) -> ClientId:
    """Which client the peer's certificate makes it.

    :raises _NotAdmittedError: if it may not connect.
    """
    if revocations.refuse(link.peer_certificate, lambda: verified_chain(link.ssl_object)):
        raise _NotAdmittedError(RefusalCode.REVOKED, REVOKED, REVOKED_HERE)
    try:
        client_id = client_id_from(peer_identity(link.peer_certificate), admission.domain)
    except IdentityError as error:
        raise _NotAdmittedError(RefusalCode.WRONG_IDENTITY, str(error)) from error
    if admission.clients is not None and client_id not in admission.clients:
        raise _NotAdmittedError(
            RefusalCode.NOT_DECLARED,
            f"the gateway does not list the client {client_id!r}: add it under clients in its file",
        )
    return client_id
