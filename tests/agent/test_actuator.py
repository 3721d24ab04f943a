"""The phases of what an agent keeps in force."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from agent.actuator import Failed, ResourceActuator
from reconcile.actuator import ActionError, Actuator
from reconcile.desired import Key, Kind, ListenerSpec, Spec, key_of
from reconcile.observed import Observed, Phase
from reconcile.plan import Action, Verb
from schemas.names import ListenAddress

pytestmark = pytest.mark.anyio


def listener(number: int = 1, *, peek_timeout: float = 3.0) -> ListenerSpec:
    return ListenerSpec(address=ListenAddress("127.0.0.1", number), routes=(), peek_timeout=peek_timeout)


OLD, NEW = listener(), listener(peek_timeout=5.0)
KEY = key_of(OLD)
BROKEN = ActionError("the port is taken; choose another", reason="AddressInUse")


class World:
    """Opens resources that are entries of a list, and can be held up or broken at each step."""

    def __init__(self) -> None:
        self.running: list[Spec] = []
        self.closed: list[Key] = []
        self.rings = 0
        self.failed: list[Failed] = []
        self.trouble: dict[str, BaseException] = {}
        self.held: dict[str, anyio.Event] = {}
        self.reached = anyio.Event()
        self.entry: _Entry
        self.actuator = ResourceActuator({Kind.LISTENER: self._open}, self._ring)

    def phase(self, key: Key = KEY) -> Phase | None:
        seen = self.actuator.observe().get(key)
        return None if seen is None else seen.phase

    async def open(self, spec: Spec) -> None:
        await self.actuator.perform(Action(verb=Verb.OPEN, key=key_of(spec), spec=spec))

    async def update(self, spec: Spec) -> None:
        await self.actuator.perform(Action(verb=Verb.UPDATE, key=key_of(spec), spec=spec))

    async def close(self, key: Key = KEY) -> None:
        await self.actuator.perform(Action(verb=Verb.CLOSE, key=key, spec=None))

    @asynccontextmanager
    async def in_the_middle_of(self, step: str, action: Any, *args: Any) -> AsyncIterator[anyio.CancelScope]:
        """The block runs while the action stands still at that step. The scope is the action's."""
        self.held[step] = anyio.Event()
        self.reached = anyio.Event()
        scope = anyio.CancelScope()

        async def act() -> None:
            with scope:
                await action(*args)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(act)
            await self.reached.wait()
            yield scope
            self.held.pop(step).set()

    async def step(self, name: str) -> None:
        if name in self.held:
            self.reached.set()
            await self.held[name].wait()
        if name in self.trouble:
            raise self.trouble[name]

    def _ring(self) -> None:
        self.rings += 1

    async def _open(self, spec: Spec, failed: Failed) -> _Entry:
        self.failed.append(failed)
        await self.step("open")
        self.running.append(spec)
        self.entry = _Entry(self, spec)
        return self.entry


class _Entry:
    def __init__(self, world: World, spec: Spec) -> None:
        self.is_alive = True
        self._world = world
        self._spec = spec

    async def update(self, spec: Spec) -> None:
        await self._world.step("update")
        self._world.running.remove(self._spec)
        self._world.running.append(spec)
        self._spec = spec

    async def close(self) -> None:
        self._world.closed.append(key_of(self._spec))
        await self._world.step("close")
        self._world.running.remove(self._spec)


def test_it_is_the_actuator_that_the_loop_asks_for() -> None:
    actuator: Actuator = ResourceActuator({}, lambda: None)

    assert actuator.observe() == {}


async def test_what_was_opened_is_open_with_its_specification() -> None:
    world = World()

    await world.open(OLD)

    assert world.actuator.observe() == {KEY: Observed(spec=OLD, phase=Phase.OPEN)}
    assert world.running == [OLD]


async def test_an_update_changes_the_resource_in_place() -> None:
    world = World()
    await world.open(OLD)

    await world.update(NEW)

    assert world.actuator.observe() == {KEY: Observed(spec=NEW, phase=Phase.OPEN)}
    assert world.running == [NEW]
    assert len(world.failed) == 1  # opened once


async def test_what_was_closed_is_gone() -> None:
    world = World()
    await world.open(OLD)

    await world.close()

    assert world.actuator.observe() == {}
    assert world.running == []


async def test_closing_what_is_not_there_does_nothing() -> None:
    world = World()

    await world.close()

    assert world.actuator.observe() == {}


async def test_an_observation_does_not_change_under_its_reader() -> None:
    world = World()
    before = world.actuator.observe()

    await world.open(OLD)

    assert before == {}


@pytest.mark.parametrize(
    ("step", "phase"), [("open", Phase.OPENING), ("update", Phase.OPENING), ("close", Phase.CLOSING)]
)
async def test_whatever_is_in_flight_is_seen_to_be(step: str, phase: Phase) -> None:
    world = World()
    if step != "open":
        await world.open(OLD)
    action = {"open": (world.open, OLD), "update": (world.update, NEW), "close": (world.close,)}[step]

    async with world.in_the_middle_of(step, *action):
        assert world.phase() is phase


async def test_a_failed_opening_is_shown_with_its_reason_and_raised() -> None:
    world = World()
    world.trouble["open"] = BROKEN

    with pytest.raises(ActionError, match="the port is taken"):
        await world.open(OLD)

    assert world.actuator.observe() == {
        KEY: Observed(spec=OLD, phase=Phase.FAILED, message=str(BROKEN), reason="AddressInUse")
    }


async def test_opening_what_failed_to_open_opens_it_anew() -> None:
    world = World()
    world.trouble["open"] = BROKEN
    with pytest.raises(ActionError):
        await world.open(OLD)
    world.trouble.clear()

    await world.open(NEW)

    assert (world.phase(), world.running) == (Phase.OPEN, [NEW])


async def test_closing_what_failed_to_open_forgets_it() -> None:
    world = World()
    world.trouble["open"] = BROKEN
    with pytest.raises(ActionError):
        await world.open(OLD)

    await world.close()

    assert world.actuator.observe() == {}


async def test_a_failed_update_leaves_running_what_ran_and_the_next_open_changes_it_in_place() -> None:
    world = World()
    await world.open(OLD)
    world.trouble["update"] = BROKEN
    with pytest.raises(ActionError):
        await world.update(NEW)
    assert (world.phase(), world.running) == (Phase.FAILED, [OLD])
    world.trouble.clear()

    await world.open(NEW)

    assert (world.phase(), world.running, len(world.failed)) == (Phase.OPEN, [NEW], 1)


async def test_closing_what_failed_to_update_closes_it() -> None:
    world = World()
    await world.open(OLD)
    world.trouble["update"] = BROKEN
    with pytest.raises(ActionError):
        await world.update(NEW)

    await world.close()

    assert (world.actuator.observe(), world.running) == ({}, [])


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(24, "Too many open files"), "Too many open files"),
        (
            KeyError("x\ny"),
            r"a defect in Tidegate: KeyError: 'x\ny'; please report it",
        ),
    ],
)
async def test_an_error_of_another_kind_is_shown_in_one_line(error: Exception, message: str) -> None:
    world = World()
    world.trouble["open"] = error

    with pytest.raises(type(error)):
        await world.open(OLD)

    assert world.actuator.observe() == {
        KEY: Observed(spec=OLD, phase=Phase.FAILED, message=message, reason="Failed")
    }


async def test_an_opening_that_is_cancelled_is_shown_as_failed_and_can_be_tried_again() -> None:
    world = World()
    async with world.in_the_middle_of("open", world.open, OLD) as scope:
        scope.cancel()
    assert (world.phase(), world.running) == (Phase.FAILED, [])
    assert world.actuator.observe()[KEY].reason == "Interrupted"

    await world.open(OLD)

    assert (world.phase(), world.running) == (Phase.OPEN, [OLD])


async def test_an_update_that_is_cancelled_leaves_nothing_unobserved() -> None:
    world = World()
    await world.open(OLD)
    async with world.in_the_middle_of("update", world.update, NEW) as scope:
        scope.cancel()
    assert (world.phase(), world.running) == (Phase.FAILED, [OLD])

    await world.close()

    assert (world.actuator.observe(), world.running) == ({}, [])


async def test_a_closing_that_is_cancelled_does_not_stay_in_flight_and_can_be_taken_up_again() -> None:
    world = World()
    await world.open(OLD)
    async with world.in_the_middle_of("close", world.close) as scope:
        scope.cancel()
    assert (world.phase(), world.running) == (Phase.FAILED, [OLD])

    await world.close()

    assert (world.actuator.observe(), world.running) == ({}, [])


async def test_what_was_half_closed_is_closed_before_it_is_opened_anew() -> None:
    world = World()
    await world.open(OLD)
    async with world.in_the_middle_of("close", world.close) as scope:
        scope.cancel()

    await world.open(NEW)

    assert (world.phase(), world.running, len(world.failed)) == (Phase.OPEN, [NEW], 2)


async def test_a_resource_that_dies_by_itself_is_shown_as_failed_and_rings() -> None:
    world = World()
    await world.open(OLD)

    world.failed[0](BROKEN)

    assert world.actuator.observe() == {
        KEY: Observed(spec=OLD, phase=Phase.FAILED, message=str(BROKEN), reason="AddressInUse")
    }
    assert world.rings == 1


async def test_a_resource_that_is_seen_to_be_dead_is_shown_as_failed_and_rings() -> None:
    world = World()
    await world.open(OLD)

    world.entry.is_alive = False

    assert world.actuator.observe() == {
        KEY: Observed(spec=OLD, phase=Phase.FAILED, message="it ended by itself", reason="Failed")
    }
    assert world.rings == 1


async def test_of_very_many_resources_each_is_asked_in_its_turn_whether_it_is_alive(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("agent.actuator._ASKED_AT_ONCE", 2)
    world = World()
    for number in range(1, 6):
        await world.open(listener(number))
        world.entry.is_alive = False  # the one that was opened last

    looks = [sum(seen.phase is Phase.FAILED for seen in world.actuator.observe().values()) for _ in range(3)]

    assert looks == [2, 4, 5]


async def test_nothing_new_is_the_very_same_observation() -> None:
    world = World()
    await world.open(OLD)
    before = world.actuator.observe()

    assert world.actuator.observe() is before
    await world.update(NEW)
    assert world.actuator.observe() is not before


async def test_a_death_is_told_once() -> None:
    world = World()
    await world.open(OLD)

    world.failed[0](BROKEN)
    world.failed[0](BROKEN)
    world.entry.is_alive = False

    assert world.actuator.observe()[KEY].message == str(BROKEN)
    assert world.rings == 1


async def test_what_died_by_itself_is_closed_before_it_is_opened_anew() -> None:
    world = World()
    await world.open(OLD)
    world.failed[0](BROKEN)

    await world.open(NEW)

    assert (world.phase(), world.running, world.closed) == (Phase.OPEN, [NEW], [KEY])


async def test_what_died_by_itself_and_is_not_wanted_any_more_is_closed_and_forgotten() -> None:
    world = World()
    await world.open(OLD)
    world.failed[0](BROKEN)

    await world.close()

    assert (world.actuator.observe(), world.running, world.closed) == ({}, [], [KEY])


async def test_a_resource_that_dies_while_it_is_being_opened_is_not_taken_for_open() -> None:
    world = World()

    with pytest.RaisesGroup(pytest.RaisesExc(ActionError, match="the port is taken")):
        async with world.in_the_middle_of("open", world.open, OLD):
            world.failed[0](BROKEN)

    assert world.phase() is Phase.FAILED
    await world.close()
    assert world.running == []


async def test_a_resource_that_dies_while_it_is_being_changed_is_opened_anew() -> None:
    world = World()
    await world.open(OLD)

    with pytest.RaisesGroup(pytest.RaisesExc(ActionError, match="the port is taken")):
        async with world.in_the_middle_of("update", world.update, NEW):
            world.failed[0](BROKEN)

    assert world.phase() is Phase.FAILED
    await world.open(NEW)
    assert (world.phase(), len(world.failed)) == (Phase.OPEN, 2)


async def test_a_resource_that_dies_while_it_is_being_closed_is_gone_all_the_same() -> None:
    world = World()
    await world.open(OLD)

    async with world.in_the_middle_of("close", world.close):
        world.failed[0](BROKEN)

    assert (world.actuator.observe(), world.rings) == ({}, 0)


async def test_the_late_death_of_an_earlier_resource_does_not_concern_its_successor() -> None:
    world = World()
    await world.open(OLD)
    await world.close()
    world.failed[0](BROKEN)
    assert world.actuator.observe() == {}
    await world.open(NEW)

    world.failed[0](BROKEN)

    assert (world.phase(), world.rings) == (Phase.OPEN, 0)


async def test_closing_everything_begins_with_what_was_opened_last_and_forgets_failures() -> None:
    world = World()
    await world.open(listener(1))
    await world.open(listener(2))
    world.trouble["open"] = BROKEN
    with pytest.raises(ActionError):
        await world.open(listener(3))

    await world.actuator.close_all()

    assert (world.actuator.observe(), world.running) == ({}, [])
    assert world.closed == [key_of(listener(2)), key_of(listener(1))]


async def test_a_resource_that_is_slow_to_close_does_not_keep_the_others_open() -> None:
    world = World()
    await world.open(listener(1))
    await world.open(listener(2))

    async with world.in_the_middle_of("close", world.actuator.close_all):
        assert {world.phase(key_of(listener(number))) for number in (1, 2)} == {Phase.CLOSING}

    assert world.running == []
