"""What the log says of a turn of the reconcile loop.

Rule: a line for each thing that changed, none for a turn that changed nothing. What
is still wrong, and is tried again in vain, was said when it went wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import structlog

from reconcile.desired import Key
from reconcile.loop import Turn
from reconcile.plan import Verb
from schemas.errors import Problem

_log: Any = structlog.get_logger("reconcile")

_NOTHING: Final[Mapping[Key, str]] = MappingProxyType({})


class TurnLog:
    """Called with every turn."""

    def __init__(self) -> None:
        self._problems: tuple[Problem, ...] = ()
        self._failed = _NOTHING
        self._in_force = 0

    def __call__(self, turn: Turn) -> None:
        self._log_reading(turn)
        self._log_actions(turn)
        if turn.in_force and turn.generation != self._in_force:
            self._in_force = turn.generation
            _log.info("state_in_force", generation=turn.generation)

    def _log_reading(self, turn: Turn) -> None:
        if turn.problems and turn.problems != self._problems and turn.fresh:
            _log.error("tunnels_left_out", problems=[str(problem) for problem in turn.problems])
        elif turn.problems and turn.problems != self._problems:
            _log.error(
                "state_refused",
                problems=[str(problem) for problem in turn.problems],
                generation_in_force=turn.generation,
                exc_info=turn.defect,
            )
        elif self._problems and not turn.problems:
            _log.info("state_mended", generation=turn.generation)
        self._problems = turn.problems
        if turn.fresh:
            _log.info("state_accepted", generation=turn.generation)

    def _log_actions(self, turn: Turn) -> None:
        defects: dict[Key, Exception | None] = {}
        for outcome in turn.outcomes:
            key = outcome.action.key
            if outcome.error is not None:
                defects[key] = outcome.defect
                continue
            match outcome.action.verb:
                case Verb.OPEN:
                    _log.info("resource_opened", resource=str(key))
                case Verb.UPDATE:
                    _log.info("resource_updated", resource=str(key))
                case Verb.CLOSE:
                    _log.info("resource_closed", resource=str(key))
        for key, reason in turn.failed.items():
            if self._failed.get(key) != reason:
                _log.error("resource_failed", resource=str(key), reason=reason, exc_info=defects.get(key))
        self._failed = turn.failed
