"""Turn after turn: load, observe, plan, execute, verify, report.

Rule: this file alone decides when a turn begins. It is rung (by the watcher, by
the source, by the API, by an actuator that has news), or a failed resource is due for its retry,
or the slow resync has come, which heals drift that nobody rang for. Whatever the
occasion, a turn is the same: it looks at what is wanted and what runs, so bells
merge and none carries a meaning.

A reading that fails in any way is a problem in the status and changes nothing: the
turn goes on with the last accepted state. Without one nothing is planned, because
a state that is not known is not an empty one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from types import MappingProxyType
from typing import Final

import anyio
from anyio import to_thread

from schemas.errors import Problem, TidegateError
from schemas.state import State

from .actuator import Actuator
from .desired import Key, Spec, resources
from .execute import Outcome, execute
from .fine_turns import fine_turns
from .next_resources import next_resources
from .observed import ObservedState, Phase
from .plan import make_plan
from .retrying import Retries
from .source import NOTHING_LOADED, Loaded, Source

RESYNC_INTERVAL: Final = 30.0
_TELL_AGAIN: Final = 5.0  # seconds until what could not be reported is reported again
_MOST_UNTOLD: Final = 100  # turns
_NO_KEYS: Final[Mapping[Key, str]] = MappingProxyType({})


class ReconcilerStoppedError(TidegateError):
    """The loop has ended, so the turn that was waited for will never come."""

    def __init__(self) -> None:
        super().__init__("the agent is stopping; ask again once it runs")


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One turn, after it has ended."""

    number: int  # counted from 1
    state: State | None  # the accepted one, None if there never was one
    generation: int  # 0: no state was accepted yet
    fresh: bool  # whether this turn accepted that generation
    problems: tuple[Problem, ...]  # of the newest reading
    accepted: bool = True  # whether that reading is the state that counts; its problems are what was left out
    outcomes: tuple[Outcome, ...]  # of the actions of this turn
    observed: ObservedState  # after them
    failed: Mapping[Key, str]  # what is not in force because it failed, now or earlier, and why
    in_force: bool  # whether the machine is exactly as the generation asks
    unsettled: Problem | None = None
    """Who is waited for: files are being changed, and in that reading those accepted before stood in."""
    defect: Exception | None = field(default=None, compare=False)
    """What the source raised, if it raised anything at all; log it with its traceback."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconcileStatus:
    """How things stood when the last turn ended."""

    state: State | None = None  # the accepted one, None if there never was one
    generation: int = 0
    observed_generation: int = 0  # the last generation that was in force as a whole
    digest: str = ""
    loaded_at: datetime | None = None  # when that generation was accepted
    problems: tuple[Problem, ...] = ()  # of the newest reading
    accepted: bool = True  # whether that reading is the state that counts; its problems are what was left out
    failed: Mapping[Key, str] = field(default_factory=lambda: _NO_KEYS)
    turn: int = 0


@dataclass(eq=False, slots=True)
class _Waiter:
    done: anyio.Event = field(default_factory=anyio.Event)
    turn: Turn | None = None


class Reconciler:
    """The loop of one role.

    :param resync: seconds between two turns that nobody rang for.
    :param random: gives numbers from 0 up to 1, for the jitter of retries.
    :param clock: gives the time, for ``loaded_at``.
    :param report: called with each turn when it has ended. It may not block. What it raises ends the
        loop; after an OSError or ImportError it is called with that turn again.
    """

    def __init__(
        self,
        source: Source,
        actuator: Actuator,
        *,
        resync: float = RESYNC_INTERVAL,
        random: Callable[[], float],
        clock: Callable[[], datetime],
        report: Callable[[Turn], None],
    ) -> None:
        self._source = source
        self._actuator = actuator
        self._resync = resync
        self._clock = clock
        self._report = report
        self._retries = Retries(random=random, patience=resync)
        self._loaded: Loaded = NOTHING_LOADED
        self._asked: tuple[State | None, Mapping[Key, Spec]] = (None, {})
        self._left_out: tuple[Problem, ...] = ()  # of the accepted state
        self._is_impatient = False
        self._begun = 0
        self._bell = anyio.Event()
        self._last: Turn | None = None
        self._untold: deque[Turn] = deque(maxlen=_MOST_UNTOLD)
        self._waiters: dict[int, _Waiter] = {}
        self._is_stopped = False
        self._status = ReconcileStatus()

    @property
    def status(self) -> ReconcileStatus:
        """A snapshot; a later turn makes another."""
        return self._status

    @property
    def is_stopped(self) -> bool:
        """Whether there will be no other turn."""
        return self._is_stopped

    def ring(self, *, retry: bool = False) -> int:
        """Ask for a turn, from the thread of the event loop.

        :param retry: let it try again at once whatever failed before, because somebody may have mended it.
        :returns: the number of the first turn that surely sees what was done before the ring.
        """
        self._is_impatient |= retry
        self._bell.set()
        return self._begun + 1

    async def wait_turn(self, number: int) -> Turn:
        """The turn of that number, once it has ended; the last one, if it ended before this call.

        :raises ReconcilerStoppedError: if the loop ends first.
        """
        if self._last is not None and self._last.number >= number:
            return self._last
        if self._is_stopped:
            raise ReconcilerStoppedError
        waiter = self._waiters.setdefault(number, _Waiter())
        await waiter.done.wait()
        if waiter.turn is None:
            raise ReconcilerStoppedError
        return waiter.turn

    async def run(self) -> None:
        """Turn until cancelled. The first turn begins at once."""
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._source.attend, self.ring)
                await self._turn_on_and_on()
        finally:
            self._is_stopped = True
            for waiter in self._waiters.values():
                waiter.done.set()

    async def _turn_on_and_on(self) -> None:
        while True:
            self._untold.append(await self._take_turn())
            pause = self._resync if self._tell() else min(self._resync, _TELL_AGAIN)
            deadline = min(anyio.current_time() + pause, self._retries.next_due())
            with anyio.CancelScope(deadline=deadline):
                await self._bell.wait()

    def _tell(self) -> bool:
        """Report all turns that were not; False if that cannot be done now.

        What speaks of mistakes is loaded when there is one. That takes a file, and where the process can open
        no other, just that may be the mistake: an agent goes on, and tells of it later.
        """
        try:
            while self._untold:
                self._report(self._untold[0])
                self._untold.popleft()
        except (OSError, ImportError):
            return False
        return True

    async def _take_turn(self) -> Turn:
        self._begun += 1
        self._bell = anyio.Event()  # a ring from here on is for the next turn
        is_impatient, self._is_impatient = self._is_impatient, False
        loaded, defect = await self._load()
        if loaded.fresh:
            self._left_out = loaded.problems
        if loaded.fresh or is_impatient:
            # Somebody changed something: what failed before may work now.
            self._retries.release()
        outcomes: tuple[Outcome, ...] = ()
        desired: Mapping[Key, Spec] = {}
        if loaded.state is not None:
            desired = await self._ask(loaded.state)
            held = self._retries.held(desired, now=anyio.current_time())
            plan = make_plan(desired, self._actuator.observe(), held=held)
            outcomes = await execute(plan, self._actuator)
            self._retries.note(outcomes, held=held, now=anyio.current_time())
        observed = MappingProxyType(dict(self._actuator.observe()))
        failed = _failed(self._retries.messages(), observed)
        turn = Turn(
            number=self._begun,
            state=loaded.state,
            generation=loaded.generation,
            fresh=loaded.fresh,
            problems=loaded.problems,
            accepted=loaded.generation > 0 and loaded.problems in ((), self._left_out),
            outcomes=outcomes,
            observed=observed,
            failed=failed,
            in_force=loaded.state is not None and not failed and _is_in_force(desired, observed),
            unsettled=loaded.unsettled,
            defect=defect,
        )
        self._finish(turn, loaded)
        return turn

    async def _ask(self, state: State) -> Mapping[Key, Spec]:
        before, asked = self._asked
        if state is not before:
            if before is None:
                work = partial(resources, state)
            else:
                work = partial(next_resources, state, before=before, asked=asked)
            with fine_turns():  # for thousands of tunnels that are new this takes long
                asked = await to_thread.run_sync(work)
            self._asked = state, asked
        return asked

    async def _load(self) -> tuple[Loaded, Exception | None]:
        try:
            self._loaded = await self._source.load()
        except Exception as error:  # noqa: BLE001  whatever a reading raises, the last good state stays in force
            message = f"the state could not be read ({type(error).__name__}: {error}); it is read again soon"
            problem = Problem(place=None, message=" ".join(message.split()))
            self._loaded = replace(self._loaded, problems=(problem,), fresh=False, unsettled=None)
            return self._loaded, error
        return self._loaded, None

    def _finish(self, turn: Turn, loaded: Loaded) -> None:
        before, unsettled = self._status, loaded.unsettled
        self._status = ReconcileStatus(
            state=loaded.state,
            generation=loaded.generation,
            observed_generation=loaded.generation if turn.in_force else before.observed_generation,
            digest=loaded.digest,
            loaded_at=self._clock() if loaded.fresh else before.loaded_at,
            problems=loaded.problems if unsettled is None else (*loaded.problems, unsettled),
            accepted=turn.accepted and unsettled is None,
            failed=turn.failed,
            turn=turn.number,
        )
        self._last = turn
        for number in [number for number in self._waiters if number <= turn.number]:
            waiter = self._waiters.pop(number)
            waiter.turn = turn
            waiter.done.set()


def _failed(remembered: Mapping[Key, str], observed: ObservedState) -> Mapping[Key, str]:
    # What the actuator shows is newer than what an outcome said.
    shown = {key: seen.message for key, seen in observed.items() if seen.phase is Phase.FAILED}
    return MappingProxyType({**remembered, **shown})


def _is_in_force(desired: Mapping[Key, Spec], observed: ObservedState) -> bool:
    """Whether exactly what is desired runs: nothing less, nothing else, nothing more, nothing in flight."""
    return len(desired) == len(observed) and all(
        (seen := observed.get(key)) is not None
        and seen.phase is Phase.OPEN
        and (seen.spec is spec or seen.spec == spec)
        for key, spec in desired.items()
    )
