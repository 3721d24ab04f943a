"""What the status of each role says: its headline, its troubles, and its two tables.

Rule: every word and figure of a status that a person sees is chosen here, and none
of it depends on how large the page is. Texts from outside become printable here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Final, TypeAlias

from schemas.status import (
    AgentStatus,
    ClientAgentStatus,
    ConditionType,
    GatewayStatus,
    Life,
    LinkPhase,
    LinkStatus,
    ServiceHealth,
    ServiceStatus,
    SessionStatus,
    SourceStatus,
    Traffic,
    TunnelStatus,
)

from .cells import amount, counted, elide, elide_end, fold, printable, span
from .listen_cell import listen_cell
from .own_tunnels import tunnels_in_force
from .rates import SOCKS5_PORT, Rate
from .route_cell import doubt, route_cell
from .sections import Entry, Section
from .table import Cell, Column, Worth

GOOD: Final = "green"
BAD: Final = "red"
SOON: Final = "yellow"

Rates: TypeAlias = Mapping[str, Rate] | None
"""Bytes a second by name. None: there was only one status, so totals are shown instead."""

_NONE: Final = Cell(text="-", style="dim")
_FIRST_FAILING: Final = (ConditionType.ACCEPTED, ConditionType.PROGRAMMED, ConditionType.RESOLVED_REFS)

_NAME_WIDTH: Final = 40  # a longer name would leave the headline no room for its news

_OPEN: Final = Column(title="OPEN", is_numeric=True)


def headline(status: AgentStatus, *, is_old: bool = False) -> list[Cell]:
    """Who it is and how it is, the most important first.

    :param is_old: whether the agent has stopped answering. Nothing is said then of how it is or how long it
        is up, for nobody knows.
    """
    who = [
        Cell(text=elide(printable(status.name), _NAME_WIDTH), style="bold"),
        Cell(text=status.role),
    ]
    if is_old:
        return [*who, Cell(text="No answer", style=BAD)]
    # What falls off a narrow screen is what is as it always is.
    is_settled = status.source.generation == status.source.observed_generation
    some = _tunnels_ready(status)
    news = [*some, _generation(status.source)]
    # "Ready" beside "0 of 1 tunnel ready" would be read as a contradiction.
    is_plain = status.ready and status.life is Life.RUNNING and bool(some)
    return [
        *who,
        *(() if is_plain else (_readiness(status),)),
        *(news if is_settled else reversed(news)),
        Cell(text=f"up {span(status.now - status.started_at)}"),
        Cell(text=f"tidegate {printable(status.version)}"),
    ]


def _readiness(status: AgentStatus) -> Cell:
    if status.life is not Life.RUNNING:
        return Cell(text=status.life.value, style=SOON)
    return Cell(text="Ready", style=GOOD) if status.ready else Cell(text="Not ready", style=BAD)


def failures(status: AgentStatus) -> list[str]:
    """What should be in force and is not, and what else is wrong; of ports and links the tables tell."""
    failed = [
        f"{resource.kind} {resource.name}".strip() + f": {resource.message}"
        for resource in status.resources
        if resource.phase == "failed" and resource.kind not in ("listener", "link")
    ]
    return [printable(text) for text in (*failed, *status.warnings)]


def tunnels(status: GatewayStatus, rates: Rates) -> Section:
    has_hostnames = any(tunnel.hostname for tunnel in status.tunnels)
    # Of hostnames there are several often, and each is a text that somebody looks for.
    visitors = Worth.NICE if has_hostnames else Worth.FAIR
    return Section(
        columns=(
            Column(title="TUNNEL", worth=Worth.ESSENTIAL, good=12),
            Column(title="LISTEN", good=15, least=9),
            Column(title="HOSTNAME", least=10, worth=Worth.USEFUL if has_hostnames else Worth.NICE),
            Column(
                title="CLIENT → SERVICE",
                short_title="SERVICE",
                plain_title="CLIENT -> SERVICE",
                good=18,
                least=10,
            ),
            Column(title="STATE", worth=Worth.ESSENTIAL, least=17),
            *_traffic_columns(rates, visitors=visitors),
        ),
        entries=tuple(_tunnel(tunnel, rates) for tunnel in status.tunnels),
        fine="Ready",
        empty="No tunnels are declared.",
    )


def clients(status: GatewayStatus) -> Section:
    are_several = any(client.sessions > 1 for client in status.clients)
    return Section(
        columns=(
            Column(title="CLIENT", worth=Worth.ESSENTIAL),
            Column(title="STATE", worth=Worth.ESSENTIAL),
            Column(title="FOR", worth=Worth.ESSENTIAL),
            Column(title="ADDRESS", least=15),
            *([Column(title="SESSIONS", is_numeric=True)] if are_several else []),
            _OPEN,
            Column(title="SERVICES", least=12),
            Column(title="SOFTWARE", worth=Worth.NICE),
        ),
        entries=tuple(_client(client, status.now, are_several) for client in status.clients),
        fine="connected",
        empty="No clients are declared, and none has connected.",
        has_messages=any(client.refused for client in status.clients),
    )


def links(status: ClientAgentStatus) -> Section:
    are_several = any(link.session > 1 for link in status.links)
    are_named = any(link.address for link in status.links)
    are_led = any(link.via for link in status.links)
    is_waiting = any(link.next_attempt_at is not None for link in status.links)
    return Section(
        columns=(
            Column(title="GATEWAY", worth=Worth.ESSENTIAL, least=15),
            *([Column(title="ADDRESS", good=21)] if are_named else []),
            *([Column(title="VIA")] if are_led else []),
            *([Column(title="SESSION", is_numeric=True)] if are_several else []),
            Column(title="STATE", worth=Worth.ESSENTIAL),
            Column(title="FOR", worth=Worth.ESSENTIAL),
            Column(title="NEXT ATTEMPT", worth=Worth.USEFUL if is_waiting else Worth.NICE),
            Column(title="ATTEMPTS", is_numeric=True, worth=Worth.NICE),
        ),
        entries=tuple(
            _link(link, status.now, are_several, are_named=are_named, are_led=are_led)
            for link in status.links
        ),
        fine="connected",
        empty="No gateways are declared.",
    )


def services(status: ClientAgentStatus, rates: Rates) -> Section:
    has_port = any(resource.kind == "socks5" for resource in status.resources)
    return Section(
        columns=(
            # Where there is nothing but the port for programs, nothing is a service.
            Column(title="SERVICE" if status.services else "PORT", worth=Worth.ESSENTIAL),
            Column(title="TARGET", good=20, least=15),
            *_traffic_columns(rates),
            Column(title="LAST ERROR", good=24, least=20),
        ),
        entries=tuple(_service(service, rates) for service in (*status.services, *_socks5(status))),
        fine="without an error",
        empty="The SOCKS5 port is not open." if has_port else "No services are declared.",
        has_messages=False,
    )


def _tunnels_ready(status: AgentStatus) -> list[Cell]:
    """How many tunnels are ready, unless all are: an agent is ready without its peers."""
    if not isinstance(status, GatewayStatus):
        own = tunnels_in_force(status)
        return [Cell(text=own, style=SOON)] if own else []
    ready = sum(map(_is_ready, status.tunnels))
    if ready == len(status.tunnels):
        return []
    return [Cell(text=f"{ready} of {counted(len(status.tunnels), 'tunnel')} ready", style=SOON)]


def _generation(source: SourceStatus) -> Cell:
    newest, in_force = source.generation, source.observed_generation
    if not newest:
        return Cell(text="no valid state yet", style=BAD)
    if newest == in_force:
        return Cell(text=f"generation {newest} in force")
    before = (
        f"generation {in_force} in force, {newest} pending" if in_force else f"generation {newest} pending"
    )
    return Cell(text=before, style=SOON)


def _tunnel(tunnel: TunnelStatus, rates: Rates) -> Entry:
    is_ready = _is_ready(tunnel)
    trouble = doubt(tunnel) if is_ready else _state(tunnel)[1]
    rate = _rate(rates, tunnel.name)
    return Entry(
        name=printable(tunnel.name),
        cells=partial(_tunnel_cells, tunnel, rate),
        is_fine=is_ready,
        trouble=trouble,
        heat=_heat(tunnel.traffic, rate),
    )


def _tunnel_cells(tunnel: TunnelStatus, rate: Rate | None) -> tuple[Cell, ...]:
    return (
        Cell(text=printable(tunnel.name)),
        listen_cell(tunnel.listen),
        _names(tunnel.hostname),
        route_cell(tunnel),
        _state(tunnel)[0],
        *_traffic(tunnel.traffic, rate),
    )


def _is_ready(tunnel: TunnelStatus) -> bool:
    for condition in reversed(tunnel.conditions):  # it is the last, and this is asked of thousands
        if condition.type is ConditionType.READY:
            return condition.status
    return False


def _state(tunnel: TunnelStatus) -> tuple[Cell, str]:
    """Ready, or the first condition that does not hold: its reason in words, and its message."""
    if _is_ready(tunnel):
        return Cell(text="Ready", style=GOOD), ""
    by_type = {condition.type: condition for condition in tunnel.conditions}
    failing = [by_type[kind] for kind in _FIRST_FAILING if kind in by_type and not by_type[kind].status]
    ready = by_type.get(ConditionType.READY)
    for condition in (*failing, *([] if ready is None else [ready])):
        style = SOON if condition.reason == "Pending" else BAD
        return Cell(text=_in_words(condition.reason), style=style), printable(condition.message)
    return Cell(text="Pending", style=SOON), "its state is not known yet"


def _in_words(reason: str) -> str:
    """``AddressInUse`` -> ``Address in use``."""
    return printable(re.sub(r"(?<=[a-z])(?=[A-Z])", " ", reason).capitalize()) or "Not ready"


def _client(client: SessionStatus, now: datetime, are_several: bool) -> Entry:
    state = Cell(text="Connected", style=GOOD) if client.connected else Cell(text="Away", style=BAD)
    if client.draining:
        state = Cell(text="Draining", style=SOON)
    return Entry(
        name=printable(client.id),
        cells=lambda: (
            Cell(text=printable(client.id)),
            state,
            Cell(text=span(now - client.since)),
            _optional(client.address),
            *([Cell(text=str(client.sessions))] if are_several else []),
            Cell(text=str(client.traffic.open)),
            _names(client.services),
            _optional(client.software),
        ),
        is_fine=client.connected and not client.draining,
        trouble=_refused(client, now),
        heat=_heat(client.traffic, None),
    )


def _refused(client: SessionStatus, now: datetime) -> str:
    if client.refused is None or client.connected:
        return ""
    return printable(f"refused {span(now - client.refused.at)} ago, because {client.refused.reason}")


def _link(link: LinkStatus, now: datetime, are_several: bool, *, are_named: bool, are_led: bool) -> Entry:
    gateway = printable(link.gateway)
    name = f"{gateway} at {printable(link.address)}" if link.address else gateway
    is_connected = link.phase is LinkPhase.CONNECTED
    is_reached = is_connected or link.phase is LinkPhase.STANDBY
    attempt = _NONE
    if link.next_attempt_at is not None and not is_connected:
        attempt = Cell(text=f"in {span(link.next_attempt_at - now)}")
    is_passing = link.phase in (LinkPhase.CONNECTING, LinkPhase.DRAINING)
    style = GOOD if is_reached else SOON if is_passing else BAD
    return Entry(
        name=f"{name} #{link.session}" if are_several else name,
        cells=lambda: (
            Cell(text=gateway),
            *([_optional(link.address or None)] if are_named else []),
            *([_optional(link.via or None)] if are_led else []),
            *([Cell(text=str(link.session))] if are_several else []),
            Cell(text=link.phase.value, style=style),
            Cell(text=span(now - link.since)),
            attempt,
            Cell(text=str(link.attempts)),
        ),
        is_fine=is_reached and (not link.message or not is_connected),
        trouble=printable(link.message),
    )


def _service(service: ServiceStatus, rates: Rates) -> Entry:
    error = _NONE
    if service.last_error is not None:
        withdrawn = "not offered: " if service.health is ServiceHealth.FAILS else ""
        text = withdrawn + printable(service.last_error)
        error = Cell(text=text, fit=partial(elide_end, text))
    return Entry(
        name=printable(service.name),
        cells=lambda: (
            Cell(text=printable(service.name)),
            Cell(text=printable(service.target)),
            *_traffic(service.traffic, _rate(rates, service.name)),
            error,
        ),
        is_fine=service.last_error is None,
        heat=_heat(service.traffic, _rate(rates, service.name)),
    )


def _socks5(status: ClientAgentStatus) -> tuple[ServiceStatus, ...]:
    """The SOCKS5 port as one of the services; its target is where programs find it."""
    port = status.socks5
    if port is None:
        return ()
    return (
        ServiceStatus(name=SOCKS5_PORT, target=port.listen, last_error=port.last_error, traffic=port.traffic),
    )


def _traffic_columns(rates: Rates, *, visitors: Worth = Worth.FAIR) -> tuple[Column, ...]:
    total = Column(title="VISITORS", is_numeric=True, worth=visitors)
    if rates is None:
        return (
            _OPEN,
            Column(title="IN", is_numeric=True),
            Column(title="OUT", is_numeric=True),
            total,
        )
    return (
        _OPEN,
        Column(title="IN/s", is_numeric=True),
        Column(title="OUT/s", is_numeric=True),
        total,
        Column(title="IN", is_numeric=True, worth=Worth.NICE),
        Column(title="OUT", is_numeric=True, worth=Worth.NICE),
    )


def _traffic(traffic: Traffic, rate: Rate | None) -> tuple[Cell, ...]:
    totals = (Cell(text=amount(traffic.bytes_in)), Cell(text=amount(traffic.bytes_out)))
    visitors = Cell(text=str(traffic.total))
    if rate is None:
        return (Cell(text=str(traffic.open)), *totals, visitors)
    rates = (Cell(text=amount(rate.bytes_in)), Cell(text=amount(rate.bytes_out)))
    return (Cell(text=str(traffic.open)), *rates, visitors, *totals)


def _rate(rates: Rates, name: str) -> Rate | None:
    return None if rates is None else rates.get(name, Rate())


def _heat(traffic: Traffic, rate: Rate | None) -> float:
    """Bytes a second count most; among those that rest, open connections do."""
    return traffic.open + (0 if rate is None else rate.bytes_in + rate.bytes_out)


def _names(names: Sequence[str]) -> Cell:
    if not names:
        return _NONE
    safe = [printable(name) for name in names]
    return Cell(text=", ".join(safe), fit=partial(fold, safe), plain=",".join(safe))


def _optional(text: str | None) -> Cell:
    return Cell(text=printable(text)) if text else _NONE
