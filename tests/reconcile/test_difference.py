"""What two states differ in, counted."""

from __future__ import annotations

import pytest

from reconcile.difference import difference
from schemas.parse import parse_client, parse_gateway
from schemas.state import State
from schemas.text import Syntax, read_document

GATEWAY = "tidegate: 1\ngateway: {name: %s, tls: {cert: c, key: k, client_ca: a}}\n%s"
CLIENT = "tidegate: 1\nclient: {id: %s, gateways: gw1:1, tls: {cert: c, key: k, ca: a}}\nservices: {%s}\n"


OWN_TUNNEL = 'tunnels: [{name: a, listen: ":1", service: web}]\n'


def gateway(*tunnels: str, name: str = "gw1", clients: str = "") -> State:
    """Tunnels as ``name:port``."""
    entries = "".join(
        f'  - {{name: {name}, listen: ":{port}", client: c, service: s}}\n'
        for name, port in (tunnel.split(":") for tunnel in tunnels)
    )
    text = GATEWAY % (name, f"{clients}tunnels:\n{entries or '  []'}")
    return parse_gateway([read_document(text.encode(), name="g.yaml", directory="/", syntax=Syntax.YAML)])


def client(services: str, id: str = "homelab", more: str = "") -> State:
    text = CLIENT % (id, services) + more
    return parse_client([read_document(text.encode(), name="c.yaml", directory="/", syntax=Syntax.YAML)])


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (gateway("a:1", "b:2"), gateway("a:1", "b:2"), "nothing that counts"),
        (None, gateway("a:1"), "the first"),
        (gateway("a:1", "b:2"), gateway("a:9", "c:3", "d:4"), "+2 -1 ~1 tunnels"),
        (gateway("a:1"), gateway("a:1", "b:2"), "+1 tunnel"),
        (gateway("a:1"), gateway("a:2", name="gw2"), "~1 tunnel, settings"),
        (
            gateway(clients="clients: [{id: c}, {id: d}]\n"),
            gateway(clients="clients: [{id: c}, {id: e}]\n"),
            "+1 -1 clients",
        ),
        (gateway(), gateway(clients="clients: []\n"), "clients"),
        (client("web: 'h:1'"), client("web: 'h:1', smtp: 'h:2'"), "+1 service"),
        (client("web: 'h:1'"), client("web: 'h:2'", id="office"), "~1 service, settings"),
        (gateway(), gateway(clients="revoked: [{serial: 7}, {serial: 8}]\n"), "+2 revoked certificates"),
        (gateway(clients="revoked: [{serial: 7}]\n"), gateway(), "-1 revoked certificate"),
        (gateway(), gateway(clients="egress: {allow: []}\n"), "egress"),
        (client("web: 'h:1'"), client("web: 'h:1'", more="socks5: {listen: '127.0.0.1:1080'}\n"), "socks5"),
        (client("web: 'h:1'"), client("web: 'h:1'", more=OWN_TUNNEL), "+1 tunnel"),
        (client(""), gateway(), "the role"),
    ],
)
def test_it_counts_what_came_what_went_and_what_is_another(
    before: State | None, after: State, told: str
) -> None:
    assert difference(before, after) == told
