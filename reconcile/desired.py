"""What a state asks of the machine: keyed resources, each with its specification.

Rule: this file alone decides what one resource is, and so what may change in
place (same key, new spec) and what is closed and opened anew (another key). Specs
are values compared by ``==``: whatever is not in a spec cannot cause an action.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import total_ordering
from types import MappingProxyType
from typing import TypeAlias, assert_never

from schemas.gateway_address import GatewayAddress
from schemas.names import (
    Balance,
    ClientId,
    ListenAddress,
    ProxyProtocol,
    ServiceEntry,
    ServiceName,
    TunnelName,
    UnixTarget,
)
from schemas.networks import Network
from schemas.ports import PortRange
from schemas.proxy_url import ProxyChoice
from schemas.references import EnvRef, FileRef
from schemas.state import (
    ClientEntry,
    ClientState,
    EgressRule,
    GatewayState,
    OwnTunnel,
    Revocation,
    State,
    TlsClient,
    TlsGateway,
    Tunnel,
)


@total_ordering
class Kind(Enum):
    """Kinds of resources, declared in the order in which they are opened.

    Admission comes before the control port, so that the first client to connect
    finds the rules in place; services come before links for the same reason.
    """

    ADMISSION = "admission"  # who may connect
    EGRESS = "egress"  # what clients may reach through the gateway
    CONTROL = "control"  # a port for clients
    MANAGEMENT = "management"  # an HTTPS port for the API
    LISTENER = "listener"  # a public port for visitors
    SERVICES = "services"  # what a client offers
    DECLARATION = "declaration"  # the tunnels that a client asks its gateways for
    LINK = "link"  # one of a client's sessions to one gateway
    SOCKS5 = "socks5"  # a port for programs beside the client

    def __lt__(self, other: object) -> bool:
        if not isinstance(other, Kind):
            return NotImplemented
        return _RANK[self] < _RANK[other]

    # As the members are compared. That of Enum is a function in Python, and keys are hashed in great numbers.
    __hash__ = object.__hash__


_RANK = {kind: rank for rank, kind in enumerate(Kind)}


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Key:
    """The identity of a resource. The same key is the same socket: it is never closed to be reopened."""

    kind: Kind
    name: str  # "" where there is only one of the kind

    def __str__(self) -> str:
        return f"{self.kind.value} {self.name}" if self.name else self.kind.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """How a session is kept alive and when a half-closed stream is dropped; all in seconds."""

    ping_interval: float
    ping_timeout: float
    half_close_timeout: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmissionSpec:
    """Who may connect to the control port."""

    clients: frozenset[ClientId] | None  # None: whoever has a certificate of the client CA
    domain: str | None
    admins: frozenset[ClientId]
    rights: tuple[ClientEntry, ...] = ()  # what those that are listed may, sorted by id
    revoked: tuple[Revocation, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class EgressSpec:
    """What clients may reach through the gateway, and the addresses that it dials from."""

    allow: tuple[EgressRule, ...]
    bind: tuple[str, ...]  # IP addresses, of each family one at most


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlSpec:
    """A port on which clients connect."""

    address: ListenAddress
    tls: TlsGateway
    timing: Timing
    accept_proxy_protocol: tuple[Network, ...] = ()  # load balancers, which say who the client is


@dataclass(frozen=True, slots=True, kw_only=True)
class ManagementSpec:
    """A port on which the API is served to client certificates."""

    address: ListenAddress
    tls: TlsGateway


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteSpec:
    """What a listener matches, and where it leads. No hostnames: the default route of the port."""

    tunnel: TunnelName
    hostnames: tuple[str, ...]
    clients: tuple[ClientId, ...]  # in order of preference
    service: ServiceName
    proxy_protocol: ProxyProtocol
    balance: Balance = Balance.PREFERENCE
    accept_proxy_protocol: tuple[Network, ...] = ()  # the same in all routes of a listener


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerSpec:
    """A public port with everything it routes, sorted by the name of the tunnel."""

    address: ListenAddress
    routes: tuple[RouteSpec, ...]
    peek_timeout: float  # seconds

    @property
    def accept_proxy_protocol(self) -> tuple[Network, ...]:
        """The load balancers in front of it, which say who a visitor is."""
        return self.routes[0].accept_proxy_protocol if self.routes else ()

    def carries(self, route: RouteSpec) -> bool:
        """Whether that is one of its routes. Sorted as they are, thousands of them are asked quickly."""
        at = bisect_left(self.routes, route.tunnel, key=lambda carried: carried.tunnel)
        return at < len(self.routes) and self.routes[at] == route


@dataclass(frozen=True, slots=True, kw_only=True)
class ServicesSpec:
    """What a client offers, and the address it dials for each."""

    targets: tuple[tuple[ServiceName, ServiceEntry], ...]  # sorted by name


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclarationSpec:
    """The tunnels that a client asks its gateways for."""

    tunnels: tuple[OwnTunnel, ...]  # sorted by name


@dataclass(frozen=True, slots=True, kw_only=True)
class Socks5Spec:
    """A SOCKS5 port for programs beside the client. User and password: both or none."""

    listen: ListenAddress | UnixTarget
    user: str | None
    password: FileRef | EnvRef | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WayOut:
    """How a client leaves its network."""

    proxy: ProxyChoice = None  # None: as the environment says
    local_ports: PortRange | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkSpec:
    """A session that a client keeps to one gateway. Those to one gateway are numbered from 1."""

    gateway: GatewayAddress
    session: int
    client_id: ClientId
    tls: TlsClient
    timing: Timing
    way_out: WayOut = WayOut()


Spec: TypeAlias = (
    AdmissionSpec
    | EgressSpec
    | ControlSpec
    | ManagementSpec
    | ListenerSpec
    | ServicesSpec
    | DeclarationSpec
    | LinkSpec
    | Socks5Spec
)


def key_of(spec: Spec) -> Key:
    """The key under which a specification is kept in force."""
    match spec:
        case AdmissionSpec():
            return Key(kind=Kind.ADMISSION, name="")
        case EgressSpec():
            return Key(kind=Kind.EGRESS, name="")
        case ControlSpec():
            return Key(kind=Kind.CONTROL, name=str(spec.address))
        case ManagementSpec():
            return Key(kind=Kind.MANAGEMENT, name=str(spec.address))
        case ListenerSpec():
            return listener_key(spec.address)
        case ServicesSpec():
            return Key(kind=Kind.SERVICES, name="")
        case DeclarationSpec():
            return Key(kind=Kind.DECLARATION, name="")
        case LinkSpec():
            # So with more sessions or fewer, the others are not touched.
            number = f" #{spec.session}" if spec.session > 1 else ""
            return Key(kind=Kind.LINK, name=f"{spec.gateway}{number}")
        case Socks5Spec():
            return Key(kind=Kind.SOCKS5, name=str(spec.listen))
    assert_never(spec)


def order_of(key: Key) -> tuple[int, str]:
    """Sorts keys as they compare, at a third of the cost."""
    return _RANK[key.kind], key.name


def listener_key(address: ListenAddress) -> Key:
    """The key of the public port at that address."""
    return Key(kind=Kind.LISTENER, name=str(address))


def route_of(tunnel: Tunnel) -> RouteSpec:
    """The route that a tunnel puts on each of its listeners."""
    return RouteSpec(
        tunnel=tunnel.name,
        hostnames=tunnel.hostname,
        clients=tunnel.client,
        service=tunnel.service,
        proxy_protocol=tunnel.proxy_protocol,
        balance=tunnel.balance,
        accept_proxy_protocol=tunnel.accept_proxy_protocol,
    )


def resources(state: State) -> Mapping[Key, Spec]:
    """Everything the state asks for, in the order of the keys.

    Two states that ask for the same give equal mappings, however they are written.
    """
    match state:
        case GatewayState():
            specs = _gateway(state)
        case ClientState():
            specs = _client(state)
        case _:
            assert_never(state)
    by_key = {key_of(spec): spec for spec in specs}
    return MappingProxyType({key: by_key[key] for key in sorted(by_key, key=order_of)})


def _gateway(state: GatewayState) -> Iterator[Spec]:
    settings = state.gateway
    timing = Timing(
        ping_interval=settings.ping_interval,
        ping_timeout=settings.ping_timeout,
        half_close_timeout=settings.half_close_timeout,
    )
    yield AdmissionSpec(
        clients=None if state.clients is None else frozenset(client.id for client in state.clients),
        domain=settings.domain,
        admins=frozenset(settings.admins),
        rights=tuple(sorted(state.clients or (), key=lambda client: client.id)),
        revoked=state.revoked,
    )
    if state.egress is not None:
        yield EgressSpec(allow=state.egress.allow, bind=state.egress.bind)
    for address in settings.control:
        yield ControlSpec(
            address=address,
            tls=settings.tls,
            timing=timing,
            accept_proxy_protocol=settings.accept_proxy_protocol,
        )
    for address in settings.management:
        yield ManagementSpec(address=address, tls=settings.tls)
    routes: dict[ListenAddress, list[RouteSpec]] = {}
    for tunnel in sorted(state.tunnels, key=lambda tunnel: tunnel.name):
        for address in tunnel.listen:
            routes.setdefault(address, []).append(route_of(tunnel))
    for address, led in routes.items():
        yield ListenerSpec(address=address, routes=tuple(led), peek_timeout=settings.peek_timeout)


def _client(state: ClientState) -> Iterator[Spec]:
    settings = state.client
    timing = Timing(
        ping_interval=settings.ping_interval,
        ping_timeout=settings.ping_timeout,
        half_close_timeout=settings.half_close_timeout,
    )
    yield ServicesSpec(targets=tuple(sorted(state.services, key=lambda service: service[0])))
    if state.tunnels:
        yield DeclarationSpec(tunnels=tuple(sorted(state.tunnels, key=lambda tunnel: tunnel.name)))
    if state.socks5 is not None:
        yield Socks5Spec(listen=state.socks5.listen, user=state.socks5.user, password=state.socks5.password)
    way_out = WayOut(proxy=settings.proxy, local_ports=settings.local_ports)
    for gateway in settings.gateways:
        for session in range(1, settings.sessions + 1):
            yield LinkSpec(
                gateway=gateway,
                session=session,
                client_id=settings.id,
                tls=settings.tls,
                timing=timing,
                way_out=way_out,
            )
