"""What a client may, and what is said where it does more."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.globs import compile_glob
from schemas.names import ClientId, ServiceName, TunnelName, parse_listen
from schemas.references import FileRef
from schemas.rights import (
    Breach,
    Right,
    breaches,
    may_listen,
    may_offer,
    may_use_the_api,
    most_ports,
    own_breaches,
)
from schemas.state import ClientEntry, GatewaySettings, TlsGateway, Tunnel

FILE = FileRef("x")
GATEWAY = GatewaySettings(tls=TlsGateway(cert=FILE, key=FILE, client_ca=FILE), admins=(ClientId("ops"),))


def entry(client: str = "homelab", /, **rights: object) -> ClientEntry:
    """As it stands in a file."""
    return ClientEntry.model_validate({"id": client, **rights})


def tunnel(
    *listen: str, service: str = "web", client: str = "homelab", declared_by: str | None = "homelab"
) -> Tunnel:
    return Tunnel(
        name=TunnelName("t"),
        listen=tuple(address for text in listen for address in parse_listen(text)),
        client=(ClientId(client),),
        service=ServiceName(service),
        declared_by=declared_by,
    )


def found(*tunnels: Tunnel, **rights: object) -> list[tuple[Right, int, int]]:
    """What the tunnels have that the client homelab may not."""
    return [
        (breach.right, breach.tunnel, breach.at) for breach in breaches(GATEWAY, [entry(**rights)], tunnels)
    ]


@pytest.mark.parametrize(
    ("services", "service", "is_allowed"),
    [
        (None, "anything", True),
        ([], "web", False),
        (["web"], "web", True),
        (["web"], "web2", False),
        (["web"], "Web", False),
        (["smtp-*"], "smtp-relay", True),
        (["smtp-*"], "smtp", False),
        (["mail", "*b"], "web", True),
        (["*"], "web", True),
        (["w.b"], "web", False),
    ],
)
def test_a_client_may_offer_what_a_glob_of_its_entry_matches(
    services: list[str] | None, service: str, is_allowed: bool
) -> None:
    rights = {} if services is None else {"services": services}

    assert may_offer(entry(**rights), ServiceName(service)) is is_allowed
    assert may_offer(None, ServiceName(service))


@given(
    globs=st.lists(st.text("ab*|", min_size=1, max_size=4), max_size=4),
    service=st.text("ab|", min_size=1, max_size=5),
)
def test_a_client_may_offer_what_any_one_of_several_globs_matches(globs: list[str], service: str) -> None:
    written = ClientEntry(id=ClientId("homelab"), services=tuple(globs))

    expected = any(compile_glob(glob).fullmatch(service) for glob in globs)

    assert may_offer(written, ServiceName(service)) is expected


@pytest.mark.parametrize(
    ("listen", "address", "is_allowed"),
    [
        ([], "127.0.0.1:1", False),
        (["0.0.0.0:8000-8999"], "0.0.0.0:8999", True),
        (["0.0.0.0:8000-8999"], "192.0.2.1:8000", True),
        (["0.0.0.0:8000-8999"], "0.0.0.0:9000", False),
        (["0.0.0.0:8000-8999"], "[::]:8000", False),
        (["192.0.2.1:443"], "0.0.0.0:443", False),
        ([":443"], "[::1]:443", True),
        ([":443"], "192.0.2.1:444", False),
    ],
)
def test_a_client_may_listen_where_a_pattern_of_its_entry_covers_the_address(
    listen: list[str], address: str, is_allowed: bool
) -> None:
    (parsed,) = parse_listen(address)

    assert may_listen(entry(listen=listen), parsed) is is_allowed
    assert may_listen(entry(), parsed)
    assert may_listen(None, parsed)


def test_a_client_of_which_nothing_is_written_has_no_limits() -> None:
    assert most_ports(None) is None
    assert most_ports(entry()) is None
    assert list(breaches(GATEWAY, [entry()], [tunnel(f"127.0.0.1:{port}") for port in range(1, 200)])) == []


@pytest.mark.parametrize("rights", [{"max_ports": 100}, {"declares": "kept"}, {"listen": [":443"]}])
def test_a_client_with_any_right_has_a_hundred_ports_unless_the_file_says_otherwise(
    rights: dict[str, object],
) -> None:
    assert most_ports(entry(**rights)) == 100
    assert most_ports(entry(**{**rights, "max_ports": 7})) == 7


def test_the_api_is_for_everybody_but_those_who_may_declare_nothing() -> None:
    assert may_use_the_api(None)
    assert may_use_the_api(entry())
    assert may_use_the_api(entry(declares="session"))
    assert not may_use_the_api(entry(declares="none"))


def test_a_tunnel_of_the_operators_may_lead_to_no_service_that_its_client_may_not_offer() -> None:
    written = tunnel(":1", service="smtp", declared_by=None)

    assert found(written, services=["web"]) == [(Right.SERVICES, 0, 0)]
    assert found(written, services=["smtp"]) == []


def test_an_operator_may_lead_to_a_client_from_anywhere() -> None:
    for declared_by in (None, "unix socket", "ops"):
        written = tunnel(":1", ":2", declared_by=declared_by)

        assert found(written, listen=[":443"], declares="none", max_ports=0) == []


def test_an_admin_may_declare_for_itself_what_an_operator_may() -> None:
    own = tunnel(":1", client="ops", declared_by="ops")

    assert not list(breaches(GATEWAY, [entry("ops", listen=[], max_ports=0)], [own]))


def test_what_a_client_declared_is_in_breach_where_it_may_not_listen_any_more() -> None:
    assert found(tunnel(":443"), tunnel("127.0.0.1:443", "127.0.0.1:80"), listen=[":443"]) == [
        (Right.LISTEN, 1, 1)
    ]


def test_what_a_client_declared_is_in_breach_if_it_may_declare_nothing_any_more() -> None:
    assert found(tunnel(":1"), listen=[], declares="none") == [(Right.DECLARES, 0, 0)]


def test_the_ports_are_counted_and_the_last_ones_are_too_many() -> None:
    tunnels = [
        tunnel("127.0.0.1:1"),
        tunnel("127.0.0.2:1"),
        tunnel("127.0.0.3:1"),
        tunnel("127.0.0.1:1"),  # another name on a port that is there
    ]

    assert found(*tunnels, max_ports=2) == [(Right.MAX_PORTS, 2, 0)]


def test_every_address_counts_but_all_addresses_of_both_families_are_one_port() -> None:
    assert found(tunnel(":443"), max_ports=1) == []
    assert found(tunnel("0.0.0.0:443"), tunnel("[::]:443"), max_ports=1) == []
    assert found(tunnel(*(f"127.0.0.{last}:443" for last in range(1, 4))), max_ports=2) == [
        (Right.MAX_PORTS, 0, 0)
    ]


def test_the_ports_of_others_are_not_counted() -> None:
    others = tunnel("127.0.0.1:1", client="office", declared_by="office")

    assert found(others, tunnel("127.0.0.1:2"), max_ports=1) == []


def test_what_a_client_asks_for_is_told_in_words_for_the_client() -> None:
    asked = [tunnel(":80", service="ssh"), tunnel(":443"), tunnel(":8443")]
    rights = entry(services=["web", "smtp-*"], listen=[":443", "0.0.0.0:8000-8999"], max_ports=1)

    assert [breach.message for breach in own_breaches(rights, asked)] == [
        'homelab may not offer the service "ssh"; it may offer: web, smtp-*',
        "homelab may not listen at 0.0.0.0:80; it may at :443, 0.0.0.0:8000-8999",
        "homelab may not listen at [::]:80; it may at :443, 0.0.0.0:8000-8999",
        "homelab may declare at most 1 port, and this would be 2",
        "homelab may not listen at [::]:8443; it may at :443, 0.0.0.0:8000-8999",
        "homelab may declare at most 1 port, and this would be 2",
    ]
    assert list(own_breaches(None, asked)) == []


def test_a_client_that_may_listen_nowhere_is_told_so() -> None:
    (breach,) = own_breaches(entry(listen=[]), [tunnel("127.0.0.1:80")])

    assert breach == Breach(
        right=Right.LISTEN,
        client=ClientId("homelab"),
        tunnel=0,
        at=0,
        message="homelab may not listen at 127.0.0.1:80; it may at no address",
    )
