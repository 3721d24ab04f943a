"""The front door: what becomes of a visitor of one public port.

Rule: a visitor is peeked at if its port has hostnames, led to the client that
serves its route, or told why not. This file asks ``routing`` where to and
``sessions`` by whom; once the stream is open, the bytes pass it by.

Each visitor keeps the routes that its port had when it came.
"""

from __future__ import annotations

import time
from typing import Any, Final

import structlog

from agent.process.descriptors import TOO_MANY, Use, may_have
from agent.traffic import TrafficBook, TrafficMeter
from reconcile.desired import ListenerSpec, RouteSpec
from schemas.names import HostPort, ListenAddress
from transport.pump.relay import Relay, RelayEnd
from transport.wire.errors import LocalProtocolError
from transport.wire.open_header import OpenHeader
from transport.wire.proxy_protocol import Endpoint

from .routing import (
    Decision,
    NeedMore,
    Reason,
    Refused,
    Routed,
    RouteTable,
    TrafficKind,
    classify,
    decide,
    refusal_bytes,
)
from .sessions import ConnectedClient, Sessions

# The client gives up on a service after ten seconds and says so; this is for a client that does not.
_OPEN_TIMEOUT: Final = 20.0

_log: Any = structlog.get_logger("visitors")


class Visitor:
    """What the front door knows of a visitor. ``failure`` says why it was turned away."""

    __slots__ = (
        "client", "failure", "kind", "listen", "meters",
        "name", "route", "source", "started", "table", "wanted",
    )  # fmt: skip

    def __init__(self, listen: ListenAddress, table: RouteTable, source: tuple[str, int]) -> None:
        self.listen = listen
        self.table = table
        self.source = source
        self.started = time.monotonic()
        self.kind = TrafficKind.RAW
        self.name: str | None = None
        self.route: RouteSpec | None = None
        self.client: ConnectedClient | None = None
        self.meters: tuple[TrafficMeter, ...] = ()  # those that count this visitor
        self.failure: str | None = None
        self.wanted = 0  # bytes without which nothing can be decided


class FrontDoor:
    """The owner of the relays of one listener.

    :param tunnels: where traffic is counted.
    :param visitors: everyone who is at a door of this gateway now.
    """

    def __init__(
        self,
        spec: ListenerSpec,
        table: RouteTable,
        sessions: Sessions,
        tunnels: TrafficBook,
        visitors: set[Relay],
    ) -> None:
        self._sessions = sessions
        self._tunnels = tunnels
        self._visitors = visitors
        self.update(spec, table)

    def update(self, spec: ListenerSpec, table: RouteTable) -> None:
        """Lead visitors that come from now on by these routes, of which the table is made."""
        self._spec = spec
        self._table = table
        # The same for every visitor of a port that is not looked at.
        self._unasked = None if self._table.peeks else decide(TrafficKind.RAW, None, self._table)
        self._log: Any = _log.bind(listen=str(spec.address))

    # RelayOwner

    def connected(self, relay: Relay) -> None:
        visitor = relay.note = Visitor(self._spec.address, self._table, relay.source)
        self._visitors.add(relay)
        if not visitor.source[1]:  # a loop that asks the system who it is learns nothing
            visitor.failure = "the visitor had gone before it was accepted"
            relay.abort()
        elif not may_have(Use.VISITOR, relay.descriptor):
            visitor.failure = TOO_MANY
            relay.abort()
        elif visitor.table.peeks:
            relay.set_deadline(self._spec.peek_timeout)
            relay.peek()
        elif self._unasked is not None:
            self._follow(relay, visitor, self._unasked)

    def peeked(self, relay: Relay) -> None:
        if len(relay.early) >= relay.note.wanted or relay.socket_ended:
            self._decide(relay, timed_out=False)

    def timed_out(self, relay: Relay) -> None:
        if relay.is_opening:
            self._refuse(relay, Reason.SERVICE_FAILED, "the client did not answer")
        else:
            self._decide(relay, timed_out=True)

    def acknowledged(self, relay: Relay) -> None:
        relay.clear_deadline()
        relay.note.failure = None  # whatever the client may have said

    def refused(self, relay: Relay) -> None:
        visitor: Visitor = relay.note
        if visitor.client is not None and visitor.client.session.link.is_lost:
            self._refuse(relay, Reason.CLIENT_AWAY, "the client went away before it answered")
        else:
            self._refuse(relay, Reason.SERVICE_FAILED, visitor.failure or "the client closed the stream")

    def half_closed(self, relay: Relay) -> None:
        relay.note.client.lingering.add(relay)

    def ended(self, relay: Relay, end: RelayEnd) -> None:
        visitor: Visitor = relay.note
        self._visitors.discard(relay)
        if visitor.client is not None and visitor.route is not None:
            visitor.client.lingering.discard(relay)
            for meter in visitor.meters:
                meter.closed(relay)
        self._report(relay, visitor, end)

    # Its own

    def _decide(self, relay: Relay, *, timed_out: bool) -> None:
        visitor: Visitor = relay.note
        decision = classify(relay.early, visitor.table, eof=relay.socket_ended, timed_out=timed_out)
        self._follow(relay, visitor, decision)

    def _follow(self, relay: Relay, visitor: Visitor, decision: Decision) -> None:
        match decision:
            case NeedMore(at_least=at_least):
                visitor.wanted = at_least
            case Refused(kind=kind, reason=reason, name=name, detail=detail):
                visitor.kind, visitor.name = kind, name
                self._refuse(relay, reason, detail or reason.value)
            case Routed(route=route, kind=kind, name=name):
                visitor.kind, visitor.name, visitor.route = kind, name, route
                self._lead(relay, visitor, route)

    def _lead(self, relay: Relay, visitor: Visitor, route: RouteSpec) -> None:
        client = self._sessions.serving(route.clients, route.service)
        if client is None:
            who = ", ".join(route.clients)
            self._refuse(
                relay, Reason.CLIENT_AWAY, f"no client that offers {route.service} is connected ({who})"
            )
            return
        visitor.client = client
        visitor.meters = self._tunnels[route.tunnel], self._sessions.traffic[client.id]
        for meter in visitor.meters:
            meter.opened(relay)
        relay.set_deadline(_OPEN_TIMEOUT)
        header = OpenHeader(
            tunnel=route.tunnel,
            service=route.service,
            source=Endpoint(*visitor.source),
            destination=Endpoint(*relay.destination),
            proxy_protocol=route.proxy_protocol,
        )
        try:
            client.session.open(relay, header)
        except LocalProtocolError as error:
            self._refuse(relay, Reason.CLIENT_AWAY, str(error))

    def _refuse(self, relay: Relay, reason: Reason, why: str) -> None:
        visitor: Visitor = relay.note
        visitor.failure = why
        relay.clear_deadline()
        relay.refuse(refusal_bytes(visitor.kind, reason))

    def _report(self, relay: Relay, visitor: Visitor, end: RelayEnd) -> None:
        """One line for each visitor, at its end, with all its numbers."""
        self._log.info(
            "visitor_left" if visitor.failure is None else "visitor_refused",
            visitor=str(HostPort(*visitor.source)),
            tunnel=visitor.route.tunnel if visitor.route is not None else None,
            client=visitor.client.id if visitor.client is not None else None,
            service=visitor.route.service if visitor.route is not None else None,
            kind=visitor.kind.value,
            hostname=visitor.name,
            end=end.value,
            reason=visitor.failure,
            bytes_in=relay.bytes_read,
            bytes_out=relay.bytes_written,
            seconds=round(time.monotonic() - visitor.started, 3),
        )
