"""Plan and actuator in, outcomes out."""

from __future__ import annotations

import errno

import anyio
import pytest

from reconcile.actuator import ActionError
from reconcile.desired import Spec
from reconcile.execute import Outcome, execute
from reconcile.observed import Phase
from reconcile.plan import Plan, make_plan
from tests.support.fake_actuator import FakeActuator

from .samples import keyed, listener, port, running

pytestmark = pytest.mark.anyio


def opening(*specs: Spec) -> Plan:
    return make_plan(keyed(*specs), {})


async def test_the_actions_are_taken_in_the_order_of_the_plan() -> None:
    actuator = FakeActuator(running(listener(1), listener(3)))
    plan = make_plan(keyed(listener(1, tunnel="mail"), listener(2)), actuator.observe())

    outcomes = await execute(plan, actuator)

    assert actuator.performed == list(plan.actions)
    assert outcomes == tuple(Outcome(action=action) for action in plan.actions)
    assert actuator.observe() == running(listener(1, tunnel="mail"), listener(2))


async def test_one_failure_stops_nothing_else() -> None:
    actuator = FakeActuator()
    error = ActionError("port 2 is taken; stop whoever has it", reason="AddressInUse")
    actuator.break_key(port(2), error)

    outcomes = await execute(opening(listener(1), listener(2), listener(3)), actuator)

    assert [outcome.error for outcome in outcomes] == [None, str(error), None]
    assert outcomes[1].reason == "AddressInUse"
    phases = [actuator.world[port(number)].phase for number in (1, 2, 3)]
    assert phases == [Phase.OPEN, Phase.FAILED, Phase.OPEN]


@pytest.mark.parametrize("retry", [True, False])
async def test_the_actuator_says_whether_trying_again_soon_can_help(retry: bool) -> None:
    actuator = FakeActuator()
    actuator.break_key(port(1), ActionError("no", retry=retry))

    (outcome,) = await execute(opening(listener(1)), actuator)

    assert outcome.retry is retry


async def test_a_system_error_becomes_an_outcome_in_its_own_words() -> None:
    actuator = FakeActuator()
    actuator.break_key(port(1), OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address"))

    (outcome,) = await execute(opening(listener(1)), actuator)

    assert (outcome.error, outcome.retry, outcome.defect) == ("Cannot assign requested address", True, None)


@pytest.mark.parametrize(
    ("error", "message"),
    [(OSError(), "OSError"), (OSError("cable cut"), "cable cut"), (ConnectionError(), "ConnectionError")],
)
async def test_a_system_error_without_words_is_still_an_error(error: OSError, message: str) -> None:
    actuator = FakeActuator()
    actuator.break_key(port(1), error)

    (outcome,) = await execute(opening(listener(1)), actuator)

    assert outcome.error == message


async def test_a_defect_becomes_an_outcome_that_carries_the_exception() -> None:
    actuator = FakeActuator()
    defect = KeyError("route\nlist")
    actuator.break_key(port(1), defect)

    broken, other = await execute(opening(listener(1), listener(2)), actuator)

    assert broken.error is not None
    assert "defect" in broken.error
    assert "\n" not in broken.error
    assert broken.defect is defect
    assert other == Outcome(action=other.action)


async def test_an_action_that_hangs_is_cut_off_and_the_next_one_is_taken() -> None:
    actuator = FakeActuator()
    actuator.hold_key(port(1))

    hung, other = await execute(opening(listener(1), listener(2)), actuator, limit=0.01)

    assert hung.error == "not done within 0.01 s"
    assert other.error is None
    assert actuator.observe() == running(listener(2))


async def test_cancellation_in_the_middle_leaves_what_is_observed_true() -> None:
    actuator = FakeActuator()
    hold = actuator.hold_key(port(2))

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(execute, opening(listener(1), listener(2), listener(3)), actuator)
            await hold.reached.wait()
            assert actuator.world[port(2)].phase is Phase.OPENING
            tasks.cancel_scope.cancel()

    assert actuator.observe() == running(listener(1))
    await execute(make_plan(keyed(listener(1), listener(2)), actuator.observe()), actuator)
    assert actuator.observe() == running(listener(1), listener(2))


async def test_an_empty_plan_touches_nothing() -> None:
    actuator = FakeActuator()

    assert await execute(Plan(actions=()), actuator) == ()
    assert actuator.performed == []
