"""Drift is told apart from what was asked for, and from what is tried again."""

from __future__ import annotations

from typing import Any

import pytest

from agent.events import EventKind, Events
from agent.turn_events import TurnEvents
from reconcile.loop import Turn
from reconcile.observed import Observed, Phase
from tests.reconcile.loops import BLOG, MAIL, NOON, TAKEN, WEB_PORT, Loop, running
from tests.reconcile.samples import gateway_state, listener

pytestmark = pytest.mark.anyio


class Told:
    """What was published of the turns of a loop."""

    def __init__(self) -> None:
        events = Events(lambda: NOON)
        self.events: list[tuple[str, dict[str, Any]]] = []
        events.listen(lambda event: self.events.append((event.kind.value, dict(event.data))))
        self._tell = TurnEvents(events.publish)

    def of(self, *turns: Turn) -> list[str]:
        """The kinds of what these turns published, with the resource if there is one."""
        start = len(self.events)
        for turn in turns:
            self._tell(turn)
        return [f"{kind} {data.get('resource', '')}".strip() for kind, data in self.events[start:]]


LOST = "drift_healed listener 0.0.0.0:443"


async def test_a_port_that_was_lost_is_healed_and_said_although_the_file_is_as_it_was() -> None:
    told = Told()
    async with running(Loop(gateway_state(BLOG))) as loop:
        told.of(await loop.reconciler.wait_turn(1))
        loop.actuator.lose_key(WEB_PORT)
        healed = await loop.turn()
        calm = await loop.turn()

    assert told.of(healed) == [LOST, "resource_opened listener 0.0.0.0:443"]
    assert told.events[-2][1]["reason"] == "it was lost though the state did not change"
    assert told.of(calm) == []


async def test_a_port_that_died_and_one_that_leads_elsewhere_are_drift_too() -> None:
    told = Told()
    async with running(Loop(gateway_state(BLOG))) as loop:
        told.of(await loop.reconciler.wait_turn(1))
        spec = loop.actuator.world[WEB_PORT].spec
        loop.actuator.world[WEB_PORT] = Observed(spec=spec, phase=Phase.FAILED, message="it ended by itself")
        died = told.of(await loop.turn())
        loop.actuator.world[WEB_PORT] = Observed(spec=listener(443, tunnel="other"), phase=Phase.OPEN)
        changed = told.of(await loop.turn())

    assert died == [LOST, "resource_opened listener 0.0.0.0:443"]
    assert changed == [LOST, "resource_updated listener 0.0.0.0:443"]


async def test_a_port_that_nobody_asked_for_is_drift() -> None:
    told = Told()
    async with running(Loop(gateway_state(MAIL))) as loop:
        told.of(await loop.reconciler.wait_turn(1))
        loop.actuator.world[WEB_PORT] = Observed(spec=listener(443), phase=Phase.OPEN)
        stranger = told.of(await loop.turn())

    assert stranger == [LOST, "resource_closed listener 0.0.0.0:443"]


async def test_what_a_new_state_asks_for_is_no_drift_and_nor_is_another_attempt() -> None:
    told = Told()
    loop = Loop(gateway_state(MAIL))
    async with running(loop):
        told.of(await loop.reconciler.wait_turn(1))
        loop.actuator.break_key(WEB_PORT, TAKEN)
        loop.source.put(gateway_state(MAIL, BLOG))
        failed = told.of(await loop.turn())
        loop.actuator.mend_all()
        opened = told.of(await loop.reconciler.wait_turn(loop.reconciler.ring(retry=True)))
        loop.source.put(gateway_state(MAIL))
        closed = told.of(await loop.turn())

    assert failed == ["state_accepted", "resource_failed listener 0.0.0.0:443"]
    assert opened == ["resource_opened listener 0.0.0.0:443", "state_in_force"]
    assert closed == ["state_accepted", "resource_closed listener 0.0.0.0:443", "state_in_force"]


async def test_drift_that_cannot_be_healed_is_a_failure_and_later_an_opening() -> None:
    told = Told()
    async with running(Loop(gateway_state(BLOG))) as loop:
        told.of(await loop.reconciler.wait_turn(1))
        loop.actuator.lose_key(WEB_PORT)
        loop.actuator.break_key(WEB_PORT, TAKEN)
        failed = told.of(await loop.turn())
        loop.actuator.mend_all()
        opened = told.of(await loop.reconciler.wait_turn(loop.reconciler.ring(retry=True)))

    assert failed == ["resource_failed listener 0.0.0.0:443"]
    assert opened == ["resource_opened listener 0.0.0.0:443"]


async def test_problems_are_told_with_their_places() -> None:
    told = Told()
    async with running(Loop(gateway_state(BLOG))) as loop:
        told.of(await loop.reconciler.wait_turn(1))
        loop.source.spoil()
        told.of(await loop.turn())

    kind, data = told.events[-1]
    assert (kind, data["generation"]) == (EventKind.STATE_REFUSED.value, 1)
    assert [problem.text for problem in data["problems"]] == ["the file is broken"]
