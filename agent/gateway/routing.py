"""Where a visitor of one port goes, decided from the first bytes it sends.

Rule: pure and total. The same bytes on the same table always give the same decision, bytes that come
one by one give the decision they give at once, and after an EOF or a timeout there is one.

A port without hostnames is never looked at, so that services which speak first work. On a port with
hostnames the visitor's words decide: a name that matches leads to its route; everything else, be it
another name, no name, another protocol, silence or nonsense, leads to the default route of the port
if it has one, and is refused if not.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, TypeAlias

from reconcile.desired import RouteSpec
from transport.wire.client_hello import ClientHello, Short, scan_client_hello
from transport.wire.cursor import Buffer
from transport.wire.errors import RemoteProtocolError
from transport.wire.http_head import looks_like_http, peek_http_head

from .refusal import Reason, TrafficKind, refusal_bytes
from .route_table import RouteTable

# The front door needs this module alone.
__all__ = [
    "Decision",
    "NeedMore",
    "Reason",
    "Refused",
    "RouteTable",
    "Routed",
    "TrafficKind",
    "classify",
    "decide",
    "refusal_bytes",
]

_TLS_START: Final = b"\x16\x03"  # a handshake record of any TLS


@dataclass(frozen=True, slots=True, kw_only=True)
class NeedMore:
    """Undecided, and sure to be so until the buffer holds `at_least` bytes, or EOF or timeout comes.

    Whoever waits for so many asks seldom, also when a visitor sends its bytes one by one.
    """

    at_least: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Routed:
    """The visitor goes to `route`. `name` is the host it asked for, as far as it is known."""

    route: RouteSpec
    kind: TrafficKind
    name: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The visitor is told `refusal_bytes(kind, reason)`; `detail` is a line for the log."""

    kind: TrafficKind
    reason: Reason
    name: str | None
    detail: str = field(default="", compare=False)


Decision: TypeAlias = NeedMore | Routed | Refused


def classify(buffer: Buffer, table: RouteTable, *, eof: bool, timed_out: bool) -> Decision:
    """What becomes of a visitor of the port with `table` that has sent `buffer` so far.

    `eof` says that it will send no more, `timed_out` that it had its time to; with either the answer
    is never NeedMore. The buffer is not changed: the service gets all of it.
    """
    if not table.peeks:
        return _fallback(table, _NOT_LOOKED_AT)
    try:
        asked = _peek(buffer)
    except RemoteProtocolError as error:
        kind = _kind(buffer)
        if kind is TrafficKind.RAW:
            reason, detail = Reason.NO_ROUTE, "the visitor speaks neither TLS nor HTTP/1"
        else:
            reason, detail = Reason.MALFORMED, str(error)
        return _fallback(table, Refused(kind=kind, reason=reason, name=None, detail=detail))
    if not isinstance(asked, NeedMore):
        return _by_name(asked, table)
    if not eof and not timed_out:
        return asked
    reason = Reason.MALFORMED if eof else Reason.TIMED_OUT
    detail = f"the visitor sent {len(buffer)} bytes that do not say where to, and then {_END[eof]}"
    return _fallback(table, Refused(kind=_kind(buffer), reason=reason, name=None, detail=detail))


def decide(kind: TrafficKind, name: str | None, table: RouteTable) -> Routed | Refused:
    """What becomes of a visitor that speaks `kind` and asks for `name`: where `classify` ends, knowing both.

    On a port that is not looked at, neither matters.
    """
    if not table.peeks:
        return _fallback(table, _NOT_LOOKED_AT)
    return _by_name(_Asked(kind=kind, name=name), table)


_NOT_LOOKED_AT: Final = Refused(kind=TrafficKind.RAW, reason=Reason.NO_ROUTE, name=None)
_END: Final = {True: "ended its side", False: "no more in time"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    kind: TrafficKind
    name: str | None


def _peek(buffer: Buffer) -> NeedMore | _Asked:
    """The first byte tells TLS from HTTP, so only one of them is ever asked."""
    if _TLS_START.startswith(bytes(buffer[: len(_TLS_START)])):
        match scan_client_hello(buffer):
            case Short(at_least=at_least):
                return NeedMore(at_least=at_least)
            case ClientHello(server_name=name):
                return _Asked(kind=TrafficKind.TLS, name=name)
    head = peek_http_head(buffer)
    if head is None:
        return NeedMore(at_least=len(buffer) + 1)
    return _Asked(kind=TrafficKind.HTTP, name=head.host)


def _kind(buffer: Buffer) -> TrafficKind:
    """What bytes look like that need not be complete or correct."""
    if bytes(buffer[: len(_TLS_START)]) == _TLS_START:
        return TrafficKind.TLS
    return TrafficKind.HTTP if looks_like_http(buffer) else TrafficKind.RAW


def _by_name(asked: _Asked, table: RouteTable) -> Routed | Refused:
    route = None if asked.name is None else table.match(asked.name)
    if route is not None:
        return Routed(route=route, kind=asked.kind, name=asked.name)
    detail = "the visitor gave no name" if asked.name is None else f"no hostname matches {asked.name}"
    return _fallback(table, Refused(kind=asked.kind, reason=Reason.NO_ROUTE, name=asked.name, detail=detail))


def _fallback(table: RouteTable, refused: Refused) -> Routed | Refused:
    """What no hostname takes is the default route's."""
    if table.default is not None:
        return Routed(route=table.default, kind=refused.kind, name=refused.name)
    return refused
