from __future__ import annotations

from collections.abc import Iterable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.egress import HostGlob
from schemas.errors import Place
from schemas.names import (
    ClientId,
    ListenAddress,
    ServiceEntry,
    ServiceName,
    TunnelName,
    parse_listen,
    parse_target,
)
from schemas.networks import Network, parse_network
from schemas.ports import PortRange
from schemas.positions import Path
from schemas.references import FileRef
from schemas.rules import check_gateway_rules, check_rules
from schemas.state import (
    ClientEntry,
    ClientSettings,
    ClientState,
    Egress,
    EgressRule,
    GatewaySettings,
    GatewayState,
    OwnTunnel,
    TlsClient,
    TlsGateway,
    Tunnel,
)

FILE = FileRef("x")
TLS = TlsGateway(cert=FILE, key=FILE, client_ca=FILE)


def where(path: Path) -> Place:
    return Place("/".join(str(step) for step in path), 1, 1)


def tunnel(
    name: str, listen: Sequence[str], hostname: Iterable[str] = (), client: Iterable[str] = ("home",)
) -> Tunnel:
    return Tunnel(
        name=TunnelName(name),
        listen=tuple(address for text in listen for address in parse_listen(text)),
        hostname=tuple(hostname),
        client=tuple(ClientId(each) for each in client),
        service=ServiceName("web"),
    )


def said_of(
    *tunnels: Tunnel,
    clients: Iterable[str] | None = None,
    control: str = "127.0.0.1:9056",
    management: str | None = None,
) -> list[tuple[str, str | None, str]]:
    """The path of each problem, the path it points at, and its message up to the advice."""
    state = GatewayState(
        gateway=GatewaySettings(
            tls=TLS,
            control=parse_listen(control),
            management=parse_listen(management) if management is not None else (),
        ),
        clients=None if clients is None else tuple(ClientEntry(id=ClientId(each)) for each in clients),
        tunnels=tunnels,
    )
    return [
        (
            "" if problem.place is None else problem.place.file,
            None if problem.see is None else problem.see.file,
            problem.message.partition(";")[0],
        )
        for problem in check_rules(state, where)
    ]


def test_a_state_without_clashes_breaks_no_rule() -> None:
    assert (
        said_of(
            tunnel("a", [":443"], ["a.example.com"]),
            tunnel("b", [":443"], ["b.example.com", "*.example.com"]),
            tunnel("c", ["0.0.0.0:443"]),
            tunnel("d", ["[::]:443"]),
            tunnel("e", ["192.0.2.1:25"]),
            tunnel("f", ["192.0.2.2:25", "[::]:25"]),
            tunnel("g", ["[::]:9056"]),
            clients=["home"],
            management="127.0.0.1:9057",
        )
        == []
    )


def test_a_name_used_again_points_at_its_first_use() -> None:
    assert said_of(tunnel("a", [":1"]), tunnel("a", [":2"]), tunnel("a", [":3"])) == [
        ("tunnels/1/name", "tunnels/0/name", 'another tunnel has the name "a" already'),
        ("tunnels/2/name", "tunnels/0/name", 'another tunnel has the name "a" already'),
    ]


def test_a_client_declared_again_points_at_its_first_declaration() -> None:
    assert said_of(clients=["a", "b", "a"]) == [
        ("clients/2/id", "clients/0/id", 'the client "a" is declared already')
    ]


def test_a_client_of_a_tunnel_must_be_declared_if_any_is() -> None:
    one = tunnel("a", [":1"], client=["home", "office"])
    assert said_of(one) == []
    assert said_of(one, clients=["home", "offce"]) == [
        ("tunnels/0/client/1", None, 'the client "office" is not declared in clients')
    ]
    assert len(said_of(one, clients=[])) == 2


def test_guessing_what_was_meant_ends_before_it_takes_long() -> None:
    clients = [f"c{number}" for number in range(5000)]
    tunnels = [tunnel(f"t{number}", [f":{number + 1}"], client=["c-1"]) for number in range(50)]
    said = check_gateway_rules(None, [ClientEntry(id=ClientId(client)) for client in clients], tunnels, where)
    guesses = [problem for problem in said if "did you mean" in problem.message]
    assert len(said) == 50
    assert 0 < len(guesses) < 5


@pytest.mark.parametrize(
    ("first", "second", "address"),
    [
        (":443", ":443", "0.0.0.0:443"),
        (":443", "0.0.0.0:443", "0.0.0.0:443"),
        ("[::]:443", ":443", "[::]:443"),
        ("192.0.2.1:443", "192.0.2.1:443", "192.0.2.1:443"),
    ],
)
def test_on_one_address_a_hostname_leads_to_one_tunnel(first: str, second: str, address: str) -> None:
    assert said_of(
        tunnel("a", [first], ["x.example.com", "a.example.com"]),
        tunnel("b", [second], ["b.example.com", "a.example.com"]),
    ) == [
        (
            "tunnels/1/hostname/1",
            "tunnels/0/hostname/1",
            f'"a.example.com" on {address} leads to the tunnel "a" already',
        )
    ]


def test_on_one_address_there_is_one_default_route() -> None:
    assert said_of(tunnel("a", ["0.0.0.0:1", "0.0.0.0:25"]), tunnel("b", [":25"])) == [
        ("tunnels/1/listen/0", "tunnels/0/listen/1", '0.0.0.0:25 leads to the tunnel "a" already')
    ]


def test_a_clash_with_two_tunnels_is_reported_with_each() -> None:
    said = said_of(tunnel("a", ["0.0.0.0:25"]), tunnel("b", ["[::]:25"]), tunnel("c", [":25"]))
    assert [see for _, see, _ in said] == ["tunnels/0/listen/0", "tunnels/1/listen/0"]


@pytest.mark.parametrize(
    ("first", "second"),
    [("0.0.0.0:443", "192.0.2.1:443"), ("192.0.2.1:443", ":443"), ("[::]:443", "[::1]:443")],
)
def test_every_address_and_one_of_them_may_not_share_a_port(first: str, second: str) -> None:
    ((path, see, message),) = said_of(tunnel("a", [first], ["a"]), tunnel("b", [second], ["b"]))
    assert (path, see) == ("tunnels/1/listen/0", "tunnels/0/listen/0")
    assert "cannot be open beside" in message


def test_one_address_after_a_wildcard_clashes_with_the_wildcard_and_not_with_its_like() -> None:
    said = said_of(
        tunnel("a", ["192.0.2.1:443"], ["a"]),
        tunnel("b", ["0.0.0.0:443"], ["b"]),
        tunnel("c", ["192.0.2.2:443"], ["c"]),
    )
    assert [(path, see) for path, see, _ in said] == [
        ("tunnels/1/listen/0", "tunnels/0/listen/0"),
        ("tunnels/2/listen/0", "tunnels/1/listen/0"),
    ]


def test_a_tunnel_may_not_take_a_port_of_the_gateway() -> None:
    said = said_of(
        tunnel("a", ["127.0.0.1:9056"]),
        tunnel("b", ["192.0.2.1:9057"]),
        tunnel("c", ["192.0.2.1:9056"]),
        management="0.0.0.0:9057",
    )
    assert said == [
        ("tunnels/0/listen/0", "gateway/control/0", "127.0.0.1:9056 is taken by gateway.control"),
        (
            "tunnels/1/listen/0",
            "gateway/management/0",
            "192.0.2.1:9057 cannot be open beside 0.0.0.0:9057 of gateway.management, "
            "because one of them is every address",
        ),
    ]


def test_the_ports_of_the_gateway_may_not_be_one() -> None:
    assert said_of(control=":9056", management="127.0.0.1:9056") == [
        (
            "gateway/management/0",
            "gateway/control/0",
            "127.0.0.1:9056 cannot be open beside 0.0.0.0:9056 of gateway.control, "
            "because one of them is every address",
        )
    ]
    assert [message for _, _, message in said_of(control=":9056", management=":9056")] == [
        "0.0.0.0:9056 is taken by gateway.control",
        "[::]:9056 is taken by gateway.control",
    ]


def test_a_default_that_clashes_is_called_a_default() -> None:
    (problem,) = check_gateway_rules(GatewaySettings(tls=TLS), None, [tunnel("a", ["0.0.0.0:9056"])], where)
    assert "gateway.control (its default)" in problem.message


def test_without_the_gateway_section_the_tunnels_are_still_held_against_each_other() -> None:
    assert len(check_gateway_rules(None, None, [tunnel("a", [":1"]), tunnel("a", [":9056"])], where)) == 1


def client_state(*tunnels: OwnTunnel) -> ClientState:
    settings = ClientSettings(id=ClientId("home"), gateways=(), tls=TlsClient(cert=FILE, key=FILE, ca=FILE))
    web = ServiceEntry(parse_target("127.0.0.1:80"))
    return ClientState(client=settings, services=((ServiceName("web"), web),), tunnels=tunnels)


def own_tunnel(name: str, listen: str, *hostname: str, service: str = "web") -> OwnTunnel:
    return OwnTunnel(
        name=TunnelName(name),
        listen=parse_listen(listen),
        hostname=hostname,
        service=ServiceName(service),
    )


def test_a_client_without_tunnels_of_its_own_breaks_no_rule() -> None:
    assert check_rules(client_state(), where) == []


def test_tunnels_of_a_client_lead_to_services_that_it_offers() -> None:
    (problem,) = check_rules(client_state(own_tunnel("a", ":1", service="wbe")), where)
    assert problem.message == 'the service "wbe" is not declared in services; did you mean "web"?'


def test_tunnels_of_a_client_differ_in_name_and_route() -> None:
    same_name = client_state(own_tunnel("a", ":1"), own_tunnel("a", ":2"))
    same_route = client_state(own_tunnel("a", ":1", "x"), own_tunnel("b", ":1", "x"))
    apart = client_state(own_tunnel("a", ":1", "x"), own_tunnel("b", ":1", "y"), own_tunnel("c", ":1"))

    assert [len(check_rules(state, where)) for state in (same_name, same_route, apart)] == [1, 1, 0]


def test_rules_of_egress_are_for_clients_that_are_declared() -> None:
    allow = (
        EgressRule(client=("*",), to=(HostGlob("*"),), ports=(PortRange(25, 25),)),
        EgressRule(client=("homelab", "ofice"), to=(HostGlob("*"),), ports=(PortRange(25, 25),)),
    )
    clients = [ClientEntry(id=ClientId("homelab")), ClientEntry(id=ClientId("office"))]

    (problem,) = check_gateway_rules(None, clients, [], where, Egress(allow=allow))
    assert problem.message == 'the client "ofice" is not declared in clients; did you mean "office"?'
    assert check_gateway_rules(None, None, [], where, Egress(allow=allow)) == []


def test_all_tunnels_of_an_address_name_the_same_load_balancers() -> None:
    balancers = (parse_network("10.0.0.5"), parse_network("10.1.0.0/16"))

    def on(listen: str, name: str, *named: Network) -> Tunnel:
        return tunnel(name, [listen], [name]).model_copy(update={"accept_proxy_protocol": named})

    same = [on(":1", "a", *balancers), on(":1", "b", *reversed(balancers)), on(":2", "c")]
    others = [on(":1", "a", *balancers), on("0.0.0.0:1", "b", *balancers[:1])]

    assert check_gateway_rules(None, None, same, where) == []
    (problem,) = check_gateway_rules(None, None, others, where)
    assert "write the same accept_proxy_protocol in both" in problem.message


_ADDRESSES = st.sampled_from(["0.0.0.0:1", "[::]:1", ":1", "192.0.2.1:1", "[::1]:1", "192.0.2.1:2", ":2"])
_HOSTNAMES = st.lists(st.sampled_from(["a", "b", "*"]), unique=True, max_size=2)


@given(st.lists(st.tuples(_ADDRESSES, _HOSTNAMES), max_size=6))
def test_what_breaks_no_rule_can_be_opened_and_routed(declared: list[tuple[str, list[str]]]) -> None:
    tunnels = [tunnel(f"t{index}", [listen], hostname) for index, (listen, hostname) in enumerate(declared)]
    broken = check_gateway_rules(None, None, tunnels, where)

    routes = [
        (address, name) for each in tunnels for address in each.listen for name in each.hostname or (None,)
    ]
    sockets = {address for each in tunnels for address in each.listen}

    def overlaps(one: ListenAddress, other: ListenAddress) -> bool:
        same_port = (one.family, one.port) == (other.family, other.port)
        return same_port and one != other and (one.is_wildcard or other.is_wildcard)

    clashes = len(routes) != len(set(routes)) or any(
        overlaps(one, other) for one in sockets for other in sockets
    )
    assert bool(broken) == clashes
