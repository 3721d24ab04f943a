"""A client declares what the gateway's file lets it, and hears why it may not declare more."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import pytest

from agent.api.identity import Caller
from agent.api.own_rights import check_own_rights
from agent.api.problems import ApiError
from agent.api.proposal import propose
from agent.api.threshold import parse_entries
from schemas.names import ClientId
from schemas.state import ClientEntry

from .backend import GATEWAY, FakeGateway, entry

ADMIN = Caller(name="ops", client=ClientId("ops"), is_admin=True)
HOMELAB = Caller(name="homelab", client=ClientId("homelab"), is_admin=False)


def with_rights(gateway: FakeGateway, rights: str) -> None:
    """Let these be the rights of homelab, and nobody else have any."""
    gateway.write(GATEWAY, f"clients: [{{id: homelab, {rights}}}, {{id: office}}]\n")


def refused(gateway: FakeGateway, caller: Caller, *entries: dict[str, Any]) -> tuple[HTTPStatus, list[str]]:
    with pytest.raises(ApiError) as caught:
        propose(gateway.state_path, gateway.fragment.path, caller, parse_entries(list(entries)))
    return caught.value.status, [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("rights", "asked", "problem"),
    [
        (
            'listen: ["127.0.0.1:8000-8999", ":443"]',
            entry("homelab", 25),
            "[0].ListenPort: homelab may not listen at 0.0.0.0:25; it may at 127.0.0.1:8000-8999, :443",
        ),
        (
            "services: [web]",
            entry("homelab", 25, "smtp"),
            '[0].BackEndService: homelab may not offer the service "smtp"; it may offer: web',
        ),
        (
            "declares: none",
            entry("homelab", 25),
            "[0]: homelab may not declare tunnels; the gateway's file says declares: none",
        ),
        (
            "max_ports: 0",
            entry("homelab", 25),
            "[0]: homelab may declare at most 0 ports, and this would be 1",
        ),
    ],
)
def test_what_the_file_does_not_allow_is_forbidden_and_told_with_what_is(
    gateway: FakeGateway, rights: str, asked: dict[str, Any], problem: str
) -> None:
    with_rights(gateway, rights)

    status, problems = refused(gateway, HOMELAB, asked)

    assert status == HTTPStatus.FORBIDDEN
    assert problem in problems
    assert gateway.fragment_text() is None


def test_what_the_file_allows_is_declared(gateway: FakeGateway) -> None:
    with_rights(gateway, 'listen: [":8000-8999"], services: ["w*"], declares: session, max_ports: 1')

    proposal = propose(
        gateway.state_path, gateway.fragment.path, HOMELAB, parse_entries([entry("homelab", 8080, "web")])
    )

    assert [tunnel.name for tunnel in proposal.asked] == ["homelab-8080"]


def test_a_client_that_may_declare_nothing_may_take_back_what_it_has_declared(gateway: FakeGateway) -> None:
    with_rights(gateway, "declares: none")

    assert propose(gateway.state_path, gateway.fragment.path, HOMELAB, ()).asked == ()


def test_an_admin_leads_to_a_client_from_anywhere_but_not_to_a_service_that_it_may_not_offer(
    gateway: FakeGateway,
) -> None:
    with_rights(gateway, "listen: [], declares: none, max_ports: 0, services: [web]")

    assert propose(
        gateway.state_path, gateway.fragment.path, ADMIN, parse_entries([entry("homelab", 25, "web")])
    ).asked
    status, problems = refused(gateway, ADMIN, entry("homelab", 25, "ssh"))
    assert status == HTTPStatus.CONFLICT
    assert 'the client "homelab" may not offer the service "ssh"' in problems[0]


def test_a_client_without_rights_may_what_it_could_before_there_were_any() -> None:
    check_own_rights(
        HOMELAB, [ClientEntry(id=ClientId("homelab"))], parse_entries([entry("homelab", 1)]), [(0,)]
    )
    check_own_rights(HOMELAB, [], parse_entries([entry("homelab", 1)]), [(0,)])
