"""What two states differ in, counted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any

import pytest
from pydantic import BaseModel

from reconcile.difference import NOTHING, difference
from schemas.names import ServiceEntry
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


WHOLE_GATEWAY = """
tidegate: 1
gateway:
  name: gw1
  control: "127.0.0.1:9056"
  accept_proxy_protocol: ["10.0.0.5"]
  management: "127.0.0.1:9057"
  socket: run.sock
  data: data
  admins: [ops]
  domain: example.com
  tls: {cert: c, key: k, client_ca: a, crl: l}
  peek_timeout: 4s
  ping_interval: 16s
  ping_timeout: 11s
  half_close_timeout: 6m
  drain: 31s
  log_level: debug
clients:
  - {id: homelab, services: [web], listen: [":8000"], declares: session, max_ports: 3}
revoked:
  - {serial: 7, fingerprint: "%s"}
egress:
  bind: 203.0.113.5
  allow:
    - {client: homelab, to: "*.example.com", ports: [25]}
tunnels:
  - name: blog
    listen: "127.0.0.1:443"
    hostname: blog.example.com
    client: homelab
    balance: round_robin
    service: web
    proxy_protocol: v2
    accept_proxy_protocol: ["10.0.0.5"]
allow_empty: true
""" % ("5e" * 32)
DECLARED = (
    '{"tidegate": 1, "tunnels": [{"name": "own", "listen": "127.0.0.1:8000", "client": "homelab", '
    '"service": "web", "declared_by": "homelab"}]}'
)
WHOLE_CLIENT = """
tidegate: 1
client:
  id: homelab
  gateways: gw1:1
  proxy: "http://proxy.example.com:3128"
  local_ports: "40000-40010"
  sessions: 3
  tls: {cert: c, key: k, ca: a}
  socket: run.sock
  data: data
  ping_interval: 16s
  ping_timeout: 11s
  half_close_timeout: 6m
  drain: 31s
  log_level: debug
services:
  web: {address: "127.0.0.1:25", health_check: 5s}
socks5: {listen: "127.0.0.1:1080", user: mail, password: {file: secret}}
tunnels:
  - {name: blog, listen: ":443", hostname: blog.example.com, service: web, proxy_protocol: v2}
allow_empty: true
"""


def whole_gateway() -> State:
    own = read_document(DECLARED.encode(), name="d.json", directory="/", syntax=Syntax.JSON, owned=True)
    file = read_document(WHOLE_GATEWAY.encode(), name="g.yaml", directory="/", syntax=Syntax.YAML)
    return parse_gateway([file, own])


def whole_client() -> State:
    file = read_document(WHOLE_CLIENT.encode(), name="c.yaml", directory="/", syntax=Syntax.YAML)
    return parse_client([file])


def inner_values(value: object) -> Iterator[tuple[str, object]]:
    """The values that a file names by a key of their own."""
    if isinstance(value, BaseModel):
        yield from ((name, getattr(value, name)) for name in type(value).model_fields)
    elif isinstance(value, ServiceEntry) and is_dataclass(value):
        yield from ((field.name, getattr(value, field.name)) for field in fields(value))
    elif isinstance(value, tuple) and any(isinstance(one, BaseModel | ServiceEntry | tuple) for one in value):
        yield from ((str(place), one) for place, one in enumerate(value))


def with_inner(value: Any, name: str, inner: object) -> Any:
    if isinstance(value, BaseModel):
        return value.model_copy(update={name: inner})
    if isinstance(value, tuple):
        place = int(name)
        return (*value[:place], inner, *value[place + 1 :])
    return replace(value, **{name: inner})


def changes(value: object) -> Iterator[tuple[str, Any]]:
    """The same value with one thing in it being another, for everything in it."""
    inside = list(inner_values(value))
    if not inside:
        yield "", "another"
    elif isinstance(value, tuple) and not isinstance(value[0], str):  # that would be one of the services
        yield "", ()
    for name, inner in inside:
        yield from ((f"{name}.{path}", with_inner(value, name, other)) for path, other in changes(inner))


def models_in(value: object) -> Iterator[BaseModel]:
    if isinstance(value, BaseModel):
        yield value
    for _, inner in inner_values(value):
        yield from models_in(inner)


@pytest.mark.parametrize("whole", [whole_gateway(), whole_client()], ids=["gateway", "client"])
def test_whatever_is_changed_is_counted(whole: State) -> None:
    forgotten = [path for path, changed in changes(whole) if difference(whole, changed) == NOTHING]
    assert forgotten == []


@pytest.mark.parametrize("whole", [whole_gateway(), whole_client()], ids=["gateway", "client"])
def test_the_files_that_are_changed_there_say_every_key(whole: State) -> None:
    said: dict[type[BaseModel], set[str]] = {}
    for model in models_in(whole):
        said.setdefault(type(model), set()).update(model.model_fields_set)
    missing = {kind.__name__: set(kind.model_fields) - names for kind, names in said.items()}
    assert not any(missing.values()), missing
