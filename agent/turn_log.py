"""What the log says of a turn of the reconcile loop.

Rule: a line for each thing that changed, none for a turn that changed nothing.
"""

from __future__ import annotations

from typing import Any

import structlog

from reconcile.loop import Turn
from reconcile.plan import Verb
from schemas.errors import Problem

_EVENTS = {Verb.OPEN: "resource_opened", Verb.UPDATE: "resource_updated", Verb.CLOSE: "resource_closed"}


class TurnLog:
    """Called with every turn."""

    def __init__(self) -> None:
        self._log: Any = structlog.get_logger("reconcile")
        self._problems: tuple[Problem, ...] = ()
        self._in_force = 0

    def __call__(self, turn: Turn) -> None:
        if turn.problems and turn.problems != self._problems:
            self._log.error(
                "state_refused",
                problems=[str(problem) for problem in turn.problems],
                generation_in_force=turn.generation,
                exc_info=turn.defect,
            )
        elif self._problems and not turn.problems:
            self._log.info("state_mended", generation=turn.generation)
        self._problems = turn.problems
        if turn.fresh:
            self._log.info("state_accepted", generation=turn.generation)
        for outcome in turn.outcomes:
            if outcome.error is None:
                self._log.info(_EVENTS[outcome.action.verb], resource=str(outcome.action.key))
            else:
                self._log.error("resource_failed", resource=str(outcome.action.key), reason=outcome.error)
        if turn.in_force and turn.generation != self._in_force:
            self._in_force = turn.generation
            self._log.info("state_in_force", generation=turn.generation)
