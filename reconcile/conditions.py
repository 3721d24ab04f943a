"""How one tunnel is doing, in the words of the Kubernetes Gateway API.

Rule: this file alone turns what is wanted and what is seen into conditions. The
same facts give the same words, and ``since`` moves only when status or reason do.

=============  =========================  ==================================================
type           reason when it holds       reasons when it does not
=============  =========================  ==================================================
Accepted       Accepted                   ClientNotDeclared
Programmed     Programmed                 Pending, Failed, Draining, or the reason the actuator
                                          gave (AddressInUse, PermissionDenied, …)
ResolvedRefs   ResolvedRefs               ClientAway, ServiceUnknown
Ready          Ready                      that of the first condition that does not hold
=============  =========================  ==================================================
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field
from datetime import datetime

from schemas.names import ClientId, ListenAddress, ServiceName
from schemas.state import Tunnel
from schemas.status import Condition, ConditionType

from .desired import ListenerSpec, RouteSpec, listener_key, route_of
from .observed import Observed, ObservedState, Phase


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientsView:
    """The clients as plain values.

    ``admitted``: who may connect; None means whoever has a certificate of the client CA.
    ``offers``: the services of those who are connected now, and nobody else.
    ``refused``: why those of the others were not let in who tried.
    """

    admitted: Set[ClientId] | None
    offers: Mapping[ClientId, Set[ServiceName]]
    refused: Mapping[ClientId, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Finding:
    holds: bool
    reason: str
    message: str


_DRAINING = _Finding(
    holds=False,
    reason="Draining",
    message="The gateway is stopping: its ports are closed, and visitors who are there may finish.",
)


def serving_client(tunnel: Tunnel, view: ClientsView) -> ClientId | None:
    """Who serves the tunnel: the first of its clients that is connected and offers the service."""
    return first_serving(tunnel.client, tunnel.service, view)


def first_serving(clients: Iterable[ClientId], service: ServiceName, view: ClientsView) -> ClientId | None:
    """The first of these clients that is connected and offers the service."""
    for client in clients:
        if service in view.offers.get(client, frozenset()):
            return client
    return None


def tunnel_conditions(
    tunnel: Tunnel,
    *,
    generation: int,
    listeners: ObservedState,
    clients: ClientsView,
    is_draining: bool = False,
    previous: Iterable[Condition],
    now: datetime,
) -> tuple[Condition, ...]:
    """Accepted, Programmed, ResolvedRefs and Ready, in this order.

    :param generation: the generation in which the tunnel is declared as it is.
    :param listeners: what runs; other kinds of resources do not matter.
    :param is_draining: whether the gateway is about to stop.
    :param previous: the conditions this tunnel had last; empty if it is new.
    """
    findings = {
        ConditionType.ACCEPTED: _accepted(tunnel, clients),
        ConditionType.PROGRAMMED: _DRAINING if is_draining else _programmed(tunnel, listeners),
        ConditionType.RESOLVED_REFS: _resolved(tunnel, clients),
    }
    findings[ConditionType.READY] = _ready(findings.values())
    before = {condition.type: condition for condition in previous}
    return tuple(
        Condition.model_construct(  # nobody is at rest without them, and what validates one takes memory
            type=kind,
            status=finding.holds,
            reason=finding.reason,
            message=finding.message,
            observed_generation=generation,
            since=_since(before.get(kind), finding, now),
        )
        for kind, finding in findings.items()
    )


def _since(before: Condition | None, finding: _Finding, now: datetime) -> datetime:
    if before is None or (before.status, before.reason) != (finding.holds, finding.reason):
        return now
    return before.since


def _accepted(tunnel: Tunnel, clients: ClientsView) -> _Finding:
    if clients.admitted is None or any(client in clients.admitted for client in tunnel.client):
        return _Finding(holds=True, reason="Accepted", message="The tunnel is valid.")
    who, verb = _nobody(tunnel.client, "may not", "may")
    message = f"{who} {verb} connect: list it under clients in the state file."
    return _Finding(holds=False, reason="ClientNotDeclared", message=message)


def _programmed(tunnel: Tunnel, listeners: ObservedState) -> _Finding:
    route = route_of(tunnel)
    findings = [
        _one_listener(address, route, listeners.get(listener_key(address))) for address in tunnel.listen
    ]
    failing = [finding for finding in findings if not finding.holds]
    if not failing:
        ports = ", ".join(str(address) for address in tunnel.listen)
        return _Finding(holds=True, reason="Programmed", message=f"Open for visitors at {ports}.")
    # A failure needs somebody, an opening only needs a moment: the failure is told first.
    failing.sort(key=lambda finding: finding.reason == "Pending")
    message = " ".join(finding.message for finding in failing)
    return _Finding(holds=False, reason=failing[0].reason, message=message)


def _one_listener(address: ListenAddress, route: RouteSpec, seen: Observed | None) -> _Finding:
    if seen is not None and seen.phase is Phase.FAILED:
        why = seen.message.rstrip(".") or "the reason is in the log"
        if not why.startswith(str(address)):
            why = f"{address} is not open: {why}"
        return _Finding(
            holds=False,
            reason=seen.reason or "Failed",
            message=f"{why}. It is tried again by itself.",
        )
    if seen is not None and seen.phase is Phase.OPEN:
        if isinstance(seen.spec, ListenerSpec) and seen.spec.carries(route):
            return _Finding(holds=True, reason="Programmed", message="")
        message = f"{address} is open and does not yet lead here; wait a moment."
    else:
        message = f"{address} is not open yet; wait a moment."
    return _Finding(holds=False, reason="Pending", message=message)


def _resolved(tunnel: Tunnel, clients: ClientsView) -> _Finding:
    serving = serving_client(tunnel, clients)
    if serving is not None:
        message = f"{serving} is connected and offers {tunnel.service}."
        return _Finding(holds=True, reason="ResolvedRefs", message=message)
    connected = [client for client in tunnel.client if client in clients.offers]
    if not connected:
        who, verb = _nobody(tunnel.client, "is not", "is")
        message = f"{who} {verb} connected: {_what_to_do(tunnel.client, clients)}."
        return _Finding(holds=False, reason="ClientAway", message=message)
    verb = "is connected but does" if len(connected) == 1 else "are connected but do"
    message = (
        f"{' and '.join(connected)} {verb} not offer {tunnel.service} now: "
        f"add {tunnel.service} to services in the client's state file, or start it if its health check fails."
    )
    return _Finding(holds=False, reason="ServiceUnknown", message=message)


def _what_to_do(away: tuple[ClientId, ...], clients: ClientsView) -> str:
    refused = [client for client in away if client in clients.refused]
    if not refused:
        return "start the client, or look at its log"
    if len(away) == 1:
        return f"it was refused, because {clients.refused[away[0]]}"
    return "; ".join(f"{client} was refused, because {clients.refused[client]}" for client in refused)


def _ready(findings: Iterable[_Finding]) -> _Finding:
    for finding in findings:
        if not finding.holds:
            return finding
    return _Finding(holds=True, reason="Ready", message="A visitor gets through.")


def _nobody(clients: tuple[ClientId, ...], negative: str, positive: str) -> tuple[str, str]:
    """Subject and verb of a sentence that denies something of every client."""
    if len(clients) == 1:
        return clients[0], negative
    return f"None of {', '.join(clients)}", positive
