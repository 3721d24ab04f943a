"""Turn after turn, while actions fail, readings fail and the world drifts."""

from __future__ import annotations

from collections.abc import Callable

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconcile.desired import Key, Kind, resources
from reconcile.loop import Turn
from reconcile.observed import Observed, Phase
from reconcile.plan import Action
from schemas.state import State
from tests.support.fake_actuator import FakeActuator

from .loops import BLOG, HOPELESS, MAIL, PROBLEM, TAKEN, WEB_PORT, Loop, MemorySource, running
from .samples import gateway_state, tunnel

pytestmark = pytest.mark.anyio


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


async def test_a_ring_that_asks_for_it_tries_at_once_what_failed_before() -> None:
    """Whoever has freed the port and says so need not wait, however often it was tried in vain."""
    loop = Loop(gateway_state(BLOG))
    loop.actuator.break_key(WEB_PORT, HOPELESS)
    async with running(loop):
        await loop.reconciler.wait_turn(1)
        loop.actuator.mend_key(WEB_PORT)
        patient = await loop.turn()
        turn = await loop.reconciler.wait_turn(loop.reconciler.ring(retry=True))

    assert patient.outcomes == ()
    assert turn.in_force
    assert loop.ports == {"0.0.0.0:443"}


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
    assert [spoiled.accepted, during.accepted, mended.accepted] == [False, False, True]
    assert loop.ports == {"0.0.0.0:443"}
    assert (mended.problems, mended.generation, mended.fresh) == ((), 1, False)


async def test_a_reading_of_which_something_was_left_out_is_accepted_all_the_same() -> None:
    """Until the next one, whose problems are others."""
    loop = Loop(gateway_state(BLOG))
    loop.source.left_out = (PROBLEM,)
    async with running(loop):
        first = await loop.reconciler.wait_turn(1)
        again = await loop.turn()
        loop.source.error = OSError("gone")
        gone = await loop.turn()

    assert [(turn.accepted, bool(turn.problems)) for turn in (first, again, gone)] == [
        (True, True),
        (True, True),
        (False, True),
    ]


async def test_drift_is_healed_also_while_the_file_is_broken() -> None:
    async with running(Loop(gateway_state(BLOG))) as loop:
        await loop.reconciler.wait_turn(1)
        loop.source.spoil()
        loop.actuator.lose_key(WEB_PORT)
        await loop.turn()

    assert loop.ports == {"0.0.0.0:443"}


async def test_a_failed_action_keeps_the_generation_out_of_force_whatever_its_resource_looks_like() -> None:
    class Forgiving(FakeActuator):
        async def perform(self, action: Action) -> None:
            await super().perform(action)
            if action.key == WEB_PORT:
                raise HOPELESS

    async with running(Loop(gateway_state(BLOG), actuator=Forgiving())) as loop:
        turn = await loop.reconciler.wait_turn(1)

    assert turn.observed[WEB_PORT].phase is Phase.OPEN
    assert (turn.failed, turn.in_force) == ({WEB_PORT: str(HOPELESS)}, False)


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


@settings(max_examples=40)
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


async def test_what_was_accepted_is_healed_while_somebody_writes_the_file_and_the_status_says_both() -> None:
    async with running(Loop(gateway_state(BLOG))) as loop:
        await loop.reconciler.wait_turn(1)
        loop.source.unsettled = PROBLEM
        loop.actuator.lose_key(WEB_PORT)
        turn = await loop.turn()

    assert loop.ports == {"0.0.0.0:443"}
    assert (turn.accepted, turn.in_force, turn.problems, turn.unsettled) == (True, True, (), PROBLEM)
    assert (loop.status.accepted, loop.status.problems) == (False, (PROBLEM,))
    assert loop.status.observed_generation == loop.status.generation == 1


async def test_what_the_source_rings_for_is_a_turn_and_it_ends_with_the_loop() -> None:
    class Ringing(MemorySource):
        has_ended = False

        async def attend(self, bell: Callable[[], object]) -> None:
            bell()
            try:
                await anyio.sleep_forever()
            finally:
                self.has_ended = True

    source = Ringing(gateway_state(BLOG))
    loop = Loop(None, source=source)
    async with running(loop):
        await loop.reconciler.wait_turn(2)

    assert source.has_ended


@pytest.mark.parametrize("error", [OSError(24, "Too many open files"), ImportError("Too many open files")])
async def test_what_cannot_be_told_for_want_of_a_file_is_told_later_and_in_order(error: Exception) -> None:
    told: list[int] = []
    lacks_files = True

    def tell(turn: Turn) -> None:
        if lacks_files:
            raise error
        told.append(turn.number)

    loop = Loop(gateway_state(BLOG), report=tell)
    async with running(loop):
        await loop.turn()
        await loop.turn()
        lacks_files = False
        last = await loop.turn()
        await anyio.wait_all_tasks_blocked()

    assert told == list(range(1, last.number + 1))
