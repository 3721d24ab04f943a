"""Turn after turn: when one begins, what it does, and who is told."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import anyio
import pytest

from reconcile.desired import resources
from reconcile.loop import ReconcilerStoppedError, ReconcileStatus, Turn
from reconcile.observed import Observed, Phase
from tests.support.fake_actuator import FakeActuator

from .loops import BLOG, MAIL, MAIL_PORT, NOON, TAKEN, WEB_PORT, Loop, running
from .samples import gateway_state

pytestmark = pytest.mark.anyio


async def test_the_first_turn_comes_unasked_and_brings_everything_into_force() -> None:
    async with running(Loop(gateway_state(BLOG, MAIL))) as loop:
        turn = await loop.reconciler.wait_turn(1)

    assert (turn.number, turn.generation, turn.fresh, turn.in_force) == (1, 1, True, True)
    assert turn.state == gateway_state(BLOG, MAIL)
    assert [str(outcome.action) for outcome in turn.outcomes] == [
        "+ admission",
        "+ control 0.0.0.0:9056",
        "+ listener 0.0.0.0:25",
        "+ listener 0.0.0.0:443",
    ]
    assert loop.ports == {"0.0.0.0:443", "0.0.0.0:25"}
    assert loop.reports == [turn]


async def test_a_second_turn_plans_nothing() -> None:
    async with running(Loop(gateway_state(BLOG))) as loop:
        await loop.reconciler.wait_turn(1)
        turn = await loop.turn()

    assert (turn.outcomes, turn.fresh, turn.in_force, turn.generation) == ((), False, True, 1)


async def test_a_change_touches_only_what_differs() -> None:
    async with running(Loop(gateway_state(BLOG))) as loop:
        await loop.reconciler.wait_turn(1)
        loop.source.put(gateway_state(BLOG, MAIL))
        added = await loop.turn()
        loop.source.put(gateway_state(MAIL))
        removed = await loop.turn()

    assert [str(outcome.action) for outcome in added.outcomes] == ["+ listener 0.0.0.0:25"]
    assert [str(outcome.action) for outcome in removed.outcomes] == ["- listener 0.0.0.0:443"]
    assert loop.ports == {"0.0.0.0:25"}


async def test_rings_that_come_together_are_one_turn() -> None:
    async with running(Loop(gateway_state(BLOG))) as loop:
        await loop.reconciler.wait_turn(1)
        numbers = {loop.reconciler.ring() for _ in range(100)}
        await loop.reconciler.wait_turn(2)
        await anyio.wait_all_tasks_blocked()

    assert numbers == {2}
    assert loop.status.turn == 2


async def test_a_ring_during_a_turn_is_answered_by_the_next_one() -> None:
    loop = Loop(gateway_state(BLOG))
    loop.source.entered, loop.source.gate = anyio.Event(), anyio.Event()
    async with running(loop):
        await loop.source.entered.wait()
        # The first turn has looked at the source already and cannot know of this.
        loop.source.put(gateway_state(MAIL))
        number = loop.reconciler.ring()
        loop.source.gate.set()
        turn = await loop.reconciler.wait_turn(number)

    assert number == 2
    assert turn.number == 2
    assert loop.ports == {"0.0.0.0:25"}


async def test_a_ring_before_the_loop_runs_is_answered_by_its_first_turn() -> None:
    loop = Loop(gateway_state(BLOG))
    number = loop.reconciler.ring()

    async with running(loop):
        assert (await loop.reconciler.wait_turn(number)).number == 1


async def test_whoever_waits_for_a_turn_gets_that_turn_and_not_a_later_one() -> None:
    loop = Loop(gateway_state(BLOG))
    seen: list[Turn] = []

    async def wait(number: int) -> None:
        seen.append(await loop.reconciler.wait_turn(number))

    async with anyio.create_task_group() as waiters:
        for number in (1, 2, 2):
            waiters.start_soon(wait, number)
        await anyio.wait_all_tasks_blocked()
        async with running(loop):
            await loop.reconciler.wait_turn(1)
            await loop.turn()
            assert (await loop.reconciler.wait_turn(1)).number == 2, "the last one, for who comes late"

    assert [turn.number for turn in seen] == [1, 2, 2]


async def test_whoever_waits_for_a_turn_that_will_never_come_is_told() -> None:
    loop = Loop(gateway_state(BLOG))
    told = anyio.Event()

    async def wait() -> None:
        with pytest.raises(ReconcilerStoppedError):
            await loop.reconciler.wait_turn(99)
        told.set()

    async with anyio.create_task_group() as waiters:
        waiters.start_soon(wait)
        async with running(loop):
            await loop.reconciler.wait_turn(1)
        await told.wait()

    with pytest.raises(ReconcilerStoppedError):
        await loop.reconciler.wait_turn(2)


async def test_what_nobody_asked_for_is_closed() -> None:
    state = gateway_state(MAIL)
    extra = resources(gateway_state(BLOG))[WEB_PORT]
    actuator = FakeActuator({WEB_PORT: Observed(spec=extra, phase=Phase.OPEN)})

    async with running(Loop(state, actuator=actuator)) as loop:
        turn = await loop.reconciler.wait_turn(1)

    assert turn.in_force
    assert loop.ports == {"0.0.0.0:25"}


async def test_the_status_tells_when_a_generation_was_accepted_and_which_is_in_force() -> None:
    async with running(Loop(gateway_state(BLOG))) as loop:
        assert loop.status == ReconcileStatus()
        await loop.reconciler.wait_turn(1)
        first = loop.status
        await loop.turn()
        second = loop.status
        loop.actuator.break_key(MAIL_PORT, TAKEN)
        loop.source.put(gateway_state(BLOG, MAIL))
        await loop.turn()

    assert (first.generation, first.observed_generation, first.digest) == (1, 1, "digest 1")
    assert first.loaded_at == NOON + timedelta(hours=1)
    assert second == replace(first, turn=2)
    assert (loop.status.generation, loop.status.observed_generation) == (2, 1)
    assert loop.status.loaded_at == NOON + timedelta(hours=2)


async def test_stopping_the_loop_changes_nothing_that_runs() -> None:
    async with running(Loop(gateway_state(BLOG))) as loop:
        await loop.reconciler.wait_turn(1)

    assert loop.ports == {"0.0.0.0:443"}


async def test_a_loop_stopped_in_the_middle_of_a_turn_can_be_followed_by_another() -> None:
    loop = Loop(gateway_state(BLOG))
    hold = loop.actuator.hold_key(WEB_PORT)
    async with running(loop):
        await hold.reached.wait()

    assert loop.ports == set()
    async with running(Loop(gateway_state(BLOG), actuator=loop.actuator)) as following:
        turn = await following.reconciler.wait_turn(1)

    assert [str(outcome.action) for outcome in turn.outcomes] == ["+ listener 0.0.0.0:443"]
    assert turn.in_force
