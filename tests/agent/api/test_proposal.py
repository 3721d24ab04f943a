"""What a declaration would make of the state: every rule, and nothing written."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import pytest

from agent.api.identity import Caller
from agent.api.problems import ApiError
from agent.api.proposal import Proposal, propose
from agent.api.threshold import parse_entries
from schemas.state import Tunnel

from .backend import BLOG, GATEWAY, FakeGateway, entry


def proposed(gateway: FakeGateway, caller: Caller, *entries: dict[str, Any]) -> Proposal:
    return propose(gateway.state_path, gateway.fragment.path, caller, parse_entries(list(entries)))


def declare(gateway: FakeGateway, caller: Caller, *entries: dict[str, Any]) -> Proposal:
    """Propose it, and write what is proposed."""
    proposal = proposed(gateway, caller, *entries)
    gateway.fragment.replace(proposal.after)
    return proposal


def refused(gateway: FakeGateway, caller: Caller, *entries: dict[str, Any]) -> tuple[HTTPStatus, list[str]]:
    before = gateway.fragment.read()
    with pytest.raises(ApiError) as caught:
        proposed(gateway, caller, *entries)
    assert gateway.fragment.read() == before
    texts = [str(problem) for problem in caught.value.problems]
    return caught.value.status, [text.replace(f"{gateway.state_path.parent}/", "") for text in texts]


def names(tunnels: Sequence[Tunnel]) -> list[tuple[str, str | None]]:
    return [(tunnel.name, tunnel.declared_by) for tunnel in tunnels]


def test_a_declaration_is_signed_by_whoever_made_it(gateway: FakeGateway, homelab: Caller) -> None:
    proposal = proposed(gateway, homelab, entry("homelab", 25))

    assert proposal.is_change
    assert names(proposal.asked) == [("homelab-25", "homelab")]
    assert gateway.fragment_text() is None  # nothing is written by proposing it


def test_a_client_replaces_what_it_declared_itself_and_nothing_else(
    gateway: FakeGateway, admin: Caller, homelab: Caller, office: Caller
) -> None:
    declare(gateway, admin, entry("homelab", 1))
    declare(gateway, homelab, entry("homelab", 2))
    declare(gateway, office, entry("office", 3))

    declare(gateway, homelab, entry("homelab", 4))

    text = gateway.fragment_text() or ""
    assert [name for name in ("homelab-1", "homelab-2", "office-3", "homelab-4") if f'"{name}"' in text] == [
        "homelab-1",
        "office-3",
        "homelab-4",
    ]


def test_an_admin_replaces_what_anybody_declared(
    gateway: FakeGateway, admin: Caller, homelab: Caller, office: Caller
) -> None:
    declare(gateway, homelab, entry("homelab", 2))
    declare(gateway, office, entry("office", 3))

    assert declare(gateway, admin).after is None


def test_a_tunnel_that_an_admin_sends_back_stays_the_tunnel_of_its_client(
    gateway: FakeGateway, admin: Caller, homelab: Caller
) -> None:
    declare(gateway, homelab, entry("homelab", 2), entry("homelab", 3))

    proposal = declare(gateway, admin, entry("homelab", 2), entry("homelab", 3, "other"), entry("homelab", 4))

    assert names(proposal.asked) == [
        ("homelab-2", "homelab"),
        ("homelab-3", "unix socket"),  # the admin changed it
        ("homelab-4", "unix socket"),
    ]


def test_the_same_declaration_again_is_no_change_in_whatever_order(
    gateway: FakeGateway, homelab: Caller
) -> None:
    declare(gateway, homelab, entry("homelab", 2), entry("homelab", 3))

    assert not proposed(gateway, homelab, entry("homelab", 3), entry("homelab", 2)).is_change
    assert proposed(gateway, homelab, entry("homelab", 3)).is_change


def test_a_client_may_declare_only_for_itself_and_hears_of_every_entry(
    gateway: FakeGateway, homelab: Caller
) -> None:
    status, problems = refused(
        gateway, homelab, entry("office", 1), entry("homelab", 2), entry("somebody", 3)
    )

    assert status == HTTPStatus.FORBIDDEN
    assert problems == [
        "[0].ClientId: homelab may not declare a tunnel of office",
        "[2].ClientId: homelab may not declare a tunnel of somebody",
    ]


def test_a_client_keeps_off_the_ports_of_others_and_an_admin_need_not(
    gateway: FakeGateway, admin: Caller, homelab: Caller, office: Caller
) -> None:
    """A hostname beside somebody's raw tunnel would make all its visitors wait to be peeked at."""
    declare(gateway, homelab, entry("homelab", 25))
    named = entry("office", 25, ListenHostnameGlob="mail.example.com")

    status, problems = refused(gateway, office, named)

    assert status == HTTPStatus.FORBIDDEN
    assert len(problems) == 1
    assert "is a port of homelab" in problems[0]
    assert proposed(gateway, admin, entry("homelab", 25), named).is_change


def test_a_clash_with_a_file_shows_both_places(gateway: FakeGateway, admin: Caller) -> None:
    status, problems = refused(
        gateway, admin, entry("homelab", 443, ListenHostnameGlob="blog.example.com"), entry("homelab", 25)
    )

    assert status == HTTPStatus.CONFLICT
    assert problems == [
        '[0]: "blog.example.com" on 0.0.0.0:443 leads to the tunnel "blog" already; '
        "keep it in one of them (see gateway.yaml:6:51)"
    ]


def test_a_clash_within_a_request_shows_both_entries(gateway: FakeGateway, admin: Caller) -> None:
    status, (problem,) = refused(gateway, admin, entry("homelab", 25), entry("homelab", 25, "other"))

    assert status == HTTPStatus.CONFLICT
    assert problem.startswith("[1]: 0.0.0.0:25 leads to the tunnel")
    assert problem.endswith("(see [0])")


def test_a_clash_with_what_somebody_else_declared_names_them(
    gateway: FakeGateway, homelab: Caller, office: Caller
) -> None:
    declare(gateway, homelab, entry("homelab", 25))

    status, (problem,) = refused(gateway, office, entry("office", 25))

    assert status == HTTPStatus.CONFLICT
    assert problem.startswith("[0]: 0.0.0.0:25 leads to the tunnel")
    assert problem.endswith('(see the tunnel "homelab-25" that homelab declared through the API)')


def test_a_client_that_the_file_does_not_list_makes_a_request_invalid(
    gateway: FakeGateway, admin: Caller
) -> None:
    gateway.write(GATEWAY, "clients: [{id: homelab}]\n", BLOG)

    status, problems = refused(gateway, admin, entry("homelab", 25), entry("homelap", 26))

    assert status == HTTPStatus.BAD_REQUEST
    assert problems == ['[1]: the client "homelap" is not declared in clients; did you mean "homelab"?']


def test_a_file_with_a_problem_must_be_mended_first(gateway: FakeGateway, admin: Caller) -> None:
    gateway.write(GATEWAY, BLOG.replace("web", "web web"))

    status, (problem,) = refused(gateway, admin, entry("homelab", 25))

    assert status == HTTPStatus.CONFLICT
    assert problem.startswith("gateway.yaml:6:")


@pytest.mark.parametrize("text", ["tunnels: [", "", "\xff"])
def test_a_file_that_cannot_be_read_must_be_mended_first(
    gateway: FakeGateway, admin: Caller, text: str
) -> None:
    gateway.state_path.write_bytes(text.encode("latin-1"))

    status, (problem,) = refused(gateway, admin, entry("homelab", 25))

    assert status == HTTPStatus.CONFLICT
    assert problem.startswith("gateway.yaml:1:")


def test_a_file_that_is_gone_must_be_mended_first(gateway: FakeGateway, admin: Caller) -> None:
    gateway.state_path.unlink()

    status, (problem,) = refused(gateway, admin, entry("homelab", 25))

    assert status == HTTPStatus.CONFLICT
    assert problem.startswith("gateway.yaml:1:1:")


def test_a_name_that_a_file_has_is_not_given_again(gateway: FakeGateway, admin: Caller) -> None:
    gateway.write(GATEWAY, BLOG.replace("name: blog", "name: homelab-25"))

    assert names(proposed(gateway, admin, entry("homelab", 25)).asked) == [("homelab-25-2", "unix socket")]


@pytest.mark.parametrize("text", ["tidegate = 1\ntunnels = 7\n", "tidegate = ", "", "tunnels = [{name = 1}]"])
def test_a_damaged_fragment_is_replaced_by_an_admin_and_by_nobody_else(
    gateway: FakeGateway, admin: Caller, homelab: Caller, text: str
) -> None:
    gateway.fragment.path.write_text(text)

    status, (problem,) = refused(gateway, homelab, entry("homelab", 25))
    assert status == HTTPStatus.CONFLICT
    assert problem.startswith("gateway.api.toml:")

    proposal = proposed(gateway, admin)
    assert proposal.is_change
    assert (proposal.before, proposal.after) == (text.encode(), None)


def test_others_who_clash_with_the_file_by_now_are_in_nobodys_way(
    gateway: FakeGateway, homelab: Caller, office: Caller
) -> None:
    """Their tunnel is left out of the state, stays in the fragment, and comes back when there is room."""
    declare(gateway, homelab, entry("homelab", 25))
    gateway.write(
        GATEWAY, BLOG + '      - {name: mail, listen: "0.0.0.0:25", client: homelab, service: smtp}\n'
    )

    proposal = declare(gateway, office, entry("office", 26))

    assert proposal.is_change
    assert all(f'"{name}"' in (gateway.fragment_text() or "") for name in ("homelab-25", "office-26"))


def test_others_whose_client_is_gone_are_in_nobodys_way(
    gateway: FakeGateway, homelab: Caller, office: Caller
) -> None:
    declare(gateway, homelab, entry("homelab", 25))
    gateway.write(GATEWAY, "clients: [{id: office}]\n")

    assert proposed(gateway, office, entry("office", 26)).is_change


def test_a_port_of_a_tunnel_that_is_left_out_is_still_its_clients(
    gateway: FakeGateway, homelab: Caller, office: Caller
) -> None:
    declare(gateway, homelab, entry("homelab", 25), entry("homelab", 26))
    gateway.write(GATEWAY, "clients: [{id: office}]\n")

    status, problems = refused(gateway, office, entry("office", 26, ListenHostnameGlob="a.example"))

    assert status == HTTPStatus.FORBIDDEN
    assert "is a port of homelab" in problems[0]


def test_what_is_wrong_with_a_request_is_told_beside_others_that_are_left_out(
    gateway: FakeGateway, homelab: Caller, office: Caller
) -> None:
    declare(gateway, homelab, entry("homelab", 25))
    gateway.write(
        GATEWAY, BLOG + '      - {name: mail, listen: "0.0.0.0:25", client: homelab, service: smtp}\n'
    )

    status, problems = refused(gateway, office, entry("office", 25), entry("office", 26))

    assert status == HTTPStatus.CONFLICT
    assert problems
    assert all(problem.startswith("[0]: ") for problem in problems)


def test_a_directory_of_fragments_is_read_as_a_whole(
    gateway: FakeGateway, admin: Caller, homelab: Caller
) -> None:
    directory = gateway.state_path.parent / "sites"
    directory.mkdir()
    gateway.state_path.rename(directory / "gateway.yaml")
    gateway.state_path = directory

    declare(gateway, homelab, entry("homelab", 25))
    status, (problem,) = refused(gateway, admin, entry("homelab", 443, ListenAddress="192.0.2.1"))

    assert status == HTTPStatus.CONFLICT
    assert "sites/gateway.yaml:6:" in problem
