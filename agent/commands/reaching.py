"""How far a client is with its gateways, read from one status of it.

Rule: what an agent's resources do not tell of is told here: whether the gateways are reached by the settings
that count now, and have taken the tunnels of the client's own file. Nothing here waits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from agent.reports import is_reached
from reconcile.desired import LinkSpec, resources
from schemas.state import ClientState, State
from schemas.status import ClientAgentStatus, LinkPhase, LinkStatus, Renewal

_FAILED: Final = (LinkPhase.WAITING, LinkPhase.REFUSED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shortfall:
    """What is not as the file says. ``gateway`` and ``tunnel``: "" if it is about none of them.

    ``is_under_way``: whether it may well be so in a moment.
    """

    gateway: str = ""
    tunnel: str = ""
    message: str
    is_under_way: bool

    @property
    def resource(self) -> str:
        return f"tunnel {self.tunnel}" if self.tunnel else f"link {self.gateway}"


def links_by_gateway(state: State | None) -> dict[str, tuple[LinkSpec, ...]]:
    """What a client's file says of the sessions to each of its gateways."""
    found: dict[str, tuple[LinkSpec, ...]] = {}
    if isinstance(state, ClientState):
        for spec in resources(state).values():
            if isinstance(spec, LinkSpec):
                name = str(spec.gateway)
                found[name] = (*found.get(name, ()), spec)
    return found


def shortfalls(before: State | None, after: State | None, status: ClientAgentStatus) -> Iterator[Shortfall]:
    """What a change has not brought about (yet).

    A gateway that was away before, and of which nothing was changed, is none of it.
    """
    old, new = links_by_gateway(before), links_by_gateway(after)
    changed = {gateway for gateway in new if old.get(gateway) != new[gateway]}
    for gateway in new:
        links = [link for link in status.links if link.gateway == gateway]
        if gateway in changed or any(link.renewal is not Renewal.DONE for link in links):
            yield from unreached(links)
    yield from untaken(status)
    yield from _unheard_of(before, after, status)


def unreached(links: Sequence[LinkStatus]) -> Iterator[Shortfall]:
    """The sessions to a gateway that are not there, or are by the settings of before."""
    for number in sorted({link.session for link in links}):
        addresses = [link for link in links if link.session == number]
        if is_reached(addresses):
            continue
        told = worst(addresses)
        session = f"session {number}: " if len({link.session for link in links}) > 1 else ""
        yield Shortfall(
            gateway=told.gateway,
            message=session + _message(told),
            is_under_way=any(_is_under_way(link) for link in addresses),
        )


def worst(links: Sequence[LinkStatus]) -> LinkStatus:
    """The one, of several, that tells most of why a gateway is not reached."""
    found = [link for link in links if _has_failed(link)]
    found += [link for link in links if _is_under_way(link)]
    return (found or list(links))[0]


def untaken(status: ClientAgentStatus) -> Iterator[Shortfall]:
    """The client's own tunnels that a gateway does not have, or has said nothing of yet."""
    for tunnel in status.tunnels:
        if not tunnel.in_force:
            yield Shortfall(
                gateway=tunnel.gateway,
                tunnel=tunnel.name,
                message=f"not in force at {tunnel.gateway}: {tunnel.message}",
                is_under_way=not tunnel.answered,
            )


def _unheard_of(before: State | None, after: State | None, status: ClientAgentStatus) -> Iterator[Shortfall]:
    """Tunnels that are new, or others than before, while there is no gateway to ask for them."""
    if not isinstance(after, ClientState):
        return
    old = before.tunnels if isinstance(before, ClientState) else ()
    known = {tunnel.name for tunnel in status.tunnels}
    is_under_way = any(map(_is_under_way, status.links))
    for tunnel in after.tunnels:
        if tunnel not in old and tunnel.name not in known:
            message = "not in force: no gateway is reached that could have it"
            yield Shortfall(tunnel=tunnel.name, message=message, is_under_way=is_under_way)


def _has_failed(link: LinkStatus) -> bool:
    return link.phase in _FAILED or link.renewal is Renewal.FAILED


def _is_under_way(link: LinkStatus) -> bool:
    return not _has_failed(link) and (link.phase is LinkPhase.CONNECTING or link.renewal is Renewal.PENDING)


def _message(link: LinkStatus) -> str:
    if link.renewal is not Renewal.DONE:
        return link.message
    return f"not reached: {link.message or link.phase.value}"
