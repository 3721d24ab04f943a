"""Who keeps a port, and what the others are told."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.api.naming import own_name
from agent.gateway.own_tunnels import Claim
from agent.gateway.room import Merged, merge
from schemas.errors import Place
from schemas.names import ClientId, ServiceName, TunnelName, parse_listen
from schemas.networks import Network, parse_network
from schemas.references import FileRef
from schemas.rules import check_rules
from schemas.state import ClientEntry, GatewaySettings, GatewayState, TlsGateway, Tunnel

FILE = FileRef("x")
TLS = TlsGateway(cert=FILE, key=FILE, client_ca=FILE)
CONTROL = parse_listen("127.0.0.1:9056")


def entry(client: str, /, **rights: object) -> ClientEntry:
    return ClientEntry.model_validate({"id": client, "declares": "session", **rights})


def tunnel(
    name: str,
    *listen: str,
    client: Sequence[str] = ("homelab",),
    service: str = "web",
    hostname: tuple[str, ...] = (),
    declared_by: str | None = None,
    balancers: tuple[Network, ...] = (),
) -> Tunnel:
    made = Tunnel(
        name=TunnelName("t"),
        listen=tuple(address for text in listen for address in parse_listen(text)),
        client=tuple(ClientId(one) for one in client),
        service=ServiceName(service),
        hostname=hostname,
        declared_by=declared_by,
        accept_proxy_protocol=balancers,
    )
    return made.model_copy(update={"name": TunnelName(name)})


def claim(
    own: str, *listen: str, client: str = "homelab", service: str = "web", hostname: Iterable[str] = ()
) -> Claim:
    made = tunnel(
        own_name(ClientId(client), own),
        *listen,
        client=[client],
        service=service,
        hostname=tuple(hostname),
        declared_by=client,
    )
    return Claim(client=ClientId(client), own=own, tunnel=made)


def merged(
    *claims: Claim, written: Sequence[Tunnel] = (), clients: Sequence[ClientEntry] | None = None
) -> Merged:
    listed = (entry("homelab"), entry("office")) if clients is None else tuple(clients)
    state = GatewayState(
        gateway=GatewaySettings(tls=TLS, control=CONTROL), clients=listed, tunnels=tuple(written)
    )
    return merge(state, claims)


def problem(result: Merged, name: str) -> str:
    assert TunnelName(name) not in result.added
    return result.problems[TunnelName(name)]


def test_what_a_client_declares_is_added_where_there_is_room() -> None:
    result = merged(claim("a", ":80"), claim("b", "127.0.0.1:81"), written=[tunnel("blog", ":443")])

    assert [one.name for one in result.state.tunnels] == ["blog", "homelab/a", "homelab/b"]
    assert result.added == {"homelab/a", "homelab/b"}
    assert result.problems == {}


def test_where_nothing_is_declared_the_state_is_the_one_there_was() -> None:
    state = GatewayState(gateway=GatewaySettings(tls=TLS))

    assert merge(state, []).state is state


@pytest.mark.parametrize("declares", [None, "none"])
def test_nothing_is_taken_from_the_file_of_a_client_unless_the_gateways_file_says_so(
    declares: str | None,
) -> None:
    rights = [entry("homelab", declares=declares)] if declares else [ClientEntry(id=ClientId("homelab"))]

    assert "add declares: session, or kept, to its entry" in problem(
        merged(claim("a", ":80"), clients=rights), "homelab/a"
    )
    assert "to an entry of homelab" in problem(merged(claim("a", ":80"), clients=[]), "homelab/a")


def test_a_gateway_that_lists_no_clients_takes_nothing_from_theirs() -> None:
    state = GatewayState(gateway=GatewaySettings(tls=TLS))

    assert merge(state, [claim("a", ":80")]).added == frozenset()


def test_of_two_clients_that_want_a_port_the_first_one_has_it_and_the_other_is_told_who() -> None:
    both = claim("a", ":80"), claim("b", ":80", client="office", hostname=["x.example.com"])

    result = merged(*both)
    assert result.added == {"homelab/a"}
    assert problem(result, "office/b") == (
        "0.0.0.0:80 is a port of homelab, who asked first; it is tried again when that goes; "
        "[::]:80 is a port of homelab, who asked first; it is tried again when that goes"
    )
    assert merged(*reversed(both)).added == {"office/b"}
    assert merged(both[1]).added == {"office/b"}


def test_a_port_of_another_clients_is_left_alone_also_if_an_operator_wrote_it_or_the_api_declared_it() -> (
    None
):
    for declared_by in (None, "office"):
        written = tunnel("mail", ":25", client=["office"], declared_by=declared_by)

        told = problem(merged(claim("a", "0.0.0.0:25"), written=[written]), "homelab/a")

        assert told == "0.0.0.0:25 is a port of office; choose another one"


def test_a_port_that_several_clients_serve_is_none_of_each() -> None:
    written = tunnel("blog", ":443", client=["homelab", "office"])

    told = problem(merged(claim("a", "0.0.0.0:443", hostname=["x"]), written=[written]), "homelab/a")

    assert told == "0.0.0.0:443 is a port of homelab, office; choose another one"


def test_a_port_of_ones_own_takes_other_names() -> None:
    written = tunnel("blog", ":443", hostname=("blog.example.com",))

    result = merged(
        claim("a", ":443", hostname=["a.example.com"]),
        claim("b", "0.0.0.0:443", hostname=["blog.example.com"]),
        claim("c", "0.0.0.0:443", hostname=["a.example.com"]),
        claim("d", "0.0.0.0:443"),
        claim("e", "0.0.0.0:443"),
        written=[written],
    )

    assert result.added == {"homelab/a", "homelab/d"}
    assert problem(result, "homelab/b") == (
        '"blog.example.com" on 0.0.0.0:443 leads to the tunnel "blog" already; keep it in one of them'
    )
    assert 'leads to the tunnel "homelab/a" already' in problem(result, "homelab/c")
    assert problem(result, "homelab/e").startswith('0.0.0.0:443 leads to the tunnel "homelab/d" already')


def test_the_ports_of_the_gateway_itself_are_left_alone() -> None:
    assert "is taken by gateway.control" in problem(merged(claim("a", "127.0.0.1:9056")), "homelab/a")
    assert "cannot be open beside 127.0.0.1:9056" in problem(merged(claim("a", ":9056")), "homelab/a")


def test_every_address_and_one_of_them_cannot_both_be_open() -> None:
    result = merged(claim("a", "0.0.0.0:80"), claim("b", "127.0.0.1:80", client="office"))
    assert "cannot be open beside 0.0.0.0:80, which is a port of homelab" in problem(result, "office/b")
    assert "it is tried again" in problem(result, "office/b")

    mine = merged(claim("a", "127.0.0.1:80"), claim("b", "0.0.0.0:80"))
    assert "which is your own" in problem(mine, "homelab/b")

    both = merged(claim("a", "0.0.0.0:80", "127.0.0.1:80"))
    assert "write one of the two" in problem(both, "homelab/a")


def test_a_port_behind_a_load_balancer_is_the_operators() -> None:
    written = tunnel("blog", "0.0.0.0:443", hostname=("x",), balancers=(parse_network("10.0.0.1"),))

    told = problem(merged(claim("a", "0.0.0.0:443", hostname=["y"]), written=[written]), "homelab/a")

    assert "has load balancers" in told


def test_rights_hold_for_each_tunnel_by_itself() -> None:
    rights = entry("homelab", listen=["0.0.0.0:8000-8999"], services=["web"], max_ports=1)

    result = merged(
        claim("a", "0.0.0.0:80"),
        claim("b", "0.0.0.0:8000", service="ssh"),
        claim("c", "0.0.0.0:8001"),
        claim("d", "0.0.0.0:8002"),
        clients=[rights],
    )

    assert result.added == {"homelab/c"}
    assert "it may at 0.0.0.0:8000-8999" in problem(result, "homelab/a")
    assert "it may offer: web" in problem(result, "homelab/b")
    assert "at most 1 port" in problem(result, "homelab/d")


def test_what_a_client_declared_through_the_api_counts_for_its_ports() -> None:
    written = tunnel("homelab-25", "127.0.0.1:25", declared_by="homelab")

    result = merged(claim("a", "127.0.0.1:26"), written=[written], clients=[entry("homelab", max_ports=1)])

    assert "at most 1 port, and this would be 2" in problem(result, "homelab/a")


def test_a_tunnel_for_which_there_is_no_room_uses_up_no_port() -> None:
    written = tunnel("mail", ":25", client=["office"])
    rights = [entry("homelab", max_ports=1), entry("office")]

    result = merged(claim("a", "0.0.0.0:25"), claim("b", "0.0.0.0:26"), written=[written], clients=rights)

    assert result.added == {"homelab/b"}


LISTEN = st.sampled_from(
    [":1", "0.0.0.0:1", "127.0.0.1:1", "[::1]:1", "127.0.0.1:2", ":9056", "127.0.0.1:9056"]
)
CLIENTS = st.sampled_from(["homelab", "office"])


@st.composite
def written_tunnels(draw: st.DrawFn) -> list[Tunnel]:
    """Those of an operator, which obey the rules."""
    made: list[Tunnel] = []
    for number in range(draw(st.integers(0, 2))):
        one = tunnel(f"w{number}", draw(LISTEN), client=[draw(CLIENTS)], hostname=draw(HOSTNAMES))
        if not _broken([*made, one]):
            made.append(one)
    return made


HOSTNAMES = st.sampled_from([(), ("x",), ("y",)])
CLAIMS = st.lists(st.tuples(LISTEN, CLIENTS, HOSTNAMES), max_size=5)


def _broken(tunnels: Sequence[Tunnel]) -> Sequence[object]:
    state = GatewayState(
        gateway=GatewaySettings(tls=TLS, control=CONTROL),
        clients=(entry("homelab"), entry("office")),
        tunnels=tuple(tunnels),
    )
    return check_rules(state, lambda path: Place("x", 1, 1))


@given(written_tunnels(), CLAIMS)
def test_whatever_clients_ask_for_the_state_obeys_the_rules_and_nobody_shares_a_port(
    written: list[Tunnel], asked: list[tuple[str, str, tuple[str, ...]]]
) -> None:
    claims = [
        claim(f"c{number}", listen, client=client, hostname=hostname)
        for number, (listen, client, hostname) in enumerate(asked)
    ]

    result = merged(*claims, written=written)

    assert _broken(result.state.tunnels) == []
    assert result.state.tunnels[: len(written)] == tuple(written)
    assert result.added | result.problems.keys() == {one.tunnel.name for one in claims}
    owners = {(address, one.client) for one in result.state.tunnels for address in one.listen}
    claimed = {address for one in claims if one.tunnel.name in result.added for address in one.tunnel.listen}
    assert all(sum(address == found for found, _ in owners) == 1 for address in claimed)
