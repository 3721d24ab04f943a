"""Desired and observed in, plan out."""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from reconcile.desired import AdmissionSpec, ControlSpec, Key, Spec
from reconcile.observed import IN_FLIGHT, Observed, ObservedState, Phase
from reconcile.plan import Action, Plan, Verb, make_plan
from schemas.names import ListenAddress

from .samples import (
    GATEWAY_TLS,
    TIMING,
    desired_states,
    keyed,
    listener,
    observed_states,
    port,
    running,
)


def performed(plan: Plan, observed: ObservedState) -> dict[Key, Observed]:
    """What runs when every step of the plan has gone well."""
    world = dict(observed)
    for action in plan.actions:
        if action.spec is None:
            del world[action.key]
        else:
            world[action.key] = Observed(spec=action.spec, phase=Phase.OPEN)
    return world


def words(plan: Plan) -> list[str]:
    return [str(action) for action in plan.actions]


@given(desired_states, observed_states)
def test_performing_the_plan_leads_to_what_is_desired(
    desired: Mapping[Key, Spec], observed: ObservedState
) -> None:
    settled = {key: seen for key, seen in observed.items() if seen.phase not in IN_FLIGHT}

    world = performed(make_plan(desired, settled), settled)

    assert world == {key: Observed(spec=spec, phase=Phase.OPEN) for key, spec in desired.items()}


@given(desired_states)
def test_a_converged_pair_gives_an_empty_plan(desired: Mapping[Key, Spec]) -> None:
    assert make_plan(desired, running(*desired.values())).is_empty


@given(desired_states, observed_states)
def test_after_the_plan_there_is_nothing_left_to_plan(
    desired: Mapping[Key, Spec], observed: ObservedState
) -> None:
    world = performed(make_plan(desired, observed), observed)

    assert make_plan(desired, world).is_empty


@given(desired_states, observed_states)
def test_the_same_pair_always_gives_the_same_plan(
    desired: Mapping[Key, Spec], observed: ObservedState
) -> None:
    backwards = make_plan(dict(reversed(list(desired.items()))), dict(reversed(list(observed.items()))))

    assert make_plan(desired, observed) == backwards


@given(desired_states, observed_states)
def test_no_resource_gets_more_than_one_step(desired: Mapping[Key, Spec], observed: ObservedState) -> None:
    keys = [action.key for action in make_plan(desired, observed).actions]

    assert len(keys) == len(set(keys))


@given(desired_states, observed_states)
def test_failed_reads_as_absent_where_it_is_desired(
    desired: Mapping[Key, Spec], observed: ObservedState
) -> None:
    without = {
        key: seen for key, seen in observed.items() if not (seen.phase is Phase.FAILED and key in desired)
    }

    assert make_plan(desired, observed) == make_plan(desired, without)


@given(desired_states, observed_states, st.data())
def test_held_keys_are_left_alone_and_the_others_are_not(
    desired: Mapping[Key, Spec], observed: ObservedState, data: st.DataObject
) -> None:
    keys = sorted(desired.keys() | observed.keys())
    held = frozenset(data.draw(st.sets(st.sampled_from(keys))) if keys else ())

    actions = make_plan(desired, observed, held=held).actions

    assert actions == tuple(
        action for action in make_plan(desired, observed).actions if action.key not in held
    )


@given(desired_states, observed_states)
def test_nothing_in_flight_is_touched(desired: Mapping[Key, Spec], observed: ObservedState) -> None:
    in_flight = {key for key, seen in observed.items() if seen.phase in IN_FLIGHT}

    assert not in_flight & {action.key for action in make_plan(desired, observed).actions}


@given(desired_states, observed_states)
def test_every_port_is_freed_before_any_is_taken(
    desired: Mapping[Key, Spec], observed: ObservedState
) -> None:
    order = [Verb.CLOSE, Verb.UPDATE, Verb.OPEN]
    ranks = [order.index(action.verb) for action in make_plan(desired, observed).actions]

    assert ranks == sorted(ranks)


@given(desired_states, observed_states)
def test_only_a_close_has_no_spec(desired: Mapping[Key, Spec], observed: ObservedState) -> None:
    for action in make_plan(desired, observed).actions:
        assert (action.spec is None) == (action.verb is Verb.CLOSE)


def test_a_tunnel_that_moves_to_another_port_is_a_close_and_an_open() -> None:
    plan = make_plan(keyed(listener(2)), running(listener(1)))

    assert words(plan) == ["- listener 0.0.0.0:1", "+ listener 0.0.0.0:2"]


def test_two_tunnels_that_swap_ports_are_two_updates() -> None:
    plan = make_plan(
        keyed(listener(1, tunnel="mail"), listener(2, tunnel="blog")),
        running(listener(1, tunnel="blog"), listener(2, tunnel="mail")),
    )

    assert words(plan) == ["~ listener 0.0.0.0:1", "~ listener 0.0.0.0:2"]


def test_a_control_port_moves_to_an_address_that_a_listener_gives_up() -> None:
    def control(number: int) -> ControlSpec:
        return ControlSpec(address=ListenAddress("0.0.0.0", number), tls=GATEWAY_TLS, timing=TIMING)

    plan = make_plan(keyed(control(2)), running(control(1), listener(2)))

    assert words(plan) == ["- listener 0.0.0.0:2", "- control 0.0.0.0:1", "+ control 0.0.0.0:2"]


def test_on_an_empty_machine_admission_and_control_come_before_the_public_ports() -> None:
    admission = AdmissionSpec(clients=None, domain=None, admins=frozenset())
    control = ControlSpec(address=ListenAddress("0.0.0.0", 9), tls=GATEWAY_TLS, timing=TIMING)

    plan = make_plan(keyed(listener(1), control, admission), {})

    assert words(plan) == ["+ admission", "+ control 0.0.0.0:9", "+ listener 0.0.0.0:1"]


def test_a_failed_resource_that_nobody_wants_is_forgotten() -> None:
    plan = make_plan({}, running(listener(1), phase=Phase.FAILED))

    assert plan.actions == (Action(verb=Verb.CLOSE, key=port(1), spec=None),)
