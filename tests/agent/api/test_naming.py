"""Names for tunnels that were declared without one."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from agent.api.naming import is_own_name, keep_apart, own_name, suggested_name
from agent.api.threshold import parse_entries
from schemas.names import ClientId, TunnelName, check_name
from schemas.state import Tunnel

from .backend import entry

entries = st.builds(
    entry,
    st.sampled_from(["homelab", "office", "x" * 128]),
    st.sampled_from([80, 443]),
    ListenAddress=st.sampled_from(["0.0.0.0", "::", "192.0.2.1"]),
    ListenHostnameGlob=st.sampled_from(["*", "a.example", "*.a.example", "any.a.example"]),
)
requests = st.lists(entries, max_size=12).map(parse_entries)


def names(tunnels: tuple[Tunnel, ...]) -> list[str]:
    return [tunnel.name for tunnel in tunnels]


def test_a_name_says_client_port_and_hostname() -> None:
    assert suggested_name(ClientId("homelab"), 443, ["*.example.com"]) == "homelab-443-any.example.com"
    assert suggested_name(ClientId("homelab"), 25, []) == "homelab-25"


@given(requests, st.sets(st.sampled_from(["homelab-80", "homelab-443", "office-443-2"])))
def test_names_are_legal_and_nobody_elses(tunnels: tuple[Tunnel, ...], taken: set[str]) -> None:
    named = names(keep_apart(tunnels, previous=(), taken={TunnelName(name) for name in taken}))

    assert [check_name(name) for name in named] == named
    assert len({*named, *taken}) == len(named) + len(taken)


# The same entry twice is no legal request, so it never is a previous one.
legal_requests = st.lists(entries, max_size=12, unique_by=json.dumps).map(parse_entries)


@given(legal_requests)
def test_the_same_request_again_keeps_every_name(tunnels: tuple[Tunnel, ...]) -> None:
    first = keep_apart(tunnels, previous=(), taken=frozenset())

    assert keep_apart(tunnels, previous=first, taken=frozenset()) == first


def test_a_tunnel_keeps_its_name_when_another_takes_its_place_in_the_list() -> None:
    one, other = (
        entry("homelab", 443, ListenAddress="192.0.2.1"),
        entry("homelab", 443, ListenAddress="192.0.2.2"),
    )
    before = keep_apart(parse_entries([one, other]), previous=(), taken=frozenset())

    after = keep_apart(parse_entries([other, one]), previous=before, taken=frozenset())

    assert names(before) == ["homelab-443", "homelab-443-2"]
    assert names(after) == ["homelab-443-2", "homelab-443"]


def test_a_name_that_a_file_has_taken_meanwhile_is_given_up() -> None:
    before = parse_entries([entry("homelab", 443)])

    after = keep_apart(before, previous=before, taken={TunnelName("homelab-443")})

    assert names(after) == ["homelab-443-2"]


def test_what_a_clients_own_file_declares_has_a_name_that_nobody_else_gives() -> None:
    names_of_one = {
        own_name(ClientId(client), name) for client in ("a", "a-b", "x" * 128) for name in ("b-c", "c")
    }

    assert len(names_of_one) == 6
    assert all(is_own_name(name) and len(name) <= 128 for name in names_of_one)
    assert not is_own_name(suggested_name(ClientId("x" * 128), 443, ["*.example.com"]))


def test_no_name_is_chosen_so_that_it_becomes_that_of_another_tunnel() -> None:
    long = own_name(ClientId("a"), "x" * 128)

    for name in (long.removeprefix("a/"), long.removeprefix("a/").replace("/", "-")):
        try:
            check_name(name)
        except ValueError:
            continue  # nobody can give it
        assert own_name(ClientId("a"), name) != long


def test_ten_thousand_alike_are_told_apart_in_one_pass() -> None:
    tunnels = parse_entries([entry("x" * 128, 443)]) * 10_000

    named = names(keep_apart(tunnels, previous=(), taken=frozenset()))

    assert len(set(named)) == 10_000
