"""A change that is undone unless somebody confirms it, for people who manage a machine through its tunnel.

Rule: the agent alone counts the time, and this file alone knows how far a change is::

    NONE ─────► PENDING ──confirmed──► CONFIRMED
                   │
                   └──time is up, or somebody does not want it──► RESTORING ─┬─► RESTORED
                                                                             └─► LEFT

Each of the last three can be followed by PENDING. What is pending is on the disk before
anything is changed, beside the state file, where it is found without understanding
that file: so it outlives the terminal, the agent and the machine. At the start of an
agent whose time was up meanwhile, the old files are back before the first state is read.

Old files are put back only if every file is still what the change made of it, or what
it was before. If somebody has changed one since, all of them stay as they are.

The deadline is one of the wall clock, which jumps. While the agent runs it counts by
itself; when it starts again, there is never more time left than there was at first.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import anyio
import structlog
from anyio import to_thread

from reconcile.journal import Terms
from reconcile.placing import NotPlaceableError
from reconcile.reading import StateText
from schemas.confirmation import ConfirmationReport, ConfirmationRequest, Stage
from schemas.errors import TidegateError

from .undoing import (
    Keeping,
    Noted,
    Undone,
    finish_orphan,
    keep,
    note_path,
    put_back,
    read_pending,
    write_note,
)

_RETRY: Final = 5.0  # seconds until a disk that did not take the old files is tried again

_TIME_IS_UP: Final = "nobody confirmed it in time"
_UNWANTED: Final = "somebody did not want to keep it"

_log: Any = structlog.get_logger("confirmation")


class NotPendingError(TidegateError):
    """There is nothing to confirm; the message says why."""


class NotArmedError(TidegateError):
    """The change could not be undone, or another one is pending; the message says what to do."""


class Confirmation:
    """The owner of the change of one agent that has to be confirmed.

    :param state: the state of the agent, a file or a directory of fragments.
    """

    def __init__(self, state: Path, *, clock: Callable[[], datetime]) -> None:
        self._state = Path(os.path.abspath(state))  # noqa: PTH100 - Path.resolve would follow links
        self._clock = clock
        self._stage = Stage.NONE
        self._message = "no change is waiting to be confirmed"
        self._pending: Noted | None = None
        self._due = 0.0  # on the clock of the event loop
        self._cause = _TIME_IS_UP
        self._changed = anyio.Event()
        self._settled = anyio.Event()
        self._one_at_a_time = anyio.Lock()

    @property
    def warnings(self) -> tuple[str, ...]:
        """What whoever looks at the agent should know of it."""
        match self._stage:
            case Stage.RESTORED if self._cause is _UNWANTED:  # whoever wanted it knows
                return ()
            case Stage.PENDING | Stage.RESTORING | Stage.RESTORED | Stage.LEFT:
                return (self._message,)
            case Stage.NONE | Stage.CONFIRMED:
                return ()

    def report(self) -> ConfirmationReport:
        """How far the last change is."""
        pending = self._pending
        return ConfirmationReport(
            stage=self._stage,
            message=self._message,
            deadline=None if pending is None else pending.terms.deadline,
            seconds_left=max(0.0, self._due - anyio.current_time()) if self._stage is Stage.PENDING else None,
            files=() if pending is None else tuple(pending.names),
        )

    async def begin(self) -> None:
        """Take up what an earlier process has left, before the first state is read."""
        try:
            noted = await to_thread.run_sync(read_pending, self._state)
        except (OSError, ValueError) as error:
            _log.error("confirmation_unreadable", path=str(note_path(self._state)), reason=str(error))
            noted = None
        if noted is not None:
            await self._take_up(noted)
        if self._stage is Stage.NONE:
            try:
                await to_thread.run_sync(finish_orphan, self._state)
            except (OSError, TidegateError) as error:
                _log.error("replacing_not_finished", reason=str(error))

    async def _take_up(self, noted: Noted) -> None:
        left = (noted.terms.deadline - self._clock()).total_seconds()
        self._count(noted, seconds=min(max(left, 0.0), noted.terms.within))
        if left <= 0:
            await self._restore()

    async def run(self, *, excuse: Callable[[Sequence[StateText]], None], ring: Callable[[], object]) -> None:
        """Count until cancelled, and put the old files back when nobody confirms.

        :param excuse: told the old files before they are put back, for they are no accident.
        :param ring: called when they are.
        """
        while True:
            waits = self._stage in (Stage.PENDING, Stage.RESTORING)
            with anyio.CancelScope(deadline=self._due if waits else float("inf")):
                await self._changed.wait()
            self._changed = anyio.Event()
            async with self._one_at_a_time:
                if self._pending is not None and anyio.current_time() >= self._due:
                    await self._restore(excuse)
                    ring()

    async def arm(self, request: ConfirmationRequest) -> ConfirmationReport:
        """Let a change that is about to be made be undone, unless it is confirmed.

        :raises NotArmedError: if it could not be, or another one is pending.
        """
        # Whether or not the caller is still there, what is on the disk and what is remembered are the same.
        with anyio.CancelScope(shield=True):
            await self._arm(request)
        return self.report()

    async def confirm(self) -> ConfirmationReport:
        """Keep the change.

        :raises NotPendingError: if there is none, or it is too late.
        """
        with anyio.CancelScope(shield=True):
            await self._confirm()
        return self.report()

    async def undo(self) -> ConfirmationReport:
        """Do not wait for the deadline; returns when the old files are back, or could not be put back.

        :raises NotPendingError: if nothing is pending.
        """
        if self._pending is None:
            raise NotPendingError(self._message)
        settled, self._cause = self._settled, _UNWANTED
        self._due = anyio.current_time()
        self._changed.set()
        await settled.wait()
        return self.report()

    # Its stages

    async def _arm(self, request: ConfirmationRequest) -> None:
        async with self._one_at_a_time:
            if self._pending is not None:
                until = _spell(self._pending.terms.deadline)
                raise NotArmedError(
                    f"another change is to be confirmed by {until}: keep it with tidegate confirm, or "
                    "undo it with tidegate rollback"
                )
            deadline = self._clock() + timedelta(seconds=request.within)
            terms = Terms(deadline=deadline, within=request.within)
            try:
                noted = await to_thread.run_sync(write_note, self._state, request, terms)
            except NotPlaceableError as error:
                raise NotArmedError(f"the agent could not put the old files back: {error}") from error
            self._count(noted, seconds=request.within)

    async def _confirm(self) -> None:
        async with self._one_at_a_time:
            if self._pending is None:
                raise NotPendingError(self._message)
            names = self._pending.names
            change = f"the change of {', '.join(names)}"
            try:
                kept = await to_thread.run_sync(keep, self._state, self._pending)
            except (OSError, TidegateError) as error:
                raise NotPendingError(
                    f"the change cannot be confirmed, and will be undone: {error}"
                ) from error
            match kept:
                case Keeping.KEPT:
                    self._end(Stage.CONFIRMED, f"{change} was confirmed")
                    _log.info("change_confirmed", files=names)
                case Keeping.NOT_THERE:
                    raise NotPendingError(
                        f"{change} is not in place, so it cannot be confirmed: put it in place first, or "
                        "undo it with tidegate rollback"
                    )
                case Keeping.ENDED:
                    reason = "another process has ended it"
                    self._end(
                        Stage.LEFT, f"{change} was not confirmed, for {reason}: look which files are there"
                    )
                    _log.warning("change_left", files=names, reason=reason)
                    raise NotPendingError(self._message)

    def _count(self, pending: Noted, *, seconds: float) -> None:
        self._stage, self._pending, self._cause = Stage.PENDING, pending, _TIME_IS_UP
        self._due = anyio.current_time() + seconds
        self._message = (
            f"{', '.join(pending.names)} must be confirmed by {_spell(pending.terms.deadline)}, or the "
            "old state comes back: keep the new one with tidegate confirm"
        )
        _log.info("confirmation_pending", deadline=_spell(pending.terms.deadline), files=pending.names)
        self._changed.set()

    async def _restore(self, excuse: Callable[[Sequence[StateText]], None] = lambda texts: None) -> None:
        pending = self._pending
        if pending is None:
            return
        self._stage = Stage.RESTORING
        names = ", ".join(pending.names)
        try:
            undone = await to_thread.run_sync(put_back, self._state, pending, excuse)
        except (OSError, TidegateError) as error:
            self._message = (
                f"the change of {names} should be undone, for {self._cause}, and cannot be: {error}"
            )
            self._due = anyio.current_time() + _RETRY
            _log.error("change_not_undone", files=pending.names, reason=str(error))
            self._settle()
            return
        match undone:
            case Undone.RESTORED:
                _log.warning("change_undone", files=pending.names, reason=self._cause)
                back = f"the old state is back since {_spell(self._clock())}"
                self._end(Stage.RESTORED, f"the change of {names} was undone, for {self._cause}: {back}")
            case Undone.LEFT:
                reason = "somebody has changed the files since"
                _log.warning("change_left", files=pending.names, reason=reason)
                self._end(
                    Stage.LEFT, f"the change of {names} was not undone, for {reason}: they stay as they are"
                )

    def _end(self, stage: Stage, message: str) -> None:
        self._stage, self._message, self._pending = stage, message, None
        self._settle()

    def _settle(self) -> None:
        settled, self._settled = self._settled, anyio.Event()
        settled.set()


def _spell(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
