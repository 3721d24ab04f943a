"""What comes of files that were put in place: waiting for it, and saying it.

Rule: the agent is told to look, so that what it says is about these files. Then it is
waited for until all is in force, something has failed and nothing is on its way any
more, or time is up, whichever comes first. A client's settings are in force when its
gateways are reached by them, and its tunnels when the gateways have taken them: what
only worked before would be confirmed, and not be there after the next start.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import anyio

from agent.api.client import fetch_status, reload
from agent.offline import Whereabouts
from reconcile.observed import IN_FLIGHT, Phase
from schemas.apply_report import Outcome
from schemas.errors import TidegateError
from schemas.reload_report import KEYS, FailedResource, ReloadReport
from schemas.state import ClientState, GatewayState, State
from schemas.status import AgentStatus, ClientAgentStatus, ConditionType, GatewayStatus

from .latest_change import Comparison, latest_change
from .reaching import Shortfall, links_by_gateway, shortfalls

_PAUSE: Final = 0.2  # seconds between two looks
_FLYING: Final = frozenset(phase.value for phase in IN_FLIGHT)

Verb: TypeAlias = Literal["+", "~", "-"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """How things stand when the wait is over."""

    report: ReloadReport
    status: AgentStatus


async def settle(agent: Whereabouts, change: Comparison | None, *, patience: float) -> Settled:
    """Let the agent look at its files, and wait.

    :param change: what is waited for; None: what the generation that counts has changed.
    :param patience: seconds.
    :raises AgentUnreachableError: if it cannot be asked.
    :raises TidegateError: if it has not even looked in that time.
    """
    settled: Settled | None = None
    with anyio.move_on_after(patience):
        report = await reload(agent.socket, start=agent.start)
        while True:
            status = await fetch_status(agent.socket, start=agent.start)
            if change is None:
                change = await _latest(agent, status)
            missing = tuple(_missing(change, status))
            settled = Settled(report=_updated(report, status, missing), status=status)
            is_open = any(one.is_under_way for one in missing) or not _is_in_force(status)
            if not (is_open and settled.report.accepted) or _has_failed(status):
                return settled
            await anyio.sleep(_PAUSE)
    if settled is None:
        raise TidegateError(
            f"the agent has not applied it within {patience:g} s: look at it with tidegate status"
        )
    return settled


async def look(agent: Whereabouts) -> tuple[AgentStatus, tuple[FailedResource, ...]]:
    """How things stand now, and what is not in force, with what the newest change has not brought about.

    :raises AgentUnreachableError: if the agent cannot be asked.
    """
    status = await fetch_status(agent.socket, start=agent.start)
    return status, _failed(status, tuple(_missing(await _latest(agent, status), status)))


def outcomes(before: State | None, after: State | None, status: AgentStatus) -> Iterator[Outcome]:
    """What is another than before, by its name, and how it is now."""
    match after, status:
        case GatewayState(), GatewayStatus():
            old = before.tunnels if isinstance(before, GatewayState) else ()
            compared = _compared({one.name: one for one in old}, {one.name: one for one in after.tunnels})
            yield from _tunnels(compared, status)
        case ClientState(), ClientAgentStatus():
            missing = tuple(shortfalls(before, after, status))
            yield from _gateways(_compared(links_by_gateway(before), links_by_gateway(after)), missing)
            services = before.services if isinstance(before, ClientState) else ()
            yield from _services(_compared(dict(services), dict(after.services)), status)
            own = before.tunnels if isinstance(before, ClientState) else ()
            compared = _compared({one.name: one for one in own}, {one.name: one for one in after.tunnels})
            yield from _own_tunnels(compared, missing)
        case _:
            return


async def _latest(agent: Whereabouts, status: AgentStatus) -> Comparison:
    # Of a gateway, its resources tell everything.
    is_client = isinstance(status, ClientAgentStatus)
    return await latest_change(agent) if is_client else Comparison(before=None, after=None)


def _missing(change: Comparison, status: AgentStatus) -> Iterator[Shortfall]:
    if isinstance(status, ClientAgentStatus):
        yield from shortfalls(change.before, change.after, status)


def _is_in_force(status: AgentStatus) -> bool:
    """As far as the agent's resources go."""
    source = status.source
    return source.generation == source.observed_generation and Phase.FAILED.value not in _phases(status)


def _updated(report: ReloadReport, status: AgentStatus, missing: Sequence[Shortfall]) -> ReloadReport:
    """The report as it is by now."""
    source = status.source
    of_keys = tuple(one for one in report.failed if one.resource == KEYS)
    failed = (*of_keys, *_failed(status, missing))
    update = {
        "generation": source.generation,
        "observed_generation": source.observed_generation,
        "in_force": _is_in_force(status) and not failed,
        "failed": failed,
    }
    return report.model_copy(update=update if report.accepted else {})


def _failed(status: AgentStatus, missing: Sequence[Shortfall]) -> tuple[FailedResource, ...]:
    failed = (
        FailedResource(resource=f"{one.kind} {one.name}".strip(), message=one.message)
        for one in status.resources
        if one.phase == Phase.FAILED.value
    )
    return (*failed, *(FailedResource(resource=one.resource, message=one.message) for one in missing))


def _has_failed(status: AgentStatus) -> bool:
    phases = _phases(status)
    return Phase.FAILED.value in phases and not phases & _FLYING


def _phases(status: AgentStatus) -> set[str]:
    return {resource.phase for resource in status.resources}


def _compared(before: Mapping[str, Hashable], after: Mapping[str, Hashable]) -> Iterator[tuple[Verb, str]]:
    for name in sorted({*before, *after}):
        if name not in before:
            yield "+", name
        elif name not in after:
            yield "-", name
        elif before[name] != after[name]:
            yield "~", name


def _tunnels(compared: Iterator[tuple[Verb, str]], status: GatewayStatus) -> Iterator[Outcome]:
    tunnels = {tunnel.name: tunnel for tunnel in status.tunnels}
    for verb, name in compared:
        if name not in tunnels:
            message = "gone" if verb == "-" else "not accepted"
            yield Outcome(verb=verb, name=name, in_force=verb == "-", message=message)
            continue
        programmed = tunnels[name].condition(ConditionType.PROGRAMMED)
        ready = tunnels[name].condition(ConditionType.READY)
        if verb == "-":
            message = "still there"
        elif not programmed.status:
            message = f"not in force: {programmed.message}"
        elif not ready.status:
            message = f"in force, and not ready: {ready.message}"
        else:
            message = "ready"
        yield Outcome(verb=verb, name=name, in_force=verb != "-" and programmed.status, message=message)


def _gateways(compared: Iterator[tuple[Verb, str]], missing: Sequence[Shortfall]) -> Iterator[Outcome]:
    trouble = {one.gateway: one.message for one in missing if not one.tunnel}
    for verb, name in compared:
        message = "gone" if verb == "-" else trouble.get(name, "reached")
        yield Outcome(verb=verb, name=name, in_force=name not in trouble, message=message)


def _own_tunnels(compared: Iterator[tuple[Verb, str]], missing: Sequence[Shortfall]) -> Iterator[Outcome]:
    for verb, name in compared:
        trouble = [one.message for one in missing if one.tunnel == name]
        message = "taken back" if verb == "-" else "; ".join(trouble) or "in force"
        yield Outcome(verb=verb, name=name, in_force=not trouble, message=message)


def _services(compared: Iterator[tuple[Verb, str]], status: ClientAgentStatus) -> Iterator[Outcome]:
    offered = {service.name for service in status.services}
    for verb, name in compared:
        is_there = name in offered
        message = "offered" if is_there else "not offered"
        yield Outcome(verb=verb, name=name, in_force=is_there != (verb == "-"), message=message)
