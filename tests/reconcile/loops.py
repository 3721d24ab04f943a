"""A reconciler with a source in memory and an actuator whose world is a dictionary."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import anyio.lowlevel

from reconcile.actuator import ActionError
from reconcile.desired import Key, Kind
from reconcile.loop import Reconciler, ReconcileStatus, Turn
from reconcile.observed import Phase
from reconcile.source import NOTHING_LOADED, Loaded
from schemas.errors import Problem
from schemas.state import State
from tests.support.fake_actuator import FakeActuator

from .samples import tunnel

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
        self.left_out: tuple[Problem, ...] = ()  # of whatever is accepted
        self.unsettled: Problem | None = None
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
            return replace(self._accepted, problems=problems, fresh=False, unsettled=self.unsettled)
        fresh = state != self._accepted.state
        generation = self._accepted.generation + fresh
        self._accepted = Loaded(
            generation=generation,
            state=state,
            problems=self.left_out,
            digest=f"digest {generation}",
            fresh=fresh,
            unsettled=self.unsettled,
        )
        return self._accepted

    async def attend(self, bell: Callable[[], object]) -> None:
        """The tests ring themselves."""

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
        source: MemorySource | None = None,
        report: Callable[[Turn], None] | None = None,
    ) -> None:
        self.source = source or MemorySource(state)
        self.actuator = actuator or FakeActuator()
        self.reports: list[Turn] = []
        self.reconciler = Reconciler(
            self.source,
            self.actuator,
            resync=resync,
            random=random,
            clock=Clock(),
            report=report or self.reports.append,
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
