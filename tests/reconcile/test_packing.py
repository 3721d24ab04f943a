"""Parts that are sent from one process to another."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from reconcile.packing import pack, unpack
from schemas.names import Balance
from schemas.networks import parse_network
from schemas.part import Part, part_of, read_part
from schemas.roles import Role
from schemas.state import ClientState, GatewayState, Tunnel
from tests.schemas.reading import CLIENT, document
from tests.schemas.test_part import VALUES, documents

from .samples import client_state, gateway_state, tunnel


@given(value=VALUES, owned=st.booleans())
def test_what_is_unpacked_is_what_was_packed_down_to_what_the_file_said(
    value: dict[str, object], owned: bool
) -> None:
    part = read_part(documents(value, owned=owned)[0], Role.GATEWAY)
    if part is None:
        return

    sent = pickle.loads(pickle.dumps(pack(part)))

    there = unpack(sent, {})
    assert there == part
    assert [one.model_fields_set for one in there.tunnels] == [one.model_fields_set for one in part.tunnels]


def test_a_clients_part_travels_too() -> None:
    part = read_part(document(CLIENT + "services: {web: 'unix:a', mail: 'b:25'}\n"), Role.CLIENT)
    assert part is not None

    assert unpack(pickle.loads(pickle.dumps(pack(part))), {}) == part
    assert unpack(pack(part_of(client_state("web"))), {}) == part_of(client_state("web"))


def test_a_known_tunnel_is_the_very_same_afterwards() -> None:
    state = gateway_state(tunnel("a", ":1"), tunnel("b", ":2", hostname=("x",)))
    packed = pack(part_of(state))
    known = dict(zip(packed.rows, state.tunnels, strict=True))
    changed = Part(section=state.gateway, tunnels=(tunnel("a", ":3"), state.tunnels[1]))

    first, second = unpack(pack(changed), known).tunnels

    assert first == tunnel("a", ":3")
    assert second is state.tunnels[1]


@pytest.mark.parametrize(
    ("model", "packed"),
    [
        (
            Tunnel,
            {"name", "listen", "hostname", "client", "balance", "service", "proxy_protocol"}
            | {"accept_proxy_protocol", "declared_by"},
        ),
        (GatewayState, {"gateway", "clients", "tunnels", "revoked", "egress", "allow_empty"}),
        (ClientState, {"client", "services", "socks5", "tunnels", "allow_empty"}),
    ],
)
def test_nothing_that_a_file_may_say_is_left_behind(model: type[BaseModel], packed: set[str]) -> None:
    """Whoever adds a field here packs it as well, or every state file loses it on its way."""
    assert set(model.model_fields) == packed


def test_a_tunnel_with_everything_that_a_file_may_say_is_unpacked_as_it_was() -> None:
    everything = tunnel("a", ":1", client=("x", "y"), hostname=("h",)).model_copy(
        update={
            "balance": Balance.ROUND_ROBIN,
            "accept_proxy_protocol": (parse_network("10.0.0.5"), parse_network("2001:db8::/32")),
        }
    )
    part = part_of(gateway_state(everything))

    assert unpack(pickle.loads(pickle.dumps(pack(part))), {}) == part


def test_the_same_tunnel_always_travels_as_the_same_bytes() -> None:
    one, other = (
        part_of(gateway_state(tunnel("web", ":1", service=name))) for name in ("web", "".join("web"))
    )

    assert pack(one).rows == pack(other).rows
