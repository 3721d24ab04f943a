"""A client at the other end of one session.

Rule: this file hears what a client says after the greeting, and knows whether this
session of it can serve a visitor now.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import anyio
import structlog

from agent.keys.shown import verified_chain
from agent.lingering import Lingering
from reconcile.desired import Timing
from schemas.messages import (
    Declare,
    Declared,
    Drain,
    FailureCode,
    Hello,
    Replaced,
    Services,
    ServicesRefused,
    StreamDialed,
    StreamFailed,
)
from schemas.names import ClientId, HostPort, ServiceName
from schemas.state import ClientEntry
from transport.pump.link import Link
from transport.pump.relay import Relay
from transport.session import LaterMessage, Session

from .absentees import Refused
from .revocation import ShownCertificate
from .rights import SERVICES_REFUSED, allowed

if TYPE_CHECKING:
    from transport.offer import Offer

# Told of what a client wants the gateway to dial.
AskEgress: TypeAlias = Callable[["ConnectedClient", "Offer"], None]

# Told of the tunnels that a client declares.
HearDeclaration: TypeAlias = Callable[["ConnectedClient", Declare], None]

MOST_LOGGED: Final = 50
"""Services of a client in a line of the log. It can offer a thousand with long names, and again and again."""

_log: Any = structlog.get_logger("sessions")


def dial_nobody(client: ConnectedClient, offer: Offer) -> None:
    """What a gateway does that has no egress."""
    offer.refuse(FailureCode.NOT_ALLOWED, "the gateway dials nobody")


def hear_nothing(client: ConnectedClient, message: Declare) -> None:
    """What a gateway does to whom nobody declares anything."""


class ConnectedClient:
    """A client with a session, and the handler of what it says on it. It may have other sessions."""

    session: Session

    def __init__(
        self,
        link: Link,
        timing: Timing,
        since: datetime,
        changed: Callable[[ConnectedClient], None],
        ask: AskEgress,
    ) -> None:
        self.id = ClientId("")
        self.instance = ""  # which of the client's processes it is; "" if it does not say
        self.number = 1  # of the session, among those of the instance
        self.is_one_of_several = False  # whether the client has another session that a visitor can be led to
        host, port = link.peer_address
        self.address = str(HostPort(host, port)) if port else host  # a reverse proxy names no port
        self.link = link
        self.turned_out: Refused | None = None  # it was here, and may not be any more
        self._certificate: ShownCertificate | None = None  # until somebody asks
        self.since = since
        self.software = ""
        self.entry: ClientEntry | None = None
        self.services: frozenset[ServiceName] = frozenset()  # of those that it offers, what it may offer
        self._offered: frozenset[ServiceName] = frozenset()
        self._has_complained = False  # that it offers what it may not; once for a session is enough
        self.draining = False
        self.lingering = Lingering(timing.half_close_timeout)
        self._timing = timing
        self._changed = changed
        self._ask = ask
        self.on_declare: HearDeclaration = hear_nothing

    def greeted(
        self, session: Session, client_id: ClientId, hello: Hello, entry: ClientEntry | None = None
    ) -> None:
        """It has said who it is. ``entry``: what the gateway's file says of it."""
        self.session = session
        self.id = client_id
        self.instance = hello.instance
        self.number = hello.session
        self.software = hello.software
        self.entry = entry
        self._offered = _names(hello.services)
        self._sort_services()

    @property
    def refused(self) -> frozenset[ServiceName]:
        """The services that it offers and may not."""
        return self._offered - self.services

    @property
    def certificate(self) -> ShownCertificate:
        """What names its certificate."""
        if self._certificate is None:
            shown = verified_chain(self.link.ssl_object)
            self._certificate = ShownCertificate.of(self.link.peer_certificate, shown)
        return self._certificate

    @property
    def can_serve(self) -> bool:
        """Whether a stream can be opened for a visitor."""
        return self.session.is_open and not self.draining

    @property
    def streams(self) -> int:
        """How many streams are open on the session."""
        return len(self.session.link.mux.streams)

    async def run(self) -> str:
        """Keep the session until it ends; the reason why it ended."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.lingering.run)
            reason = await self.session.run(
                ping_interval=self._timing.ping_interval, ping_timeout=self._timing.ping_timeout
            )
            tasks.cancel_scope.cancel()
        return reason

    def set_timing(self, timing: Timing) -> None:
        """Go by other times from now on."""
        self._timing = timing
        self.lingering.set_limit(timing.half_close_timeout)
        self.session.set_timing(ping_interval=timing.ping_interval, ping_timeout=timing.ping_timeout)

    def welcomed(self) -> None:
        """It has been taken on: from now on it can be told things."""
        if self.refused:
            self._tell_refused()

    def grant(self, entry: ClientEntry | None) -> bool:
        """Go by another entry of the gateway's file. Visitors who are there stay.

        :returns: whether that makes a difference to its services.
        """
        before, self.entry = self.services, entry
        self._has_complained = False
        self._offer(self._offered)
        return self.services != before

    def _offer(self, offered: frozenset[ServiceName]) -> None:
        before = self.refused
        self._offered = offered
        self._sort_services()
        if self.refused != before:
            self._tell_refused()

    def _sort_services(self) -> None:
        self.services = allowed(self.entry, self._offered)

    def _tell_refused(self) -> None:
        services = tuple(sorted(self.refused))
        self.session.tell(ServicesRefused(services=services))
        if services and not self._has_complained:
            self._has_complained = True
            shown = services[:MOST_LOGGED]
            _log.warning("services_refused", client=self.id, services=shown, reason=SERVICES_REFUSED)

    # SessionHandler

    def message_received(self, message: LaterMessage) -> None:
        match message:
            case Services(services=services):
                self._offer(_names(services))
                self._changed(self)
            case Declare():
                self.on_declare(self, message)
            case StreamFailed(stream=stream_id, message=text):
                stream = self.session.link.mux.streams.get(stream_id)
                if stream is not None and isinstance(stream.sink, Relay) and stream.sink.is_opening:
                    stream.sink.note.failure = text
            case Drain():
                if not self.draining:
                    self.draining = True
                    self._changed(self)
            case Replaced() | ServicesRefused() | Declared() | StreamDialed():
                pass  # only a gateway says this

    def stream_offered(self, session: Session, offer: Offer) -> None:
        self._ask(self, offer)


def _names(services: Iterable[str]) -> frozenset[ServiceName]:
    return frozenset(ServiceName(name) for name in services)
