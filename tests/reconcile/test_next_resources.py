"""What a state asks for, worked out from what the one before it asked for."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from reconcile.desired import Kind, resources
from reconcile.next_resources import next_resources
from schemas.state import Egress, EgressRule, GatewayState, Revocation, Tunnel

from .samples import client_state, gateway_state, tunnel

PORTS = st.lists(
    st.sampled_from([f"127.0.0.1:{port}" for port in range(1, 5)]), min_size=1, max_size=2, unique=True
)
TUNNELS = st.dictionaries(
    st.sampled_from("abcdefghij"), st.tuples(PORTS, st.sampled_from(["web", "mail"])), max_size=10
)
CLIENTS = st.sampled_from([None, (), ("homelab",)])
ALLOWED = EgressRule.model_validate({"client": "*", "to": ["*.example.com"], "ports": ["25"]})
BESIDE = st.fixed_dictionaries(
    {
        "egress": st.sampled_from([None, Egress(allow=(ALLOWED,)), Egress(allow=())]),
        "revoked": st.sampled_from([(), (Revocation(serial=7),)]),
    }
)
"""What stands beside the tunnels in a gateway's file."""


@st.composite
def states(draw: st.DrawFn) -> tuple[GatewayState, GatewayState]:
    """Two states, of which the second has some of the very tunnels of the first."""
    first = gateway_state(*draw(st.builds(_made, TUNNELS)), clients=draw(CLIENTS))
    first = first.model_copy(update=draw(BESIDE))
    kept = [one for one in first.tunnels if draw(st.integers(0, 4))]
    come = [one for one in _made(draw(TUNNELS)) if all(one.name != other.name for other in kept)]
    second = gateway_state(*draw(st.permutations(kept + come)), clients=draw(CLIENTS))
    second = second.model_copy(update=draw(BESIDE))
    if not draw(st.integers(0, 4)):
        settings = second.gateway.model_copy(update={"peek_timeout": 1.0})
        second = second.model_copy(update={"gateway": settings})
    return first, second


def _made(declared: dict[str, tuple[list[str], str]]) -> list[Tunnel]:
    return [tunnel(name, *ports, service=service) for name, (ports, service) in declared.items()]


@given(pair=states())
def test_the_answer_is_that_of_resources_in_the_same_order(pair: tuple[GatewayState, GatewayState]) -> None:
    before, state = pair

    found = next_resources(state, before=before, asked=resources(before))

    assert list(found.items()) == list(resources(state).items())


@given(pair=states())
def test_what_has_not_changed_is_the_very_same(pair: tuple[GatewayState, GatewayState]) -> None:
    before, state = pair
    asked = resources(before)

    found = next_resources(state, before=before, asked=asked)

    assert [key for key in found if asked.get(key) == found[key] and asked[key] is not found[key]] == []


def test_a_section_that_is_in_the_file_no_longer_is_asked_for_no_longer() -> None:
    before = gateway_state(tunnel("web", ":80")).model_copy(update={"egress": Egress(allow=(ALLOWED,))})
    state = before.model_copy(update={"egress": None})

    found = next_resources(state, before=before, asked=resources(before))

    assert dict(found) == dict(resources(state))
    assert all(key.kind is not Kind.EGRESS for key in found)


def test_a_client_too_keeps_what_has_not_changed() -> None:
    before, state = client_state("web"), client_state("web", "mail")
    asked = resources(before)

    found = next_resources(state, before=before, asked=asked)

    assert dict(found) == dict(resources(state))
    assert [key.kind.value for key in found if asked.get(key) is found[key]] == ["link"]
