from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from schemas.fragment import render_fragment
from schemas.names import ClientId, ListenAddress, ProxyProtocol, ServiceName, TunnelName
from schemas.state import Tunnel
from schemas.text import Syntax, read_document

from .reading import GATEWAY, document, gateway_of

_NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)
_HOSTNAMES = st.from_regex(r"(\*\.)?[a-z0-9]{1,10}(\.[a-z]{1,10}){0,2}", fullmatch=True)
_ADDRESSES = st.builds(
    ListenAddress,
    st.sampled_from(["192.0.2.1", "2001:db8::1", "127.0.0.1"]),
    st.integers(1, 65535).filter(lambda port: port != 9056),
)
_DECLARERS = st.text(st.characters(categories=["L", "N", "P", "S", "Zs"], codec="utf-8"), min_size=1).filter(
    str.isprintable
)


@st.composite
def tunnels(draw: st.DrawFn) -> list[Tunnel]:
    addresses = iter(draw(st.lists(_ADDRESSES, unique=True, max_size=8)))
    names = iter(draw(st.lists(_NAMES, unique=True, min_size=8, max_size=8)))
    return [
        Tunnel(
            name=TunnelName(next(names)),
            listen=(address, *([second] if (second := next(addresses, None)) is not None else [])),
            hostname=tuple(draw(st.lists(_HOSTNAMES, unique=True, max_size=3))),
            client=tuple(
                ClientId(client) for client in draw(st.lists(_NAMES, unique=True, min_size=1, max_size=3))
            ),
            service=ServiceName(draw(_NAMES)),
            proxy_protocol=draw(st.sampled_from(ProxyProtocol)),
            declared_by=draw(st.none() | _DECLARERS),
        )
        for address in addresses
    ]


def read_back(text: str) -> tuple[Tunnel, ...]:
    fragment = read_document(
        text.encode(), name="api.toml", directory="/var/lib/tidegate", syntax=Syntax.TOML, owned=True
    )
    return gateway_of(document(GATEWAY), fragment).tunnels


@given(tunnels())
def test_a_fragment_reads_back_as_the_same_tunnels(declared: list[Tunnel]) -> None:
    assert read_back(render_fragment(declared)) == tuple(declared)


@given(tunnels())
def test_the_same_tunnels_give_the_same_text(declared: list[Tunnel]) -> None:
    assert render_fragment(declared) == render_fragment(list(read_back(render_fragment(declared))))


def test_a_fragment_without_tunnels_can_be_read() -> None:
    assert read_back(render_fragment([])) == ()


def test_a_fragment_opens_with_who_writes_it() -> None:
    assert render_fragment([]).startswith("# Written by Tidegate: ")
