"""Turn after turn, on a source in memory and an actuator whose world is a dictionary."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconcile.actuator import ActionError
from reconcile.desired import Key, Kind, resources
from reconcile.loop import Reconciler, ReconcilerStoppedError, ReconcileStatus, Turn
from reconcile.observed import Observed, Phase
from reconcile.source import NOTHING_LOADED, Loaded
from schemas.errors import Problem
from schemas.state import State
from tests.support.fake_actuator import FakeActuator

from .samples import gateway_state, tunnel

pytestmark = pytest.mark.anyio

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
BLOG = tunnel("blog", "0.0.0.0:443")
MAIL = tunnel("mail", "0.0.0.0:25")
WEB_PORT = Key(kind=Kind.LISTENER, name="0.0.0.0:443")
MAIL_PORT = Key(kind=Kind.LISTENER, name="0.0.0.0:25")
TAKEN = ActionError("port 443 is taken; stop whoever has it", reason="AddressInUse")
# So that no retry comes due while the test runs.
HOPELESS = ActionError(str(TAKEN), retry=False, reason=TAKEN.reason)
PROBLEM = Problem(place=None, message="the file is broken")


class MemorySource:
    """A source whose content is set by the test, and which may fail or wait."""

    def __init__(self, state: State | None = None) -> None:
        self._accepted = NOTHING_LOADED
        self._next = state
        self._problems: tuple[Problem, ...] = ()
        self.error: Exception | None = None
        self.entered: anyio.Event | None = None
        self.gate: anyio.Event | None = None

    def put(self, state: State) -> None:
        self._next, self._problems = state, ()

    def spoil(self) -> None:
        self._problems = (PROBLEM,)

    async def load(self) -> Loaded:
        await anyio.lowlevel.checkpoint()
        state, problems = self._next, self._problems
        if self.entered is not None:
            self.entered.set()
        if self.gate is not None:
            await self.gate.wait()
        if self.error is not None:
            raise self.error
        if state is None or problems:
            return replace(self._accepted, problems=problems, fresh=False)
        fresh = state != self._accepted.state
        generation = self._accepted.generation + fresh
        self._accepted = Loaded(
            generation=generation, state=state, problems=(), digest=f"digest {generation}", fresh=fresh
        )
        return self._accepted

    def watch_directories(self) -> set[Path]:
        return set()


class Clock:
    """An hour passes whenever somebody looks."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        self.now += timedelta(hours=1)
        return self.now


class Loop:
    """A reconciler with everything it was given."""

    def __init__(
        self,
        state: State | None,
        *,
        resync: float = 3600.0,
        random: Callable[[], float] = lambda: 0.999,
        actuator: FakeActuator | None = None,
    ) -> None:
        self.source = MemorySource(state)
        self.actuator = actuator or FakeActuator()
        self.reports: list[Turn] = []
        self.reconciler = Reconciler(
            self.source,
            self.actuator,
            resync=resync,
            random=random,
            clock=Clock(),
            report=self.reports.append,
        )

    @property
    def status(self) -> ReconcileStatus:
        return self.reconciler.status

    @property
    def ports(self) -> set[str]:
        return {
            key.name
            for key, seen in self.actuator.world.items()
            if key.kind is Kind.LISTENER and seen.phase is Phase.OPEN
        }

    async def turn(self) -> Turn:
        """Ring, and wait for the turn that surely saw it."""
        return await self.reconciler.wait_turn(self.reconciler.ring())


@asynccontextmanager
async def running(loop: Loop) -> AsyncIterator[Loop]:
    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(loop.reconciler.run)
            yield loop
            tasks.cancel_scope.cancel()


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
        await loop.reconciler.wait_turn(99)


async def test_one_failure_stops_nothing_else_and_keeps_the_generation_out_of_force() -> None:
    loop = Loop(gateway_state(BLOG, MAIL))
    loop.actuator.break_key(WEB_PORT, TAKEN)
    async with running(loop):
        turn = await loop.reconciler.wait_turn(1)

    assert loop.ports == {"0.0.0.0:25"}
    assert turn.failed == {WEB_PORT: str(TAKEN)}
    assert not turn.in_force
    assert (loop.status.generation, loop.status.observed_generation) == (1, 0)
    assert loop.status.failed == turn.failed


async def test_what_failed_is_tried_again_without_waiting_for_the_resync() -> None:
    loop = Loop(gateway_state(BLOG), random=lambda: 0.01)
    loop.actuator.break_key(WEB_PORT, TAKEN)
    async with running(loop):
        await loop.reconciler.wait_turn(3)
        loop.actuator.mend_key(WEB_PORT)
        while not loop.status.observed_generation:
            await loop.reconciler.wait_turn(loop.status.turn + 1)

    assert loop.ports == {"0.0.0.0:443"}
    assert loop.status.failed == {}


async def test_what_failed_waits_for_its_retry_however_often_the_bell_rings() -> None:
    loop = Loop(gateway_state(BLOG))
    loop.actuator.break_key(WEB_PORT, HOPELESS)
    async with running(loop):
        first = await loop.reconciler.wait_turn(1)
        turns = [await loop.turn() for _ in range(5)]

    assert len(first.outcomes) == 3
    assert [turn.outcomes for turn in turns] == [()] * 5
    assert all(turn.failed == {WEB_PORT: str(TAKEN)} for turn in turns)


async def test_a_new_generation_tries_at_once_what_failed_before() -> None:
    loop = Loop(gateway_state(BLOG))
    loop.actuator.break_key(WEB_PORT, HOPELESS)
    async with running(loop):
        await loop.reconciler.wait_turn(1)
        loop.actuator.mend_key(WEB_PORT)
        loop.source.put(gateway_state(BLOG, MAIL))
        turn = await loop.turn()

    assert turn.in_force
    assert loop.ports == {"0.0.0.0:443", "0.0.0.0:25"}


async def test_a_failed_resource_that_nobody_wants_any_more_is_forgotten() -> None:
    loop = Loop(gateway_state(BLOG, MAIL))
    loop.actuator.break_key(WEB_PORT, HOPELESS)
    async with running(loop):
        await loop.reconciler.wait_turn(1)
        loop.actuator.mend_key(WEB_PORT)
        loop.source.put(gateway_state(MAIL))
        turn = await loop.turn()

    assert turn.in_force
    assert turn.failed == {}
    assert WEB_PORT not in turn.observed


async def test_drift_heals_by_itself_at_the_resync() -> None:
    async with running(Loop(gateway_state(BLOG), resync=0.01)) as loop:
        await loop.reconciler.wait_turn(1)
        loop.actuator.lose_key(WEB_PORT)
        while "0.0.0.0:443" not in loop.ports:
            await loop.reconciler.wait_turn(loop.status.turn + 1)

    assert loop.status.generation == 1


async def test_what_nobody_asked_for_is_closed() -> None:
    state = gateway_state(MAIL)
    extra = resources(gateway_state(BLOG))[WEB_PORT]
    actuator = FakeActuator({WEB_PORT: Observed(spec=extra, phase=Phase.OPEN)})

    async with running(Loop(state, actuator=actuator)) as loop:
        turn = await loop.reconciler.wait_turn(1)

    assert turn.in_force
    assert loop.ports == {"0.0.0.0:25"}


async def test_a_bad_reading_changes_nothing_and_is_reported_until_it_is_mended() -> None:
    async with running(Loop(gateway_state(BLOG))) as loop:
        await loop.reconciler.wait_turn(1)
        loop.source.spoil()
        spoiled = await loop.turn()
        during = loop.status
        loop.source.put(gateway_state(BLOG))
        mended = await loop.turn()

    assert (spoiled.problems, spoiled.outcomes, spoiled.generation) == ((PROBLEM,), (), 1)
    assert (during.problems, during.observed_generation) == ((PROBLEM,), 1)
    assert loop.ports == {"0.0.0.0:443"}
    assert (mended.problems, mended.generation, mended.fresh) == ((), 1, False)


async def test_drift_is_healed_also_while_the_file_is_broken() -> None:
    async with running(Loop(gateway_state(BLOG))) as loop:
        await loop.reconciler.wait_turn(1)
        loop.source.spoil()
        loop.actuator.lose_key(WEB_PORT)
        await loop.turn()

    assert loop.ports == {"0.0.0.0:443"}


@pytest.mark.parametrize(
    "error", [PermissionError(13, "Permission denied"), OSError(28, "No space left"), KeyError("oops")]
)
async def test_whatever_a_reading_raises_the_loop_goes_on_with_the_last_good_state(error: Exception) -> None:
    async with running(Loop(gateway_state(BLOG))) as loop:
        await loop.reconciler.wait_turn(1)
        loop.source.error = error
        failed = await loop.turn()
        loop.source.error = None
        loop.source.put(gateway_state(MAIL))
        mended = await loop.turn()

    assert failed.defect is error
    assert (failed.generation, failed.in_force, failed.outcomes) == (1, True, ())
    (problem,) = failed.problems
    assert type(error).__name__ in problem.message
    assert (mended.generation, mended.problems, mended.in_force) == (2, (), True)


async def test_while_no_state_is_known_nothing_is_touched() -> None:
    extra = resources(gateway_state(BLOG))[WEB_PORT]
    actuator = FakeActuator({WEB_PORT: Observed(spec=extra, phase=Phase.OPEN)})

    async with running(Loop(None, actuator=actuator)) as loop:
        loop.source.spoil()
        turn = await loop.turn()

    assert (turn.generation, turn.in_force, turn.problems) == (0, False, (PROBLEM,))
    assert actuator.performed == []
    assert loop.status.state is None


async def test_what_is_still_in_flight_keeps_the_generation_out_of_force() -> None:
    loop = Loop(gateway_state(BLOG))
    async with running(loop):
        await loop.reconciler.wait_turn(1)
        spec = loop.actuator.world[WEB_PORT].spec
        loop.actuator.world[WEB_PORT] = Observed(spec=spec, phase=Phase.OPENING)
        turn = await loop.turn()

    assert (turn.outcomes, turn.failed, turn.in_force) == ((), {}, False)


async def test_an_actuator_that_claims_success_is_not_believed_before_it_shows() -> None:
    class Forgetful(FakeActuator):
        def observe(self) -> dict[Key, Observed]:
            return {key: seen for key, seen in self.world.items() if key != WEB_PORT}

    async with running(Loop(gateway_state(BLOG), actuator=Forgetful())) as loop:
        turn = await loop.reconciler.wait_turn(1)

    assert all(outcome.error is None for outcome in turn.outcomes)
    assert not turn.in_force


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


steps = st.lists(
    st.one_of(
        st.tuples(st.just("declare"), st.sets(st.sampled_from([25, 443, 8443]))),
        st.tuples(st.just("break"), st.sampled_from([25, 443, 8443]).map(lambda port: {port})),
        st.tuples(st.just("mend"), st.just(set[int]())),
        st.tuples(st.just("lose"), st.sampled_from([25, 443, 8443]).map(lambda port: {port})),
        st.tuples(st.just("spoil"), st.just(set[int]())),
        st.tuples(st.just("turn"), st.just(set[int]())),
    ),
    max_size=12,
)


@settings(max_examples=40, deadline=None)
@given(steps)
async def test_whatever_happened_the_last_good_state_is_in_force_once_nothing_fails(
    story: list[tuple[str, set[int]]],
) -> None:
    def declared(ports: set[int]) -> State:
        return gateway_state(*(tunnel(f"t{port}", f"0.0.0.0:{port}") for port in sorted(ports)))

    last = declared({443})
    loop = Loop(last, random=lambda: 0.0)
    async with running(loop):
        await loop.turn()
        for step, ports in story:
            keys = [Key(kind=Kind.LISTENER, name=f"0.0.0.0:{port}") for port in ports]
            match step:
                case "declare":
                    last = declared(ports)
                    loop.source.put(last)
                    await loop.turn()
                case "break":
                    loop.actuator.break_key(keys[0], TAKEN)
                case "mend":
                    loop.actuator.mend_all()
                case "lose":
                    loop.actuator.world.pop(keys[0], None)
                case "spoil":
                    loop.source.spoil()
                case _:
                    await loop.turn()
        loop.actuator.mend_all()
        turn = await loop.turn()
        while not turn.in_force:
            turn = await loop.turn()

    assert turn.observed == {
        key: Observed(spec=spec, phase=Phase.OPEN) for key, spec in resources(last).items()
    }
    assert loop.status.observed_generation == loop.status.generation
