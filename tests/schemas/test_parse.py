"""From documents to a state, as the agent does it."""

from __future__ import annotations

import pytest
from hypothesis import given

from schemas.errors import StateError
from schemas.names import ListenAddress, ProxyProtocol
from schemas.parse import parse_client, parse_gateway, parse_state
from schemas.references import EnvRef, FileRef, InlinePem
from schemas.state import ClientState, GatewayState
from schemas.text import Document

from .reading import CLIENT, GATEWAY, client_of, document, gateway_of, problems_of
from .values import STATE_LIKE

TUNNEL = "{{name: {name}, listen: '{listen}', client: home, service: web}}"


def tunnels(*declared: tuple[str, str], version: bool = True) -> str:
    entries = "".join(f"  - {TUNNEL.format(name=name, listen=listen)}\n" for name, listen in declared)
    return ("tidegate: 1\n" if version else "") + f"tunnels:\n{entries}"


def test_the_states_of_several_files_are_merged_in_their_order() -> None:
    state = gateway_of(
        document(tunnels(("z", ":1")), name="00-z.yaml"),
        document(GATEWAY + "clients: [{id: home}]\n", name="10-gateway.yaml"),
        document(tunnels(("a", ":2"), ("b", ":3")) + "clients: [{id: ops}]\n", name="20-a.yaml"),
    )
    assert [tunnel.name for tunnel in state.tunnels] == ["z", "a", "b"]
    assert state.clients is not None
    assert [client.id for client in state.clients] == ["home", "ops"]


def test_without_clients_any_certificate_may_connect_and_with_none_of_them_no_one() -> None:
    assert gateway_of(GATEWAY).clients is None
    assert gateway_of(GATEWAY + "clients: []\n").clients == ()


def test_a_clash_between_two_files_shows_both() -> None:
    said = problems_of(
        document(GATEWAY + tunnels(("a", ":1"), ("b", ":2"), version=False), name="a.yaml"),
        document(tunnels(("c", ":3"), ("b", ":1")) + "clients: []\n", name="b.yaml"),
        document(CLIENT.replace("client:", "gateway:"), name="c.yaml"),
    )
    assert [line for line in said if line.startswith("b.yaml:4")] == [
        'b.yaml:4:12: another tunnel has the name "b" already; rename one of them (see a.yaml:6:12)',
        'b.yaml:4:23: 0.0.0.0:1 leads to the tunnel "a" already; give one of them a hostname or another port '
        "(see a.yaml:5:23)",
        'b.yaml:4:37: the client "home" is not declared in clients; add it there',
    ]
    assert "c.yaml:2:1: the section gateway stands in another file already; keep one (see a.yaml:2:1)" in said


def test_problems_come_in_the_order_of_the_files_and_of_their_lines() -> None:
    said = problems_of(
        document("x: 1\ntidegate: 1\ntunnels: {}\n", name="b.yaml"),
        document(GATEWAY + "y: 1\nallow_empty: 0\n", name="a.yaml"),
    )
    assert [line.split(": ")[0] for line in said] == [
        "b.yaml:1:1",
        "b.yaml:3:10",
        "a.yaml:4:1",
        "a.yaml:5:14",
    ]


def test_every_file_says_its_version() -> None:
    assert problems_of(document(GATEWAY), document("tunnels: []\n", name="b.yaml")) == [
        'b.yaml:1:1: the key "tidegate" is missing; add it with the version of the file, 1'
    ]


def test_services_come_from_any_file_and_only_once() -> None:
    one = document(CLIENT + "services: {web: '127.0.0.1:80'}\n")
    other = document("tidegate: 1\nservices: {api: 'unix:api.sock'}\n", name="b.yaml", directory="/srv")
    assert [(name, str(target)) for name, target in client_of(one, other).services] == [
        ("api", "unix:/srv/api.sock"),
        ("web", "127.0.0.1:80"),
    ]
    again = document("tidegate: 1\nservices: {web: '127.0.0.1:81'}\n", name="c.yaml")
    assert problems_of(one, again) == [
        'c.yaml:2:12: the service "web" is declared already; remove one of the two (see a.yaml:6:12)'
    ]


def test_paths_are_relative_to_the_directory_of_their_file() -> None:
    state = gateway_of(
        document(
            """\
            tidegate: 1
            gateway:
              socket: run/gateway.sock
              data: /var/lib/tidegate
              tls:
                cert: gateway.crt
                key: {env: GATEWAY_KEY}
                client_ca: "-----BEGIN CERTIFICATE-----\\nmade up\\n"
            """
        )
    )
    assert state.gateway.socket == "/etc/tidegate/run/gateway.sock"
    assert state.gateway.data == "/var/lib/tidegate"
    assert state.gateway.tls.cert == FileRef("/etc/tidegate/gateway.crt")
    assert state.gateway.tls.key == EnvRef("GATEWAY_KEY")
    assert state.gateway.tls.client_ca == InlinePem("-----BEGIN CERTIFICATE-----\nmade up\n")


def test_everything_a_tunnel_may_say_is_understood() -> None:
    (tunnel,) = gateway_of(
        GATEWAY
        + """\
tunnels:
  - name: blog
    listen: [":443", "192.0.2.1:8443"]
    hostname: [Blog.Example.com, "*.bücher.example"]
    client: [home, office]
    service: web
    proxy_protocol: v1
"""
    ).tunnels
    assert tunnel.listen == (
        ListenAddress("0.0.0.0", 443),
        ListenAddress("::", 443),
        ListenAddress("192.0.2.1", 8443),
    )
    assert tunnel.hostname == ("blog.example.com", "*.xn--bcher-kva.example")
    assert tunnel.client == ("home", "office")
    assert tunnel.proxy_protocol is ProxyProtocol.V1


def test_who_declared_a_tunnel_is_said_only_in_the_fragment_that_tidegate_owns() -> None:
    text = tunnels(("a", ":1")).replace("service: web", "service: web, declared_by: home")
    state = gateway_of(document(GATEWAY), document(text, name="api.yaml", owned=True))
    assert state.tunnels[0].declared_by == "home"
    (said,) = problems_of(document(GATEWAY), document(text, name="b.yaml"))
    assert said.startswith("b.yaml:3:57: declared_by is written by Tidegate")


def test_a_state_given_to_its_own_role_is_that_state() -> None:
    assert isinstance(parse_gateway([document(GATEWAY)]), GatewayState)
    assert isinstance(parse_client([document(CLIENT)]), ClientState)


def test_a_state_given_to_the_other_role_is_told_which_command_to_run() -> None:
    with pytest.raises(StateError, match=r'this is the state of a client; run "tidegate client a\.yaml"'):
        parse_gateway([document(CLIENT + "x: 1\n")])
    with pytest.raises(StateError, match=r'this is the state of a gateway; run "tidegate gateway a\.yaml"'):
        parse_client([document(GATEWAY)])


def test_ten_thousand_tunnels_are_one_state() -> None:
    listed = "".join(
        f"  - {TUNNEL.format(name=f't{number}', listen=f'0.0.0.0:{number + 20000}')}\n"
        for number in range(10_000)
    )
    assert len(gateway_of(GATEWAY + "tunnels:\n" + listed).tunnels) == 10_000


@given(STATE_LIKE)
def test_any_value_is_a_state_or_a_state_error_that_can_be_printed(value: dict[str, object]) -> None:
    made = Document({"tidegate": 1, **value}, name="f", directory="/d")
    for parse in (parse_state, parse_gateway, parse_client):
        try:
            state: object = parse([made])
        except StateError as error:
            state = None
            lines = str(error).split("\n")
        else:
            lines = []
        assert state is not None or lines
        assert all(line.isprintable() for line in lines)


@given(STATE_LIKE, STATE_LIKE)
def test_any_two_values_are_a_state_or_a_state_error(
    one: dict[str, object], other: dict[str, object]
) -> None:
    said = problems_of(
        Document({"tidegate": 1, "gateway": one, **other}, name="f", directory="/d"),
        Document({"tidegate": 1, "tunnels": [one, other], **one}, name="g", directory="/d", owned=True),
    )
    assert said == sorted(said, key=lambda line: line.startswith("g:"))
