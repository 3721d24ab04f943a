"""For which of the tunnels that clients declare there is room, and who is in the way of the others.

Rule: pure. What an operator wrote or the API declared is there first, always. Among the
clients, whoever comes first in the list that is handed in keeps what it has; nobody's
port is shared, not even under another name, for a hostname beside a raw tunnel would
slow that down for all its visitors, and one within another's glob would take visitors
away from it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from schemas.names import ClientId, ListenAddress, TunnelName
from schemas.quoting import quote
from schemas.rights import breaches_of, is_own, may_declare, port_of
from schemas.state import ClientEntry, GatewayState, Tunnel

from .own_tunnels import Claim

_LATER = "it is tried again when that goes"


@dataclass(slots=True)
class _Use:
    """Who has an address. No clients: the gateway itself. ``is_claimed``: by a client's own file."""

    address: ListenAddress
    by: str
    clients: tuple[ClientId, ...]
    is_claimed: bool
    has_balancers: bool = False
    routes: dict[str | None, TunnelName] = field(default_factory=dict)


class _Ground:
    """The addresses that are in use, and by whom."""

    def __init__(self, state: GatewayState) -> None:
        self._ports: dict[tuple[int, int], dict[str, _Use]] = {}
        self.used: dict[ClientId, set[tuple[str, int]]] = {}
        for where in ("control", "management"):
            for address in getattr(state.gateway, where):
                self._add(_Use(address, f"gateway.{where}", (), is_claimed=False))
        for tunnel in state.tunnels:
            self.take(tunnel, is_claimed=False)
            if is_own(tunnel):
                self.used_by(tunnel.client[0]).update(map(port_of, tunnel.listen))

    def used_by(self, client: ClientId) -> set[tuple[str, int]]:
        """The ports of tunnels that the client has declared."""
        return self.used.setdefault(client, set())

    def take(self, tunnel: Tunnel, *, is_claimed: bool) -> None:
        for address in tunnel.listen:
            use = self._at(address).get(address.host)
            if use is None:
                by = f"the tunnel {quote(tunnel.name)}"
                use = self._add(_Use(address, by, tunnel.client, is_claimed=is_claimed))
            elif use.clients != tunnel.client:
                use.clients = tuple(dict.fromkeys((*use.clients, *tunnel.client)))
            use.has_balancers |= bool(tunnel.accept_proxy_protocol)
            for hostname in tunnel.hostname or (None,):
                use.routes.setdefault(hostname, tunnel.name)

    def in_the_way(self, tunnel: Tunnel) -> Iterator[str]:
        """Why there is no room for it, in words for its client."""
        for address in tunnel.listen:
            use = self._at(address).get(address.host)
            if use is not None:
                yield from self._clashes(tunnel, use)
            elif (beside := self._beside(address)) is not None:
                whose = _whose(beside) if beside.clients != tunnel.client else "your own"
                then = _LATER if beside.is_claimed else "write the same address or choose another port"
                yield (
                    f"{address} cannot be open beside {beside.address}, which is {whose}, because one of "
                    f"them is every address; {then}"
                )

    def _clashes(self, tunnel: Tunnel, use: _Use) -> Iterator[str]:
        if use.clients != tunnel.client:
            then = f"who asked first; {_LATER}" if use.is_claimed else "choose another one"
            yield f"{use.address} is {_whose(use)}{', ' if use.is_claimed else '; '}{then}"
        elif use.has_balancers:
            yield f"{use.address} has load balancers in the gateway's file; choose another port"
        else:
            for hostname in tunnel.hostname or (None,):
                if hostname in use.routes:
                    what = str(use.address) if hostname is None else f"{quote(hostname)} on {use.address}"
                    other = quote(use.routes[hostname])
                    yield f"{what} leads to the tunnel {other} already; keep it in one of them"

    def _at(self, address: ListenAddress) -> dict[str, _Use]:
        return self._ports.setdefault((address.family, address.port), {})

    def _add(self, use: _Use) -> _Use:
        return self._at(use.address).setdefault(use.address.host, use)

    def _beside(self, address: ListenAddress) -> _Use | None:
        """Whoever uses the same port of another address that the kernel will not open beside this one."""
        uses = self._at(address)
        if address.is_wildcard:
            return next(iter(uses.values()), None)
        return next((use for use in uses.values() if use.address.is_wildcard), None)


def _whose(use: _Use) -> str:
    return f"a port of {', '.join(use.clients)}" if use.clients else f"taken by {use.by}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """The state with those tunnels in it for which there is room, and what is in the way of the others."""

    state: GatewayState
    added: frozenset[TunnelName]
    problems: Mapping[TunnelName, str]


def merge(state: GatewayState, claims: Iterable[Claim]) -> Merged:
    """Add what clients declare to a state.

    :param claims: in the order of precedence.
    """
    entries: Mapping[ClientId, ClientEntry] = {entry.id: entry for entry in state.clients or ()}
    ground = _Ground(state)
    added: list[Tunnel] = []
    problems: dict[TunnelName, str] = {}
    for claim in claims:
        entry = entries.get(claim.client)
        if entry is None or not may_declare(entry):
            problems[claim.tunnel.name] = _not_declaring(claim.client, is_listed=entry is not None)
            continue
        ports = set(ground.used_by(claim.client))
        found = [message for _, _, message in breaches_of(entry, claim.tunnel, ports)]
        found = found or list(_in_its_own_way(claim.tunnel)) or list(ground.in_the_way(claim.tunnel))
        if found:
            problems[claim.tunnel.name] = "; ".join(found)
        else:
            ground.used_by(claim.client).update(ports)
            ground.take(claim.tunnel, is_claimed=True)
            added.append(claim.tunnel)
    whole = state.model_copy(update={"tunnels": (*state.tunnels, *added)}) if added else state
    return Merged(state=whole, added=frozenset(tunnel.name for tunnel in added), problems=problems)


def _in_its_own_way(tunnel: Tunnel) -> Iterator[str]:
    every = {(address.family, address.port): address for address in tunnel.listen if address.is_wildcard}
    for address in tunnel.listen:
        other = every.get((address.family, address.port), address)
        if other != address:
            yield f"{address} cannot be open beside {other}, which is every address; write one of the two"


def _not_declaring(client: ClientId, *, is_listed: bool) -> str:
    how = "its entry" if is_listed else f"an entry of {client}"
    return (
        f"the gateway's file does not take tunnels from the file of {client}: "
        f"add declares: session, or kept, to {how} under clients there"
    )
