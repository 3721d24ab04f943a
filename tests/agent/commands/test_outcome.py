"""What comes of files: how it is told of each tunnel and service."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.api.client import NoAgentError
from agent.commands.latest_change import Comparison
from agent.commands.outcome import outcomes, settle
from agent.offline import Whereabouts
from schemas.parse import parse_client, parse_gateway
from schemas.state import ClientState, GatewayState
from schemas.status import ClientAgentStatus, OwnTunnelStatus, ServiceStatus, Traffic
from schemas.text import Syntax, read_document
from tests.support.statuses import AWAY, NOW, TAKEN, source, tunnel
from tests.support.statuses import client as client_status
from tests.support.statuses import gateway as gateway_status

GATEWAY = "tidegate: 1\ngateway: {tls: {cert: c, key: k, client_ca: a}}\ntunnels:\n"
CLIENT = (
    "tidegate: 1\nclient: {id: homelab, gateways: %s, tls: {cert: c, key: k, ca: a}}\n"
    "services: {s: 'h:1', %s}\n"
)


def gateway(**ports: int) -> GatewayState:
    entries = "".join(
        f'  - {{name: {name}, listen: ":{port}", client: c, service: s}}\n' for name, port in ports.items()
    )
    text = f"{GATEWAY}{entries}".encode()
    return parse_gateway([read_document(text, name="g", directory="/", syntax=Syntax.YAML)])


def client(services: str, more: str = "", *, gateways: str = "gw1:1") -> ClientState:
    text = (CLIENT % (gateways, services) + more).encode()
    return parse_client([read_document(text, name="c", directory="/", syntax=Syntax.YAML)])


def test_only_what_is_another_than_before_is_told() -> None:
    status = gateway_status(
        tunnel("blog"), tunnel("mail", trouble=TAKEN), tunnel("shop", trouble=AWAY), tunnel("same")
    )

    told = outcomes(gateway(blog=1, gone=2, same=3), gateway(blog=9, same=3, mail=25, shop=4, lost=5), status)
    assert [(one.verb, one.name, one.in_force, one.message) for one in told] == [
        ("~", "blog", True, "ready"),
        ("-", "gone", True, "gone"),
        ("+", "lost", False, "not accepted"),
        ("+", "mail", False, f"not in force: {TAKEN[1]}"),
        ("+", "shop", True, f"in force, and not ready: {AWAY[1]}"),
    ]


def test_all_of_it_is_told_where_nothing_was_before() -> None:
    told = outcomes(None, gateway(blog=1), gateway_status(tunnel("blog")))

    assert [(one.verb, one.name) for one in told] == [("+", "blog")]


def test_the_services_of_a_client_are_told_too() -> None:
    now = ClientAgentStatus(
        name="homelab",
        version="0",
        started_at=NOW,
        now=NOW,
        ready=True,
        source=source(),
        resources=(),
        links=(),
        services=tuple(
            ServiceStatus(name=name, target="h:1", last_error=None, traffic=Traffic())
            for name in ("web", "ssh")
        ),
    )

    told = outcomes(client("web: 'h:1', old: 'h:1'"), client("web: 'h:2', ssh: 'h:1', lost: 'h:1'"), now)
    assert [(one.verb, one.name, one.in_force) for one in told] == [
        ("+", "lost", False),
        ("-", "old", True),
        ("+", "ssh", True),
        ("~", "web", True),
    ]


def test_gateways_and_tunnels_of_a_client_are_told_too() -> None:
    before = client("", 'tunnels: [{name: old, listen: ":1", service: s}]\n')
    after = client("", 'tunnels: [{name: new, listen: ":1", service: s}]\n', gateways="[gw1:1, gw2:1]")
    refused = OwnTunnelStatus(
        gateway="gw1:1", name="new", listen=(), hostname=(), service="s", in_force=False, message="taken"
    )
    there, away = client_status().links
    now = client_status().model_copy(
        update={
            "links": (
                there.model_copy(update={"gateway": "gw1:1"}),
                away.model_copy(update={"gateway": "gw2:1", "message": "nothing listens there"}),
            ),
            "tunnels": (refused,),
        }
    )

    assert [(one.verb, one.name, one.in_force, one.message) for one in outcomes(before, after, now)] == [
        ("+", "gw2:1", False, "not reached: nothing listens there"),
        ("+", "new", False, "not in force at gw1:1: taken"),
        ("-", "old", True, "taken back"),
    ]


@pytest.mark.anyio
async def test_where_no_agent_runs_nothing_is_waited_for(tmp_path: Path) -> None:
    agent = Whereabouts(socket=tmp_path / "none.sock", start="tidegate gateway x")
    with pytest.raises(NoAgentError):
        await settle(agent, Comparison(before=None, after=gateway(blog=1)), patience=60.0)
