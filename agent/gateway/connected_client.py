"""A client at the other end of one session.

Rule: this file hears what a client says after the greeting, and knows whether this
session of it can serve a visitor now.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import TYPE_CHECKING, TypeAlias

import anyio

from agent.keys.shown import verified_chain
from agent.lingering import Lingering
from reconcile.desired import Timing
from schemas.messages import Drain, FailureCode, Hello, Replaced, Services, StreamFailed
from schemas.names import ClientId, HostPort, ServiceName
from transport.pump.link import Link
from transport.pump.relay import Relay
from transport.session import LaterMessage, Session

from .revocation import ShownCertificate

if TYPE_CHECKING:
    from transport.offer import Offer

# Told of what a client wants the gateway to dial.
AskEgress: TypeAlias = Callable[["ConnectedClient", "Offer"], None]


def dial_nobody(client: ConnectedClient, offer: Offer) -> None:
    """What a gateway does that has no egress."""
    offer.refuse(FailureCode.NOT_ALLOWED, "the gateway dials nobody")


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
        self.address = str(HostPort(*link.peer_address))
        self._link = link
        self._certificate: ShownCertificate | None = None  # until somebody asks
        self.since = since
        self.software = ""
        self.services: frozenset[ServiceName] = frozenset()
        self.draining = False
        self.lingering = Lingering(timing.half_close_timeout)
        self._timing = timing
        self._changed = changed
        self._ask = ask

    def greeted(self, session: Session, client_id: ClientId, hello: Hello) -> None:
        self.session = session
        self.id = client_id
        self.instance = hello.instance
        self.number = hello.session
        self.software = hello.software
        self.services = _names(hello.services)

    @property
    def certificate(self) -> ShownCertificate:
        """What names its certificate."""
        if self._certificate is None:
            shown = verified_chain(self._link.ssl_object)
            self._certificate = ShownCertificate.of(self._link.peer_certificate, shown)
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

    # SessionHandler

    def message_received(self, message: LaterMessage) -> None:
        match message:
            case Services(services=services):
                self.services = _names(services)
                self._changed(self)
            case StreamFailed(stream=stream_id, message=text):
                stream = self.session.link.mux.streams.get(stream_id)
                if stream is not None and isinstance(stream.sink, Relay) and stream.sink.is_opening:
                    stream.sink.note.failure = text
            case Drain():
                if not self.draining:
                    self.draining = True
                    self._changed(self)
            case Replaced():
                pass  # only a gateway says this

    def stream_offered(self, session: Session, offer: Offer) -> None:
        self._ask(self, offer)


def _names(services: Iterable[str]) -> frozenset[ServiceName]:
    return frozenset(ServiceName(name) for name in services)
