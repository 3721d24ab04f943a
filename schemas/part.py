"""What one good document declares, and whether several of them fit together.

Rule: only good news comes from here. A part exists if nothing at all is wrong with
its document by itself, and parts that fit are a state against which ``parse`` would
have nothing to say. Where that is not sure the answer is None, and whoever wants to
know why asks ``parse``, the only one that speaks of problems.

So a fragment that has not changed need not be read again, and thousands of entries
are held against each other by a few operations on sets.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain

from .messages import MAX_SERVICES
from .names import ClientId, ListenAddress, ServiceEntry, ServiceName
from .networks import Network
from .rights import breaches
from .roles import Role
from .state import (
    ClientEntry,
    ClientSettings,
    ClientState,
    Egress,
    GatewaySettings,
    GatewayState,
    OwnTunnel,
    Revocation,
    Socks5,
    State,
    Tunnel,
)
from .text import Document


@dataclass(frozen=True, kw_only=True)
class Part:
    """The declarations of one document. ``section`` is None in a fragment without the role's section."""

    section: GatewaySettings | ClientSettings | None = None
    clients: tuple[ClientEntry, ...] | None = None
    tunnels: tuple[Tunnel, ...] = ()
    revoked: tuple[Revocation, ...] = ()
    egress: Egress | None = None
    services: tuple[tuple[ServiceName, ServiceEntry], ...] = ()
    socks5: Socks5 | None = None
    own_tunnels: tuple[OwnTunnel, ...] = ()
    allow_empty: bool = False

    @cached_property
    def names(self) -> frozenset[str]:
        return frozenset(tunnel.name for tunnel in self.tunnels)

    @cached_property
    def used_clients(self) -> frozenset[ClientId]:
        rules = self.egress.allow if self.egress is not None else ()
        allowed = (ClientId(client) for rule in rules for client in rule.client if client != "*")
        return frozenset(chain(chain.from_iterable(tunnel.client for tunnel in self.tunnels), allowed))

    @cached_property
    def has_balancers(self) -> bool:
        return any(tunnel.accept_proxy_protocol for tunnel in self.tunnels)

    @cached_property
    def addresses(self) -> frozenset[ListenAddress]:
        return frozenset(chain.from_iterable(tunnel.listen for tunnel in self.tunnels))

    @cached_property
    def routes(self) -> frozenset[str]:
        # Texts, because they remember their hash.
        return frozenset(
            f"{address} {hostname}"
            for tunnel in self.tunnels
            for address in tunnel.listen
            for hostname in tunnel.hostname or ("",)
        )

    @cached_property
    def route_count(self) -> int:
        """How many routes there are, counting each as often as it is declared."""
        return sum(len(tunnel.listen) * (len(tunnel.hostname) or 1) for tunnel in self.tunnels)

    @cached_property
    def ports(self) -> _Ports:
        return _ports(self.addresses)


@dataclass(frozen=True, slots=True)
class _Ports:
    """Families and ports: those of wildcard addresses, and those of others."""

    of_all: frozenset[tuple[int, int]]
    of_one: frozenset[tuple[int, int]]


def _ports(addresses: Iterable[ListenAddress]) -> _Ports:
    of_all: set[tuple[int, int]] = set()
    of_one: set[tuple[int, int]] = set()
    for address in addresses:
        (of_all if address.is_wildcard else of_one).add((address.family, address.port))
    return _Ports(frozenset(of_all), frozenset(of_one))


def read_part(document: Document, role: Role) -> Part | None:
    """What the document declares for an agent of that role; None if anything is wrong with it."""
    from .merge import Merge  # an agent that is told what its files say has no use for it

    merge = Merge(problems=[])
    merge.add(document, role)
    if merge.problems:
        return None
    return Part(
        section=merge.gateway if role is Role.GATEWAY else merge.client,
        clients=None if merge.clients is None else tuple(merge.clients),
        tunnels=tuple(merge.tunnels),
        revoked=tuple(merge.revoked),
        egress=merge.egress,
        services=tuple(sorted(merge.services.items())),
        socks5=merge.socks5,
        own_tunnels=tuple(merge.own_tunnels),
        allow_empty=merge.allow_empty,
    )


def part_of(state: State) -> Part:
    """A whole state as one part."""
    match state:
        case GatewayState():
            return Part(
                section=state.gateway,
                clients=state.clients,
                tunnels=state.tunnels,
                revoked=state.revoked,
                egress=state.egress,
                allow_empty=state.allow_empty,
            )
        case ClientState():
            return Part(
                section=state.client,
                services=state.services,
                socks5=state.socks5,
                own_tunnels=state.tunnels,
                allow_empty=state.allow_empty,
            )


def fit(parts: Sequence[Part]) -> State | None:
    """The state that the parts are together; None if that is not sure."""
    sections = [part.section for part in parts if part.section is not None]
    if len(sections) != 1:
        return None
    match sections[0]:
        case GatewaySettings() as gateway:
            return combine(parts) if _gateway_fits(gateway, parts) else None
        case ClientSettings():
            return combine(parts) if _client_fits(parts) else None


def combine(parts: Sequence[Part]) -> State:
    """The state that the parts are together, which are known to fit."""
    # Nothing is validated again: it would say the same, and what validates takes two megabytes.
    section = next(part.section for part in parts if part.section is not None)
    allow_empty = any(part.allow_empty for part in parts)
    match section:
        case GatewaySettings():
            return GatewayState.model_construct(
                gateway=section,
                clients=_clients(parts),
                tunnels=tuple(chain.from_iterable(part.tunnels for part in parts)),
                revoked=tuple(chain.from_iterable(part.revoked for part in parts)),
                egress=next((part.egress for part in parts if part.egress is not None), None),
                allow_empty=allow_empty,
            )
        case ClientSettings():
            return ClientState.model_construct(
                client=section,
                services=tuple(sorted(dict(chain.from_iterable(part.services for part in parts)).items())),
                socks5=next((part.socks5 for part in parts if part.socks5 is not None), None),
                tunnels=tuple(chain.from_iterable(part.own_tunnels for part in parts)),
                allow_empty=allow_empty,
            )


def _clients(parts: Iterable[Part]) -> tuple[ClientEntry, ...] | None:
    listed = [part.clients for part in parts if part.clients is not None]
    return tuple(chain.from_iterable(listed)) if listed else None


def _client_fits(parts: Sequence[Part]) -> bool:
    names = [name for part in parts for name, _ in part.services]
    if not _are_unique(names) or len(names) > MAX_SERVICES:
        return False
    if sum(part.socks5 is not None for part in parts) > 1:
        return False
    # A client has few tunnels of its own, if any; the parser says how they fit.
    tunnels = [tunnel for part in parts for tunnel in part.own_tunnels]
    routes = [
        (address, hostname)
        for tunnel in tunnels
        for address in tunnel.listen
        for hostname in tunnel.hostname or (None,)
    ]
    return (
        _are_unique([tunnel.name for tunnel in tunnels])
        and _are_unique(routes)
        and frozenset(tunnel.service for tunnel in tunnels) <= frozenset(names)
    )


def _gateway_fits(gateway: GatewaySettings, parts: Sequence[Part]) -> bool:
    """What ``rules`` demands, as far as a few sets can tell."""
    clients = _clients(parts)
    if clients is not None:
        ids = [client.id for client in clients]
        used = frozenset[ClientId]().union(*(part.used_clients for part in parts))
        if not _are_unique(ids) or not used <= frozenset(ids):
            return False
        tunnels = list(chain.from_iterable(part.tunnels for part in parts))
        if any(breaches(gateway, clients, tunnels)):
            return False
    if sum(part.egress is not None for part in parts) > 1 or not _balancers_fit(parts):
        return False
    names = frozenset[str]().union(*(part.names for part in parts))
    routes = frozenset[str]().union(*(part.routes for part in parts))
    return (
        len(names) == sum(len(part.tunnels) for part in parts)
        and len(routes) == sum(part.route_count for part in parts)
        and _addresses_fit(gateway, parts)
    )


def _balancers_fit(parts: Sequence[Part]) -> bool:
    """Whether no address has load balancers in one tunnel and others, or none, in another."""
    if not any(part.has_balancers for part in parts):
        return True
    found: dict[ListenAddress, frozenset[Network]] = {}
    return all(
        found.setdefault(address, frozenset(tunnel.accept_proxy_protocol))
        == frozenset(tunnel.accept_proxy_protocol)
        for part in parts
        for tunnel in part.tunnels
        for address in tunnel.listen
    )


def _addresses_fit(gateway: GatewaySettings, parts: Sequence[Part]) -> bool:
    own = (*gateway.control, *gateway.management)
    if not _are_unique(own) or any(not part.addresses.isdisjoint(own) for part in parts):
        return False
    ports = [_ports(own), *(part.ports for part in parts)]
    of_all = frozenset[tuple[int, int]]().union(*(port.of_all for port in ports))
    return all(of_all.isdisjoint(port.of_one) for port in ports)


def _are_unique(values: Sequence[Hashable]) -> bool:
    return len(frozenset(values)) == len(values)
