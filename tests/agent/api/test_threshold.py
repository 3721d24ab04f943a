"""threshold's JSON, in both directions."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.api.problems import MAX_PROBLEMS, RequestProblem
from agent.api.threshold import MAX_ENTRIES, MAX_KEYS, InvalidEntriesError, parse_entries, to_entries
from schemas.names import ListenAddress, ProxyProtocol
from schemas.state import Tunnel

from .backend import entry

# What threshold's own usage example sends.
EXAMPLE = """
[
  {
    "HaProxyProxyProtocol": true,
    "ListenAddress": "127.0.0.1",
    "ListenHostnameGlob": "*",
    "ListenPort": 9000,
    "BackEndService": "fooService",
    "ClientId": "TestClient1"
  }
]
"""


def only(**more: Any) -> Tunnel:
    (tunnel,) = parse_entries([entry("homelab", 443, **more)])
    return tunnel


def problems(value: object) -> list[str]:
    with pytest.raises(InvalidEntriesError) as caught:
        parse_entries(value)
    return [str(problem) for problem in caught.value.problems]


def test_the_example_of_threshold_becomes_a_tunnel_and_comes_back_as_it_was() -> None:
    value = json.loads(EXAMPLE)

    (tunnel,) = parse_entries(value)

    assert tunnel.listen == (ListenAddress("127.0.0.1", 9000),)
    assert (tunnel.client, tunnel.service, tunnel.hostname) == (("TestClient1",), "fooService", ())
    assert tunnel.proxy_protocol is ProxyProtocol.V1
    assert tunnel.name == "TestClient1-9000"
    assert to_entries([tunnel]) == value
    assert list(to_entries([tunnel])[0]) == list(value[0])  # also in threshold's order


@pytest.mark.parametrize("glob", ["", "*", None])
def test_no_hostname_has_three_spellings(glob: str | None) -> None:
    assert only(ListenHostnameGlob=glob).hostname == ()


def test_a_hostname_is_read_as_in_a_state_file() -> None:
    tunnel = only(ListenHostnameGlob="*.Blog.example.com")

    assert tunnel.hostname == ("*.blog.example.com",)
    assert tunnel.name == "homelab-443-any.blog.example.com"


@pytest.mark.parametrize(
    ("address", "hosts"),
    [
        ("", ["0.0.0.0", "::"]),
        (None, ["0.0.0.0", "::"]),
        ("::", ["::"]),
        ("[::1]", ["::1"]),
        ("2001:DB8::0:1", ["2001:db8::1"]),
    ],
)
def test_an_address_has_any_spelling_that_is_one(address: str | None, hosts: list[str]) -> None:
    assert [listen.host for listen in only(ListenAddress=address).listen] == hosts


@pytest.mark.parametrize(
    ("value", "version"),
    [(True, "v1"), (False, "off"), (None, "off"), ("v1", "v1"), ("v2", "v2"), ("off", "off")],
)
def test_the_proxy_protocol_is_a_boolean_or_a_version(value: object, version: str) -> None:
    assert only(HaProxyProxyProtocol=value).proxy_protocol.value == version


def test_only_client_port_and_service_are_needed() -> None:
    (tunnel,) = parse_entries([{"ClientId": "homelab", "ListenPort": 25, "BackEndService": "smtp"}])

    assert [str(address) for address in tunnel.listen] == ["0.0.0.0:25", "[::]:25"]


def test_every_mistake_of_every_entry_is_told_at_once() -> None:
    assert problems(
        [
            entry("home lab", 0, ListenAddress="localhost"),
            entry("homelab", 443),
            {"ClientID": "homelab", "ListenPort": "443", "BackEndService": 7, "HaProxyProxyProtocol": "v3"},
            "homelab",
        ]
    ) == [
        "[0].ClientId: the name \"home lab\" may hold only letters (a to z), digits, '.', '_' and '-'",
        '[0].ListenAddress: "localhost" is not an IP address; write, for example, "192.0.2.1", '
        'or "" for every address; the port belongs in ListenPort',
        "[0].ListenPort: the number 0 is not a port; write a number from 1 to 65535",
        '[2]: unknown key "ClientID"; did you mean ClientId?',
        '[2].ClientId: it is missing; write, for example, "homelab"',
        '[2].ListenPort: the text "443" is not a port; write, for example, 443',
        '[2].BackEndService: the number 7 is not a text; write, for example, "web"',
        '[2].HaProxyProxyProtocol: the text "v3" is not a version of the PROXY protocol; '
        'write true for PROXY v1, "v2" for v2, or false for none',
        '[3]: the text "homelab" stands where a tunnel belongs; send, for example, '
        '[{"ClientId": "homelab", "ListenPort": 443, "BackEndService": "web"}]',
    ]


@pytest.mark.parametrize("port", [True, 443.0, -1, 65536, 10**30, [443]])
def test_what_is_not_a_port_is_refused(port: object) -> None:
    (problem,) = problems([{**entry("homelab", 443), "ListenPort": port}])

    assert problem.startswith("[0].ListenPort: ")
    assert "is not a port" in problem


@pytest.mark.parametrize("value", [None, {}, "x", 7, entry("homelab", 443)])
def test_what_is_not_a_list_is_told_how_to_become_one(value: object) -> None:
    (problem,) = problems(value)

    assert "stands where a list of tunnels belongs" in problem


def test_an_empty_list_declares_nothing() -> None:
    assert parse_entries([]) == ()


def test_no_request_makes_us_read_a_million_entries() -> None:
    (problem,) = problems([1] * (MAX_ENTRIES + 1))

    assert "too many" in problem


def test_no_more_problems_are_found_than_are_told() -> None:
    assert len(problems([1] * MAX_ENTRIES)) == MAX_PROBLEMS + 1


def test_an_entry_of_too_many_keys_is_one_problem() -> None:
    (problem,) = problems([{f"Key{number}": 1 for number in range(MAX_KEYS + 1)}])

    assert problem.startswith(f"[0]: it has {MAX_KEYS + 1} keys")


def test_a_tunnel_with_several_of_everything_becomes_an_entry_for_each_address_and_hostname() -> None:
    tunnel = only(ListenAddress="").model_copy(
        update={"hostname": ("a.example", "b.example"), "client": ("first", "second")}
    )

    entries = to_entries([tunnel])

    assert [(one["ListenAddress"], one["ListenHostnameGlob"]) for one in entries] == [
        ("0.0.0.0", "a.example"),
        ("0.0.0.0", "b.example"),
        ("::", "a.example"),
        ("::", "b.example"),
    ]
    assert {one["ClientId"] for one in entries} == {"first"}


def test_a_program_written_for_threshold_finds_a_boolean_for_every_version() -> None:
    answers = [to_entries([only(HaProxyProxyProtocol=value)])[0] for value in ("off", "v1", "v2")]

    assert [answer["HaProxyProxyProtocol"] for answer in answers] == [False, True, True]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)
likely = st.fixed_dictionaries(
    {},
    optional={
        key: json_values | st.sampled_from(["homelab", "web", "*", "", "::", 443, True])
        for key in entry("homelab", 443)
    },
)


@given(json_values | st.lists(likely | json_values))
def test_whatever_is_sent_gives_tunnels_or_problems_that_fit_on_a_line(value: object) -> None:
    told: tuple[RequestProblem, ...] = ()
    try:
        tunnels = parse_entries(value)
    except InvalidEntriesError as error:
        tunnels, told = (), error.problems

    assert bool(told) or isinstance(value, list)
    assert all("\n" not in str(problem) for problem in told)
    assert parse_entries(to_entries(tunnels)) is not None
