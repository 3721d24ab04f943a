"""What a turn of the reconcile loop changed, as events.

Rule: an event for each thing that changed, none for a turn that changed nothing. What
is still wrong, and is tried again in vain, was said when it went wrong. What is wrong
with files is said when they have settled.

A step that is taken though the state did not change, on something that was in order
after the turn before, heals drift, and that is said: somebody should know that a port
was lost, also when it is back.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, assert_never

from reconcile.desired import Key
from reconcile.loop import Turn
from reconcile.observed import ObservedState, Phase
from reconcile.plan import Verb
from schemas.errors import Problem
from schemas.status import ProblemStatus

from .events import EventKind, Publish
from .reports import problem_status

_NOTHING: Final[Mapping[Key, str]] = MappingProxyType({})


class TurnEvents:
    """Called with every turn."""

    def __init__(self, publish: Publish) -> None:
        self._publish = publish
        self._problems: tuple[Problem, ...] = ()
        self._failed = _NOTHING
        self._in_force = 0
        self._observed: ObservedState | None = None  # None before the first turn

    def __call__(self, turn: Turn) -> None:
        self._tell_reading(turn)
        self._tell_actions(turn)
        if turn.in_force and turn.generation != self._in_force:
            self._in_force = turn.generation
            self._publish(EventKind.STATE_IN_FORCE, generation=turn.generation)
        self._observed = turn.observed

    def _tell_reading(self, turn: Turn) -> None:
        if turn.unsettled is None:
            self._tell_problems(turn)
        if turn.fresh:
            self._publish(EventKind.STATE_ACCEPTED, generation=turn.generation)

    def _tell_problems(self, turn: Turn) -> None:
        if turn.problems and turn.problems != self._problems:
            kind = EventKind.TUNNELS_LEFT_OUT if turn.accepted else EventKind.STATE_REFUSED
            problems = _statuses(turn.problems)
            self._publish(kind, generation=turn.generation, problems=problems, defect=turn.defect)
        elif self._problems and not turn.problems:
            self._publish(EventKind.STATE_MENDED, generation=turn.generation)
        self._problems = turn.problems

    def _tell_actions(self, turn: Turn) -> None:
        defects: dict[Key, Exception | None] = {}
        for outcome in turn.outcomes:
            key, verb = outcome.action.key, outcome.action.verb
            if outcome.error is not None:
                defects[key] = outcome.defect
                continue
            if not turn.fresh and self._was_in_order(key, verb):
                self._publish(EventKind.DRIFT_HEALED, resource=str(key), reason=_DRIFTS[verb])
            self._publish(_kind_of(verb), resource=str(key))
        for key, reason in turn.failed.items():
            if self._failed.get(key) != reason:
                self._publish(
                    EventKind.RESOURCE_FAILED, resource=str(key), reason=reason, defect=defects.get(key)
                )
        self._failed = turn.failed

    def _was_in_order(self, key: Key, verb: Verb) -> bool:
        """Whether there was nothing to do about it at the end of the turn before."""
        if self._observed is None or key in self._failed:
            return False
        before = self._observed.get(key)
        if verb is Verb.CLOSE:
            return before is None
        return before is not None and before.phase is Phase.OPEN


_DRIFTS: Final[Mapping[Verb, str]] = {
    Verb.OPEN: "it was lost though the state did not change",
    Verb.UPDATE: "it was not as the state says though the state did not change",
    Verb.CLOSE: "it was there though nothing asks for it",
}


def _kind_of(verb: Verb) -> EventKind:
    match verb:
        case Verb.OPEN:
            return EventKind.RESOURCE_OPENED
        case Verb.UPDATE:
            return EventKind.RESOURCE_UPDATED
        case Verb.CLOSE:
            return EventKind.RESOURCE_CLOSED
    assert_never(verb)


def _statuses(problems: tuple[Problem, ...]) -> tuple[ProblemStatus, ...]:
    return tuple(problem_status(problem) for problem in problems)
