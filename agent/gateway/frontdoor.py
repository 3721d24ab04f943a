"""The front door: what becomes of a visitor of one public port.

Rule: a visitor is peeked at if its port has hostnames, led to the client that
serves its route, or told why not. This file asks ``routing`` where to and
``sessions`` by whom; once the stream is open, the bytes pass it by.

Each visitor keeps the routes that its port had when it came.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any, Final

import structlog

from agent.process.descriptors import TOO_MANY, Use, may_have
from agent.traffic import TrafficBook, TrafficMeter
from reconcile.desired import ListenerSpec, RouteSpec
from schemas.names import ListenAddress, join_host_port
from transport.pump.kept_stream import KeptStream
from transport.pump.relay import Relay, RelayEnd
from transport.wire.cursor import Buffer
from transport.wire.errors import LocalProtocolError
from transport.wire.open_header import OpenHeader
from transport.wire.proxy_protocol import Endpoint, begins_with_proxy_header

from .balancing import ALL_PATIENCE, PATIENCE, Attempts
from .forwarders import Forwarders, NotProxiedError
from .proxied import take_header
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
from .stranger_headers import StrangerHeaders, advice

# Seconds that the only client still has when one of several would be given up. It gives up on a service after
# ten seconds and says so; this is for a client that does not.
_REST: Final = ALL_PATIENCE - PATIENCE

_log: Any = structlog.get_logger("visitors")


class Visitor:
    """What the front door knows of a visitor. ``failure`` says why it was turned away."""

    __slots__ = (
        "attempts", "client", "destination", "failure", "is_late", "is_looked_at", "kind", "listen", "meters",
        "name", "owes_header", "route", "said", "source", "started", "table", "wanted",
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
        self.destination: tuple[str, int] | None = None  # if a load balancer said it
        self.owes_header = False  # a load balancer has still to say who it is
        self.wanted = 0  # bytes without which nothing can be decided
        self.attempts: Attempts | None = None  # None where there is only one session to be led to
        self.is_late = False  # nobody else is left, and it has taken longer than others would be given
        self.is_looked_at = False  # for a header of somebody who should send none
        self.said: KeptStream | None = None  # has what it says until it is served, if it is looked at


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
        self._balancer = sessions.balancer
        self._tunnels = tunnels
        self._visitors = visitors
        self._strangers = StrangerHeaders()
        self.update(spec, table)

    def update(self, spec: ListenerSpec, table: RouteTable) -> None:
        """Lead visitors that come from now on by these routes, of which the table is made."""
        self._spec = spec
        self._table = table
        # The same for every visitor of a port that is not looked at.
        self._unasked = None if self._table.peeks else decide(TrafficKind.RAW, None, self._table)
        self._forwarders = Forwarders(spec.accept_proxy_protocol)
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
        elif self._forwarders and visitor.source[0] in self._forwarders:
            visitor.owes_header = True
            relay.set_deadline(self._spec.peek_timeout)
            relay.peek()
        elif visitor.table.peeks:
            relay.set_deadline(self._spec.peek_timeout)
            relay.peek()
        elif self._unasked is not None:
            visitor.is_looked_at = self._strangers.is_due(visitor.started)
            self._follow(relay, visitor, self._unasked)

    def peeked(self, relay: Relay) -> None:
        if relay.note.owes_header:
            self._hear(relay, relay.note)
        elif len(relay.early) >= relay.note.wanted or relay.socket_ended:
            self._decide(relay, timed_out=False)

    def timed_out(self, relay: Relay) -> None:
        if relay.is_opening:
            self._unanswered(relay, relay.note)
        elif relay.note.owes_header:
            self._hear(relay, relay.note, late=self._spec.peek_timeout)
        else:
            self._decide(relay, timed_out=True)

    def acknowledged(self, relay: Relay) -> None:
        relay.clear_deadline()
        visitor: Visitor = relay.note
        visitor.failure = None  # whatever the client may have said
        if visitor.said is not None:
            self._look_for_header(visitor, visitor.said.kept)
            visitor.said = None
        if visitor.attempts is not None:
            self._served(visitor)

    def refused(self, relay: Relay) -> None:
        visitor: Visitor = relay.note
        if visitor.client is not None and visitor.client.session.link.is_lost:
            why, other = "the client went away before it answered", self._other_session(visitor)
            self._failed(relay, visitor, Reason.CLIENT_AWAY, why, other)
        else:
            why = visitor.failure or "the client closed the stream"
            self._failed(relay, visitor, Reason.SERVICE_FAILED, why)

    def half_closed(self, relay: Relay) -> None:
        relay.note.client.lingering.add(relay)

    def ended(self, relay: Relay, end: RelayEnd) -> None:
        visitor: Visitor = relay.note
        self._visitors.discard(relay)
        if visitor.client is not None and visitor.route is not None:
            visitor.client.lingering.discard(relay)
            for meter in visitor.meters:
                meter.closed(relay)
            if visitor.attempts is not None:
                self._balancer.left(visitor.route.tunnel, visitor.client.id)
        self._report(relay, visitor, end)

    # Its own

    def _hear(self, relay: Relay, visitor: Visitor, *, late: float | None = None) -> None:
        """What a load balancer says of the visitor, and then as ever."""
        try:
            header = take_header(relay, visitor.source[0], late=late)
        except NotProxiedError as error:
            self._refuse(relay, Reason.MALFORMED, str(error))
            return
        if header is None:
            return
        visitor.owes_header = False
        if header.source is not None and header.destination is not None:
            visitor.source = header.source.host, header.source.port
            visitor.destination = header.destination.host, header.destination.port
        relay.set_deadline(self._spec.peek_timeout)
        if visitor.table.peeks:
            self._decide(relay, timed_out=False)
        else:
            self._follow(relay, visitor, decide(TrafficKind.RAW, None, visitor.table))

    def _decide(self, relay: Relay, *, timed_out: bool) -> None:
        visitor: Visitor = relay.note
        decision = classify(relay.early, visitor.table, eof=relay.socket_ended, timed_out=timed_out)
        if not isinstance(decision, NeedMore) and decision.name is None and self._is_stranger(visitor):
            self._look_for_header(visitor, relay.early)
            if isinstance(decision, Refused) and begins_with_proxy_header(relay.early):
                decision = replace(decision, detail=advice(visitor.source[0]))
        self._follow(relay, visitor, decision)

    def _is_stranger(self, visitor: Visitor) -> bool:
        """Whether whoever is connected should not speak for others, as nobody has named it."""
        return visitor.destination is None and visitor.source[0] not in self._forwarders

    def _look_for_header(self, visitor: Visitor, first: Buffer) -> None:
        """Tell of a load balancer in front of the port that nobody has named."""
        if self._strangers.found(first, time.monotonic()):
            self._log.warning("proxy_header_from_stranger", reason=advice(visitor.source[0]))

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
        if len(route.clients) > 1:
            visitor.attempts = self._sessions.attempts(route)
            self._lead_on(relay, visitor, visitor.attempts, Reason.CLIENT_AWAY, _nobody_serves(route))
            return
        client = self._sessions.serving(route.clients, route.service)
        if client is None:
            self._refuse(relay, Reason.CLIENT_AWAY, _nobody_serves(route))
            return
        if client.is_one_of_several:
            attempts = visitor.attempts = Attempts((), ends_at=time.monotonic() + ALL_PATIENCE)
            self._lead_on(relay, visitor, attempts, Reason.CLIENT_AWAY, _nobody_serves(route), client)
            return
        try:
            self._open(relay, visitor, route, client, PATIENCE)
        except LocalProtocolError as error:
            self._refuse(relay, Reason.CLIENT_AWAY, str(error))

    def _lead_on(
        self,
        relay: Relay,
        visitor: Visitor,
        attempts: Attempts,
        reason: Reason,
        why: str,
        first: ConnectedClient | None = None,
    ) -> None:
        """To the next client that can be asked. If there is none, the visitor is refused, for that reason.

        :param first: a session to try before these.
        """
        route = visitor.route
        assert route is not None  # its clients are these
        now = time.monotonic()
        while now < attempts.ends_at:
            client, first = first or self._next(attempts, route), None
            if client is None:
                break
            if visitor.client is not None:
                if visitor.client.id != client.id:
                    attempts.in_vain += (visitor.client.id,)
                visitor.client.lingering.discard(relay)
                visitor.meters[-1].closed(relay)
                self._balancer.left(route.tunnel, visitor.client.id)
            self._balancer.came(route.tunnel, client.id)
            attempts.heard = client.session.link.bytes_received
            attempts.keeps = attempts.are_left or client.is_one_of_several
            try:
                self._open(relay, visitor, route, client, attempts.patience(now), keeps=attempts.keeps)
            except LocalProtocolError as error:
                reason, why = Reason.CLIENT_AWAY, str(error)
            else:
                return
        self._refuse(relay, reason, why)

    def _next(self, attempts: Attempts, route: RouteSpec) -> ConnectedClient | None:
        """A session of the next client that has one: each had when the visitor came."""
        client = None
        while client is None and (client_id := attempts.next()) is not None:
            client = self._sessions.serving((client_id,), route.service)
        return client

    def _other_session(self, visitor: Visitor) -> ConnectedClient | None:
        """Where the visitor can be led if nothing is wrong but the session to which it was."""
        if visitor.attempts is None or not visitor.attempts.keeps:
            return None
        assert visitor.client is not None  # it was asked
        assert visitor.route is not None
        return self._sessions.other(visitor.client, visitor.route.service)

    def _open(
        self,
        relay: Relay,
        visitor: Visitor,
        route: RouteSpec,
        client: ConnectedClient,
        patience: float,
        *,
        keeps: bool = False,
    ) -> None:
        """Ask a client to take the visitor on.

        :raises LocalProtocolError: if it cannot be asked.
        """
        visitor.client = client
        visitor.failure = None
        visitor.is_late = False
        tunnel, own = self._tunnels[route.tunnel], self._sessions.traffic[client.id]
        if not visitor.meters:  # it is led for the first time, and a tunnel counts a visitor once
            tunnel.opened(relay)
        own.opened(relay)
        visitor.meters = tunnel, own
        relay.set_deadline(patience)
        header = OpenHeader(
            tunnel=route.tunnel,
            service=route.service,
            source=Endpoint(*visitor.source),
            destination=Endpoint(*(visitor.destination or relay.destination)),
            proxy_protocol=route.proxy_protocol,
        )
        is_looked_at = visitor.is_looked_at and visitor.attempts is None
        client.session.open(relay, header, keeps=keeps or is_looked_at)
        if visitor.is_looked_at and isinstance(relay.stream, KeptStream):
            visitor.said = relay.stream

    def _unanswered(self, relay: Relay, visitor: Visitor) -> None:
        """The client had its time to take the visitor on, or to say that it cannot."""
        attempts, client = visitor.attempts, visitor.client
        assert client is not None  # it was asked
        if not visitor.is_late and (attempts is None or not attempts.are_left):
            visitor.is_late = True
            client.session.suspect()
            relay.set_deadline(_REST if attempts is None else attempts.rest(time.monotonic()))
            return
        if attempts is not None:
            if client.session.link.bytes_received == attempts.heard:
                client.session.suspect()
            elif attempts.are_left:
                attempts.put_off(client.id)
            relay.withdraw()
        self._failed(relay, visitor, Reason.SERVICE_FAILED, "the client did not answer")

    def _failed(
        self,
        relay: Relay,
        visitor: Visitor,
        reason: Reason,
        why: str,
        other: ConnectedClient | None = None,
    ) -> None:
        """The client has not taken the visitor on. Another one may, and is asked first for a while.

        :param other: another session of the client, if it was the session that failed.
        """
        if visitor.attempts is None:
            self._refuse(relay, reason, why)
            return
        client, route = visitor.client, visitor.route
        assert client is not None  # it was asked
        assert route is not None
        if client.can_serve and len(route.clients) > 1:
            seconds = self._balancer.doubts.failed(client.id, route.service, time.monotonic())
            if seconds is not None:
                self._log.warning(
                    "service_doubted", client=client.id, service=route.service, seconds=seconds, reason=why
                )
        self._lead_on(relay, visitor, visitor.attempts, reason, why, other)

    def _served(self, visitor: Visitor) -> None:
        client, route = visitor.client, visitor.route
        assert client is not None  # it was asked
        assert route is not None
        if self._balancer.doubts.served(client.id, route.service):
            self._log.info("service_trusted", client=client.id, service=route.service)

    def _refuse(self, relay: Relay, reason: Reason, why: str) -> None:
        visitor: Visitor = relay.note
        visitor.failure = why
        relay.clear_deadline()
        relay.refuse(refusal_bytes(visitor.kind, reason))

    def _report(self, relay: Relay, visitor: Visitor, end: RelayEnd) -> None:
        """One line for each visitor, at its end, with all its numbers."""
        log = self._log
        if visitor.attempts is not None and visitor.attempts.in_vain:
            log = log.bind(refused_by=visitor.attempts.in_vain)
        log.info(
            "visitor_left" if visitor.failure is None else "visitor_refused",
            visitor=join_host_port(*visitor.source),
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


def _nobody_serves(route: RouteSpec) -> str:
    return f"no client that offers {route.service} is connected ({', '.join(route.clients)})"
