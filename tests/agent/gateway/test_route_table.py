"""The best match wins: exact before glob, longer glob before shorter, and always the same one."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.gateway.route_table import RouteTable
from reconcile.desired import RouteSpec
from schemas.names import ClientId, ProxyProtocol, ServiceName, TunnelName


def route(tunnel: str, *hostnames: str) -> RouteSpec:
    return RouteSpec(
        tunnel=TunnelName(tunnel),
        hostnames=hostnames,
        clients=(ClientId("homelab"),),
        service=ServiceName("web"),
        proxy_protocol=ProxyProtocol.OFF,
    )


def table_of(*hostnames: str) -> RouteTable:
    """A table in which each hostname has a tunnel of its own name."""
    return RouteTable([route(hostname, hostname) for hostname in hostnames])


def taken_by(table: RouteTable, name: str) -> str | None:
    found = table.match(name)
    return None if found is None else found.tunnel


@pytest.mark.parametrize(
    ("name", "hostname"),
    [
        ("blog.example.com", "blog.example.com"),
        ("BLOG.Example.COM", "blog.example.com"),
        ("blog.example.com.", "blog.example.com"),
        ("www.example.com", "*.example.com"),
        ("a.b.www.example.com", "*.example.com"),
        ("a.blog.example.com", "*.blog.example.com"),
        ("a.b.blog.example.com", "*.blog.example.com"),
        ("example.com", "*"),
        ("myexample.com", "*"),
        ("api-7.example.com", "api-*.example.com"),
        ("api-7.blog.example.com", "*.blog.example.com"),
        ("api-.example.com", "api-*.example.com"),
        ("x", "*"),
    ],
)
def test_a_name_is_taken_by_the_hostname_that_says_most(name: str, hostname: str) -> None:
    hostnames = ["*", "*.example.com", "*.blog.example.com", "blog.example.com", "api-*.example.com"]

    assert hostname == taken_by(table_of(*hostnames), name)
    assert hostname == taken_by(table_of(*reversed(hostnames)), name)


def test_without_a_star_alone_a_name_may_match_nothing() -> None:
    table = table_of("blog.example.com", "*.blog.example.com", "a*z")

    for name in ("example.com", "xblog.example.com", "blog.example.com.evil", "a", "za", "az.example"):
        assert taken_by(table, name) is None


def test_a_star_alone_takes_any_name_and_leaves_the_default_route_alone() -> None:
    table = RouteTable([route("default"), route("star", "*")])

    assert taken_by(table, "anything.example") == "star"
    assert table.default == route("default")


def test_a_table_without_hostnames_has_no_need_to_peek() -> None:
    assert not RouteTable([route("default")]).peeks
    assert not RouteTable([]).peeks
    assert RouteTable([]).default is None
    assert RouteTable([route("default"), route("blog", "blog.example")]).peeks
    assert RouteTable([route("blog", "blog.example")]).default is None


def test_of_two_equally_good_hostnames_the_alphabetically_first_wins() -> None:
    for hostnames in (["a*.example", "*b.example"], ["*b.example", "a*.example"]):
        assert taken_by(table_of(*hostnames), "ab.example") == "*b.example"


def test_of_two_tunnels_with_the_same_claim_the_alphabetically_first_wins() -> None:
    first, second = route("a", "same.example"), route("b", "SAME.example")
    assert taken_by(RouteTable([second, first]), "same.example") == "a"
    assert RouteTable([route("b"), route("a")]).default == route("a")


def test_a_table_cannot_be_changed() -> None:
    routes = [route("blog", "blog.example")]
    table = RouteTable(routes)
    routes.clear()

    assert taken_by(table, "blog.example") == "blog"
    with pytest.raises(FrozenInstanceError):
        table.default = None  # type: ignore[misc]  # what mypy forbids is what is tested


def test_thousands_of_hostnames_are_kept_apart() -> None:
    exact = [f"site-{number}.example" for number in range(5000)]
    globs = [f"*.site-{number}.example" for number in range(5000)]
    table = table_of(*exact, *globs, "site-*.example")

    for number in range(5000):
        assert taken_by(table, f"site-{number}.example") == f"site-{number}.example"
        assert taken_by(table, f"a.b.site-{number}.example") == f"*.site-{number}.example"
    assert taken_by(table, "site-5000.example") == "site-*.example"


def test_no_name_takes_long_to_match_a_glob_of_many_stars() -> None:
    """With `.*` for each star this would try some 10**15 combinations."""
    table = table_of("*a*a*a*a*a*a*a*a*b")

    assert taken_by(table, "a" * 253) is None
    assert taken_by(table, "a" * 252 + "b") is not None


def matches(hostname: str, name: str) -> bool:
    """What a glob means, as short as it can be said."""
    if not hostname:
        return not name
    if hostname[0] == "*":
        return matches(hostname[1:], name) or (name != "" and matches(hostname, name[1:]))
    return name[:1] == hostname[0] and matches(hostname[1:], name[1:])


@given(
    hostnames=st.lists(
        st.text("ab.*", min_size=1, max_size=6).filter(lambda text: text[-1] != "."), max_size=8
    ),
    name=st.text("ab.", min_size=1, max_size=8).filter(lambda text: text[-1] != "."),
)
def test_a_table_finds_what_trying_every_hostname_in_order_finds(hostnames: list[str], name: str) -> None:
    in_order = sorted(hostnames, key=lambda hostname: ("*" in hostname, -len(hostname), hostname))
    expected = next((hostname for hostname in in_order if matches(hostname, name)), None)

    assert expected == taken_by(table_of(*hostnames), name)


@given(
    hostnames=st.lists(
        st.text("ab.*", min_size=1, max_size=6).filter(lambda text: text[-1] != "."), max_size=8, unique=True
    ),
    name=st.text("ab.", min_size=1, max_size=8).filter(lambda text: text[-1] != "."),
)
def test_the_ranking_is_every_hostname_that_matches_and_begins_with_the_one_that_takes_the_name(
    hostnames: list[str], name: str
) -> None:
    in_order = sorted(hostnames, key=lambda hostname: ("*" in hostname, -len(hostname), hostname))
    ranking = table_of(*hostnames).ranking(name)

    assert [hostname for hostname, _ in ranking] == [one for one in in_order if matches(one, name)]
    assert (ranking[0][1].tunnel if ranking else None) == taken_by(table_of(*hostnames), name)
