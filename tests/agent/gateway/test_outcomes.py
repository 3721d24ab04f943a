"""A client is told that a tunnel is in force when it is, and not before."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.gateway.outcomes import outcomes_of, spell_outcomes, standing
from agent.gateway.own_tunnels import Claim, NotUnderstood
from agent.gateway.room import Merged, merge
from reconcile.desired import ListenerSpec, listener_key, route_of
from reconcile.observed import Observed, ObservedState, Phase
from schemas.messages import MAX_DECLARED, Declared, TunnelOutcome
from schemas.names import TunnelName
from schemas.state import GatewaySettings, GatewayState, Tunnel
from transport.wire.control import encode_message

from .test_room import TLS, claim, entry, tunnel

STATE = GatewayState(gateway=GatewaySettings(tls=TLS), clients=(entry("homelab"),))


def observed(one: Tunnel, phase: Phase, *, led: Sequence[Tunnel] = (), message: str = "") -> ObservedState:
    """All ports of a tunnel as they are, leading to it or to others."""
    routes = tuple(route_of(other) for other in led or (one,))
    return {
        listener_key(address): Observed(
            spec=ListenerSpec(address=address, routes=routes, peek_timeout=3), phase=phase, message=message
        )
        for address in one.listen
    }


def test_a_tunnel_is_in_force_when_all_of_its_ports_are_open_and_lead_there() -> None:
    one = tunnel("blog", "127.0.0.1:1", "127.0.0.1:2")
    whole = observed(one, Phase.OPEN)

    assert standing(one, whole) == ""
    assert standing(one, dict(list(whole.items())[:1])) is None
    assert standing(one, {}) is None
    assert standing(one, observed(one, Phase.OPENING)) is None
    assert standing(one, observed(one, Phase.OPEN, led=[tunnel("other", "127.0.0.1:1")])) is None


def test_a_port_that_could_not_be_opened_is_told_with_the_reason() -> None:
    one = tunnel("blog", "127.0.0.1:1")

    assert standing(one, observed(one, Phase.FAILED, message="it is taken")) == "it is taken"
    assert standing(one, observed(one, Phase.FAILED)) == (
        "its port could not be opened; the gateway's log says why"
    )


def test_each_tunnel_is_told_by_the_name_that_the_client_gave_it() -> None:
    asked: list[Claim | NotUnderstood] = [
        claim("a", "127.0.0.1:1"),
        claim("b", "127.0.0.1:1"),
        NotUnderstood(own="c", problem="it is nonsense"),
    ]
    merged = merge(STATE, [one for one in asked if isinstance(one, Claim)])
    (added,) = merged.state.tunnels

    told = outcomes_of(asked, merged, observed(added, Phase.OPEN))

    assert told is not None
    assert [(outcome.name, outcome.problem[:20]) for outcome in told] == [
        ("a", ""),
        ("b", "127.0.0.1:1 leads to"),
        ("c", "it is nonsense"),
    ]
    assert spell_outcomes(told)["in_force"] == ["a"]
    assert spell_outcomes(told)["problems"][1] == "c: it is nonsense"


def test_nothing_is_told_while_anything_is_under_way() -> None:
    known, new = claim("a", "127.0.0.1:1"), claim("b", "127.0.0.1:2")
    merged = merge(STATE, [known])

    assert outcomes_of([known], merged, {}) is None
    assert outcomes_of([known, new], merged, observed(known.tunnel, Phase.OPEN)) is None


@pytest.mark.parametrize("character", ["x", '"', "\\", "é", "𝄞", "\x00"])
def test_what_came_of_as_many_tunnels_as_there_may_be_fits_into_one_message(character: str) -> None:
    asked = [
        NotUnderstood(own=f"{number:x<128}", problem=character * 1_000) for number in range(MAX_DECLARED)
    ]
    nothing = Merged(state=STATE, added=frozenset[TunnelName](), problems={})

    told = outcomes_of(asked, nothing, {})

    assert told is not None
    encode_message(Declared(number=2**31 - 1, tunnels=told))
    assert all(outcome.problem.endswith("…") for outcome in told)


@given(text=st.text(st.characters(exclude_categories=["Cs"]), min_size=1), times=st.integers(1, 300))
def test_of_a_long_problem_as_much_is_told_as_fits(text: str, times: int) -> None:
    nothing = Merged(state=STATE, added=frozenset[TunnelName](), problems={})
    problem = text * times
    many = [NotUnderstood(own=str(number), problem=problem) for number in range(101)]

    told = outcomes_of(many, nothing, {})

    assert told is not None
    shown, limit = told[0].problem, 220
    fits = len(json.dumps(problem)) <= limit
    begin = shown.removesuffix("…")
    if "�" not in shown or "�" in problem:  # else a character was replaced that no terminal prints
        assert (shown == problem) is fits or problem.endswith("…")
        assert problem.startswith(begin)
    assert len(json.dumps(problem[: len(begin)])) <= limit
    assert fits or len(json.dumps(problem[: len(begin) + 2])) > limit, "no more of it would fit"


def test_a_line_of_the_log_has_some_of_many_tunnels() -> None:
    told = [TunnelOutcome(name=f"{number}", problem="no" * (number % 2)) for number in range(100)]

    spelled = spell_outcomes(told)

    assert spelled["in_force"][-2:] == ["38", "and 30 more"]
    assert spelled["problems"][-2:] == ["39: no", "and 30 more"]


def test_a_problem_of_few_tunnels_is_told_as_it_is() -> None:
    nothing = Merged(state=STATE, added=frozenset[TunnelName](), problems={})

    assert outcomes_of([NotUnderstood(own="a", problem="é" * 100)], nothing, {}) == (
        TunnelOutcome(name="a", problem="é" * 100),
    )
