"""States, resources and worlds to try the decision on."""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import strategies as st

from reconcile.desired import Key, LinkSpec, ListenerSpec, RouteSpec, ServicesSpec, Spec, Timing, key_of
from reconcile.observed import Observed, ObservedState, Phase
from schemas.names import (
    ClientId,
    HostPort,
    ListenAddress,
    ProxyProtocol,
    ServiceEntry,
    ServiceName,
    TcpTarget,
    TunnelName,
    parse_listen,
)
from schemas.references import FileRef
from schemas.state import (
    ClientEntry,
    ClientSettings,
    ClientState,
    GatewaySettings,
    GatewayState,
    TlsClient,
    TlsGateway,
    Tunnel,
)

GATEWAY_TLS = TlsGateway(cert=FileRef("gw.crt"), key=FileRef("gw.key"), client_ca=FileRef("ca.crt"))
CLIENT_TLS = TlsClient(cert=FileRef("home.crt"), key=FileRef("home.key"), ca=FileRef("ca.crt"))
TIMING = Timing(ping_interval=15.0, ping_timeout=10.0, half_close_timeout=300.0)


def tunnel(
    name: str,
    *listen: str,
    client: tuple[str, ...] = ("homelab",),
    service: str = "web",
    hostname: tuple[str, ...] = (),
    declared_by: str | None = None,
) -> Tunnel:
    return Tunnel(
        name=TunnelName(name),
        listen=tuple(address for text in listen for address in parse_listen(text)),
        hostname=hostname,
        client=tuple(ClientId(one) for one in client),
        service=ServiceName(service),
        declared_by=declared_by,
    )


def gateway_state(
    *tunnels: Tunnel, clients: tuple[str, ...] | None = None, allow_empty: bool = False
) -> GatewayState:
    entries = None if clients is None else tuple(ClientEntry(id=ClientId(one)) for one in clients)
    return GatewayState(
        gateway=GatewaySettings(tls=GATEWAY_TLS), clients=entries, tunnels=tunnels, allow_empty=allow_empty
    )


def client_state(
    *services: str, gateways: tuple[HostPort, ...] = (HostPort("gw1", 9056),), sessions: int = 1
) -> ClientState:
    return ClientState(
        client=ClientSettings(id=ClientId("homelab"), gateways=gateways, sessions=sessions, tls=CLIENT_TLS),
        services=tuple((ServiceName(name), ServiceEntry(TcpTarget("127.0.0.1", 8080))) for name in services),
    )


def listener(port: int, *, tunnel: str = "blog", host: str = "0.0.0.0") -> ListenerSpec:
    route = RouteSpec(
        tunnel=TunnelName(tunnel),
        hostnames=(),
        clients=(ClientId("homelab"),),
        service=ServiceName("web"),
        proxy_protocol=ProxyProtocol.OFF,
    )
    return ListenerSpec(address=ListenAddress(host, port), routes=(route,), peek_timeout=3.0)


def port(number: int) -> Key:
    return key_of(listener(number))


def keyed(*specs: Spec) -> dict[Key, Spec]:
    return {key_of(spec): spec for spec in specs}


def running(*specs: Spec, phase: Phase = Phase.OPEN) -> dict[Key, Observed]:
    return {key_of(spec): Observed(spec=spec, phase=phase) for spec in specs}


listeners = st.builds(
    listener, st.integers(min_value=1, max_value=6), tunnel=st.sampled_from(["blog", "mail", "wiki"])
)
services = st.builds(
    lambda names: ServicesSpec(
        targets=tuple((ServiceName(name), ServiceEntry(TcpTarget("::1", 80))) for name in names)
    ),
    st.sets(st.sampled_from(["web", "smtp"])).map(sorted),
)
links = st.builds(
    lambda host, session, client: LinkSpec(
        gateway=HostPort(host, 9056),
        session=session,
        client_id=ClientId(client),
        tls=CLIENT_TLS,
        timing=TIMING,
    ),
    st.sampled_from(["gw1", "gw2"]),
    st.integers(1, 3),
    st.sampled_from(["homelab", "office"]),
)
specs: st.SearchStrategy[Spec] = st.one_of(listeners, services, links)

desired_states: st.SearchStrategy[Mapping[Key, Spec]] = st.lists(specs, max_size=8).map(
    lambda found: keyed(*found)
)
observed_states: st.SearchStrategy[ObservedState] = st.lists(
    st.builds(Observed, spec=specs, phase=st.sampled_from(Phase)), max_size=8
).map(lambda found: {key_of(seen.spec): seen for seen in found})
