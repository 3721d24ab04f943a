"""What a command waits for, and how far it is.

Rule: everything is read from one status of the agent, so what is met is met at one
moment. Nothing here waits.

Decision: a tunnel that the agent does not know is an error at once, as it is for
``kubectl wait``: the agent has looked at its file when the wait began, so a name that
is not there is a slip of the keyboard. While the newest file is refused, the name may
stand in that, and is waited for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from agent.reports import counted, is_reached
from schemas.errors import TidegateError
from schemas.quoting import quote
from schemas.status import (
    AgentStatus,
    ClientAgentStatus,
    ConditionType,
    GatewayStatus,
    LinkStatus,
    Renewal,
    SourceStatus,
)
from schemas.suggest import suggest

from .reaching import worst

FILE: Final = "state file"
TUNNEL: Final = "tunnel"
GATEWAY: Final = "gateway"


class UnknownNameError(TidegateError):
    """There is nothing of that name to wait for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Awaited:
    """One thing that is waited for. ``text`` says how it is: that it is met, or what is missing."""

    kind: str  # what it is
    name: str
    is_met: bool
    text: str


def awaited(status: AgentStatus, condition: ConditionType, names: Sequence[str]) -> tuple[Awaited, ...]:
    """How far everything is: what is named, or else all there is, and the file itself.

    :param names: of tunnels; on a client, of gateways.
    :raises UnknownNameError: if one of them will not come by waiting.
    :raises TidegateError: if the condition is not one that a client's links have.
    """
    match status:
        case GatewayStatus():
            found = _tunnels(status, condition, names)
        case ClientAgentStatus():
            if condition is not ConditionType.READY:
                raise TidegateError(
                    f"a client has links, and none of them is ever {condition.value}: wait for Ready"
                )
            found = _links(status, names)
    return tuple(found) if names else (_file(status.source), *found)


def tell_missing(found: Sequence[Awaited]) -> str:
    """How much of it is not so."""
    missing = sum(not one.is_met for one in found)
    if len(found) == 1:
        return "it is not so"
    kinds = [one.kind for one in found]
    said = [
        "the state file" if kind is FILE else counted(kinds.count(kind), kind)
        for kind in dict.fromkeys(kinds)
    ]
    verb = "is" if missing == 1 else "are"
    return f"{missing} of {len(found)} ({' and '.join(said)}) {verb} not so"


def refusal(status: AgentStatus) -> str | None:
    """That the newest state is refused, if it is: whatever is met is so by the one from before."""
    source = status.source
    return None if source.accepted else f"{_refused(source)}; generation {source.generation} still counts"


def _tunnels(status: GatewayStatus, condition: ConditionType, names: Sequence[str]) -> Iterator[Awaited]:
    by_name = {tunnel.name: tunnel for tunnel in status.tunnels}
    _check_names("tunnel", names, by_name, status.source)
    for name in names or by_name:
        if name not in by_name:
            yield _not_declared(TUNNEL, name, status.source)
            continue
        found = by_name[name].condition(condition)
        text = f"{name} is {condition.value}"
        if not found.status:
            text = f"{name} is not {condition.value}: {found.message}"
        yield Awaited(kind=TUNNEL, name=name, is_met=found.status, text=text)


def _links(status: ClientAgentStatus, names: Sequence[str]) -> Iterator[Awaited]:
    gateways: dict[str, list[LinkStatus]] = {}
    for link in status.links:
        gateways.setdefault(link.gateway, []).append(link)
    _check_names("gateway", names, gateways, status.source)
    for name in names or gateways:
        if name not in gateways:
            yield _not_declared(GATEWAY, name, status.source)
            continue
        missing = next(iter((*_away(gateways[name]), *_not_taken(name, status))), None)
        text = f"{name} is Ready" if missing is None else missing
        yield Awaited(kind=GATEWAY, name=name, is_met=missing is None, text=text)


def _not_declared(kind: str, name: str, source: SourceStatus) -> Awaited:
    text = f"{name} is not declared yet: {_refused(source)}"
    return Awaited(kind=kind, name=name, is_met=False, text=text)


def _away(links: Sequence[LinkStatus]) -> Iterator[str]:
    """What is to be said of each session to a gateway that is not there, or not as the file says."""
    for number in dict.fromkeys(link.session for link in links):
        addresses = [link for link in links if link.session == number]
        if is_reached(addresses):
            continue
        link = worst(addresses)
        session = f" (session {number})" if number > 1 else ""
        message = f": {link.message}" if link.message else ""
        how = f": {link.phase.value}{message}" if link.renewal is Renewal.DONE else message
        yield f"{link.gateway}{session} is not Ready{how}"


def _not_taken(gateway: str, status: ClientAgentStatus) -> Iterator[str]:
    for tunnel in status.tunnels:
        if tunnel.gateway == gateway and not tunnel.in_force:
            yield f"{gateway} is not Ready: the tunnel {tunnel.name} is not in force there: {tunnel.message}"


def _file(source: SourceStatus) -> Awaited:
    name = source.path
    if not source.accepted:
        text = f"{name} is not in force: {_refused(source)}"
        return Awaited(kind=FILE, name=name, is_met=False, text=text)
    if source.observed_generation != source.generation:
        text = f"{name} is not in force: generation {source.generation} is not, as a whole"
        return Awaited(kind=FILE, name=name, is_met=False, text=text)
    text = f"{name} is in force, generation {source.generation}"
    return Awaited(kind=FILE, name=name, is_met=True, text=text)


def _refused(source: SourceStatus) -> str:
    first = source.problems[0].text if source.problems else "the agent's log says why"
    more = len(source.problems) - 1
    rest = f" (and {counted(more, 'more problem')})" if more > 0 else ""
    return f"the newest state is refused, {first}{rest}"


def _check_names(what: str, names: Sequence[str], known: Iterable[str], source: SourceStatus) -> None:
    there_is = tuple(known)
    unknown = [name for name in names if name not in there_is]
    if not unknown or not source.accepted:
        return
    guess = suggest(unknown[0], there_is)
    advice = f"did you mean {guess}?" if guess else "tidegate status shows those there are"
    raise UnknownNameError(f"there is no {what} {quote(unknown[0])}; {advice}")
