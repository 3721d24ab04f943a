"""What a declaration asks for, however it is written."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.gateway.own_tunnels import Claim, NotUnderstood, names_of, read_declared
from schemas.messages import DeclaredTunnel
from schemas.names import ClientId, ListenAddress, ProxyProtocol, check_name

HOMELAB = ClientId("homelab")


def declared(name: str = "blog", *listen: str, service: str = "web", **more: Any) -> DeclaredTunnel:
    return DeclaredTunnel(name=name, listen=listen or (":443",), service=service, **more)


def problem(entry: DeclaredTunnel) -> str:
    (read,) = read_declared(HOMELAB, [entry])
    assert isinstance(read, NotUnderstood)
    assert "\n" not in read.problem
    return read.problem


def test_a_declared_tunnel_leads_to_the_client_itself_and_bears_its_name() -> None:
    entry = declared(hostname=("Blog.example.com",), proxy_protocol="v2")

    (claim,) = read_declared(HOMELAB, [entry])

    assert isinstance(claim, Claim)
    tunnel = claim.tunnel
    assert (claim.own, tunnel.name, tunnel.declared_by) == ("blog", "homelab/blog", "homelab")
    assert (tunnel.client, tunnel.service) == ((HOMELAB,), "web")
    assert tunnel.listen == (ListenAddress("0.0.0.0", 443), ListenAddress("::", 443))
    assert tunnel.hostname == ("blog.example.com",)
    assert tunnel.proxy_protocol is ProxyProtocol.V2


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (declared("blog", "443"), "is a port alone"),
        (declared("blog", "localhost:80"), "is not an IP address"),
        (declared("blog", "127.0.0.1:0"), "port"),
        (DeclaredTunnel(name="blog", listen=(), service="web"), "the list is empty"),
        (declared(hostname=("a b",)), "holds a space"),
        (declared(proxy_protocol="v3"), "is not a version of the PROXY protocol"),
    ],
)
def test_what_cannot_be_understood_is_told_to_the_client(entry: DeclaredTunnel, words: str) -> None:
    assert words in problem(entry)


def test_one_tunnel_that_cannot_be_understood_costs_the_others_nothing() -> None:
    read = read_declared(HOMELAB, [declared("a", "nonsense"), declared("b")])

    assert [type(one) for one in read] == [NotUnderstood, Claim]


def test_of_two_tunnels_with_one_name_the_second_is_none() -> None:
    read = read_declared(HOMELAB, [declared("a", ":1"), declared("a", ":2")])

    assert isinstance(read[1], NotUnderstood)
    assert "another tunnel has this name already" in read[1].problem


def test_no_name_at_the_gateway_is_one_that_anybody_else_can_give() -> None:
    pairs = [("a", "b-c"), ("a-b", "c"), ("a.b", "c"), ("x" * 128, "y" * 128), ("x" * 128, "y" * 127 + "z")]
    names = [
        tunnel.tunnel.name
        for client, name in pairs
        for tunnel in read_declared(ClientId(client), [declared(name)])
        if isinstance(tunnel, Claim)
    ]

    assert len(set(names)) == len(pairs)
    assert all(len(name) <= 128 for name in names)
    for name in names:
        with pytest.raises(ValueError, match="may hold only"):
            check_name(name)


@given(
    st.builds(
        DeclaredTunnel,
        name=st.just("a"),
        service=st.just("web"),
        listen=st.lists(st.text(max_size=64), max_size=3).map(tuple),
        hostname=st.lists(st.text(max_size=253), max_size=3).map(tuple),
        proxy_protocol=st.text(max_size=16),
    )
)
def test_whatever_the_texts_are_they_are_a_tunnel_of_the_client_or_a_problem(entry: DeclaredTunnel) -> None:
    (read,) = read_declared(HOMELAB, [entry])

    if isinstance(read, Claim):
        assert read.tunnel.client == (HOMELAB,)
        assert read.tunnel.declared_by == HOMELAB
        assert read.tunnel.listen
        assert names_of([read]) == {"homelab/a"}
    else:
        assert read.problem
