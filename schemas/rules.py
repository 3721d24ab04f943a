"""What must hold between the entries of a state.

Rule: pure, and every violation is found in one pass. Each check looks a key up
in a dict of what came before, so ten thousand tunnels cost ten thousand steps.

``part.fit`` tells from a few sets whether there is any violation at all. A rule that
is added here is added there, and to what tests/schemas/test_part.py makes up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final, TypeAlias, assert_never

from .errors import Place, Problem
from .names import ListenAddress, ServiceName, TunnelName
from .positions import Path
from .quoting import quote
from .rights import Breach, Right, breaches
from .state import ClientEntry, ClientState, Egress, GatewaySettings, GatewayState, OwnTunnel, State, Tunnel
from .suggest import suggest

#: Gives the place of a path in the whole state, for example ``("tunnels", 3, "listen", 0)``.
#: An index after ``listen``, ``control`` or ``management`` counts addresses, not texts.
Where: TypeAlias = Callable[[Path], Place]

# Looking for a similar name among n is n comparisons of texts; the first guesses are plenty to act on.
_MOST_COMPARISONS: Final = 20_000


def check_rules(state: State, where: Where) -> list[Problem]:
    """Every rule that a complete state breaks; empty if it may come into force."""
    match state:
        case GatewayState():
            return check_gateway_rules(state.gateway, state.clients, state.tunnels, where, state.egress)
        case ClientState():
            return check_client_rules(dict(state.services), state.tunnels, where)
        case _:
            assert_never(state)


def check_gateway_rules(
    gateway: GatewaySettings | None,
    clients: Sequence[ClientEntry] | None,
    tunnels: Sequence[Tunnel],
    where: Where,
    egress: Egress | None = None,
) -> list[Problem]:
    """Every rule that the parts of a gateway's state break; a part that could not be read may be left out."""
    return [
        *_names_are_unique(tunnels, where),
        *_client_ids_are_unique(clients or (), where),
        *_clients_are_declared(clients, tunnels, egress, where),
        *_routes_are_unique(tunnels, where),
        *_addresses_fit_together(gateway, tunnels, where),
        *_balancers_are_agreed_on(tunnels, where),
        *_rights_are_kept(gateway, clients or (), tunnels, where),
    ]


def check_client_rules(
    services: Mapping[ServiceName, object] | None, tunnels: Sequence[OwnTunnel], where: Where
) -> list[Problem]:
    """Every rule that the parts of a client's state break; ``services`` is None if not all could be read."""
    return [
        *_names_are_unique(tunnels, where),
        *_routes_are_unique(tunnels, where),
        *_services_are_offered(services, tunnels, where),
    ]


def _names_are_unique(tunnels: Sequence[Tunnel | OwnTunnel], where: Where) -> Iterator[Problem]:
    first: dict[TunnelName, int] = {}
    for index, tunnel in enumerate(tunnels):
        before = first.setdefault(tunnel.name, index)
        if before != index:
            yield Problem(
                where(("tunnels", index, "name")),
                f"another tunnel has the name {quote(tunnel.name)} already; rename one of them",
                see=where(("tunnels", before, "name")),
            )


def _client_ids_are_unique(clients: Sequence[ClientEntry], where: Where) -> Iterator[Problem]:
    first: dict[str, int] = {}
    for index, client in enumerate(clients):
        before = first.setdefault(client.id, index)
        if before != index:
            yield Problem(
                where(("clients", index, "id")),
                f"the client {quote(client.id)} is declared already; remove one of the two",
                see=where(("clients", before, "id")),
            )


def _clients_are_declared(
    clients: Sequence[ClientEntry] | None, tunnels: Sequence[Tunnel], egress: Egress | None, where: Where
) -> Iterator[Problem]:
    if clients is None:
        return
    named: Iterator[tuple[str, Path]] = (
        (client, ("tunnels", index, "client", choice))
        for index, tunnel in enumerate(tunnels)
        for choice, client in enumerate(tunnel.client)
    )
    allowed = (
        (client, ("egress", "allow", index, "client", choice))
        for index, rule in enumerate(egress.allow if egress is not None else ())
        for choice, client in enumerate(rule.client)
        if client != "*"
    )
    known = _Known(client.id for client in clients)
    for client, path in chain(named, allowed):
        if client not in known.names:
            advice = known.advice(client)
            yield Problem(where(path), f"the client {quote(client)} is not declared in clients; {advice}")


def _rights_are_kept(
    gateway: GatewaySettings | None, clients: Sequence[ClientEntry], tunnels: Sequence[Tunnel], where: Where
) -> Iterator[Problem]:
    listed = {client.id: index for index, client in reversed(list(enumerate(clients)))}
    for breach in breaches(gateway, clients, tunnels):
        entry = listed[breach.client]
        written = breach.right.value in clients[entry].model_fields_set
        yield Problem(
            where(("tunnels", breach.tunnel, *_part_of(breach))),
            breach.message,
            see=where(("clients", entry, breach.right.value if written else "id")),
        )


def _part_of(breach: Breach) -> Path:
    """What of the tunnel is in breach."""
    match breach.right:
        case Right.SERVICES:
            return ("client", breach.at)
        case Right.LISTEN:
            return ("listen", breach.at)
        case Right.DECLARES | Right.MAX_PORTS:
            return ("name",)
    assert_never(breach.right)


def _services_are_offered(
    services: Mapping[ServiceName, object] | None, tunnels: Sequence[OwnTunnel], where: Where
) -> Iterator[Problem]:
    if services is None:
        return
    known = _Known(services)
    for index, tunnel in enumerate(tunnels):
        if tunnel.service not in known.names:
            advice = known.advice(tunnel.service)
            yield Problem(
                where(("tunnels", index, "service")),
                f"the service {quote(tunnel.service)} is not declared in services; {advice}",
            )


class _Known:
    """Names that are declared, and which of them may be meant by another."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names = frozenset(names)
        self._options = tuple(sorted(self.names))
        self._compared = 0

    def advice(self, name: str) -> str:
        self._compared += len(self._options)
        guess = suggest(name, self._options) if self._compared <= _MOST_COMPARISONS else None
        return f"did you mean {quote(guess)}?" if guess is not None else "add it there"


def _balancers_are_agreed_on(tunnels: Sequence[Tunnel], where: Where) -> Iterator[Problem]:
    """A visitor's first bytes are a PROXY header or not before anybody knows which tunnel it is for."""
    first: dict[ListenAddress, int] = {}
    for index, tunnel in enumerate(tunnels):
        for address in tunnel.listen:
            before = first.setdefault(address, index)
            if frozenset(tunnels[before].accept_proxy_protocol) != frozenset(tunnel.accept_proxy_protocol):
                yield Problem(
                    where(("tunnels", index, "name")),
                    f"{address} has other load balancers in the tunnel {quote(tunnels[before].name)}; "
                    "write the same accept_proxy_protocol in both",
                    see=where(("tunnels", before, "name")),
                )
                break


def _routes_are_unique(tunnels: Sequence[Tunnel | OwnTunnel], where: Where) -> Iterator[Problem]:
    """On one address, a hostname (or none: the default route) leads to one tunnel."""
    first: dict[tuple[ListenAddress, str | None], int] = {}
    for index, tunnel in enumerate(tunnels):
        reported: set[tuple[str | None, int]] = set()  # ":443" is two addresses and one mistake
        for at, address in enumerate(tunnel.listen):
            for hostname in tunnel.hostname or (None,):
                before = first.setdefault((address, hostname), index)
                if before == index or (hostname, before) in reported:
                    continue
                reported.add((hostname, before))
                other = tunnels[before]
                if hostname is None:
                    yield Problem(
                        where(("tunnels", index, "listen", at)),
                        f"{address} leads to the tunnel {quote(other.name)} already; "
                        "give one of them a hostname or another port",
                        see=where(("tunnels", before, "listen", other.listen.index(address))),
                    )
                else:
                    yield Problem(
                        where(("tunnels", index, "hostname", tunnel.hostname.index(hostname))),
                        f"{quote(hostname)} on {address} leads to the tunnel {quote(other.name)} already; "
                        "keep it in one of them",
                        see=where(("tunnels", before, "hostname", other.hostname.index(hostname))),
                    )


@dataclass(frozen=True, slots=True)
class _Use:
    """An address that something asks for. ``shared`` ones may be asked for by several tunnels."""

    address: ListenAddress
    path: Path
    by: str
    shared: bool


def _addresses_fit_together(
    gateway: GatewaySettings | None, tunnels: Sequence[Tunnel], where: Where
) -> Iterator[Problem]:
    """One socket an address: not two owners of it, and not "every address" beside one of them."""
    ports: dict[tuple[int, int], dict[str, _Use]] = {}  # by family and port, then by host: who was first
    for use in _uses(gateway, tunnels):
        address = use.address
        hosts = ports.setdefault((address.family, address.port), {})
        other = hosts.get(address.host)
        if other is not None and not (use.shared and other.shared):
            yield Problem(
                where(use.path),
                f"{address} is taken by {other.by}; choose another port",
                see=where(other.path),
            )
        elif other is None and (beside := _overlapping(address, hosts)) is not None:
            yield Problem(
                where(use.path),
                f"{address} cannot be open beside {beside.address} of {beside.by}, "
                "because one of them is every address; write the same address or choose another port",
                see=where(beside.path),
            )
        hosts.setdefault(address.host, use)


def _overlapping(address: ListenAddress, hosts: Mapping[str, _Use]) -> _Use | None:
    """Whoever uses the same port of another address that the kernel will not open beside this one."""
    if address.is_wildcard:
        return next(iter(hosts.values()), None)
    return hosts.get("::" if address.family == 6 else "0.0.0.0")  # noqa: S104 - looked up, not bound


def _uses(gateway: GatewaySettings | None, tunnels: Sequence[Tunnel]) -> Iterator[_Use]:
    if gateway is not None:
        by = "gateway.control" if "control" in gateway.model_fields_set else "gateway.control (its default)"
        for at, address in enumerate(gateway.control):
            yield _Use(address, ("gateway", "control", at), by, shared=False)
        for at, address in enumerate(gateway.management):
            yield _Use(address, ("gateway", "management", at), "gateway.management", shared=False)
    for index, tunnel in enumerate(tunnels):
        by = f"the tunnel {quote(tunnel.name)}"
        for at, address in enumerate(tunnel.listen):
            yield _Use(address, ("tunnels", index, "listen", at), by, shared=True)
