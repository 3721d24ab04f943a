"""The parts of a status report that both roles share.

Rule: values of the reconcile room become values of the status report here, and
nothing is decided but what counts as ready, and how things are counted in words.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from reconcile.desired import Key, order_of
from reconcile.loop import ReconcileStatus
from reconcile.observed import Observed, ObservedState
from schemas.errors import Problem
from schemas.status import LinkPhase, LinkStatus, ProblemStatus, Renewal, ResourceStatus, SourceStatus


def counted(count: int, noun: str) -> str:
    """``1 tunnel``, ``3 tunnels``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def is_ready(status: ReconcileStatus) -> bool:
    """Whether the accepted state is in force as a whole."""
    return status.generation > 0 and status.observed_generation == status.generation and not status.failed


def is_reached(links: Collection[LinkStatus]) -> bool:
    """Whether a gateway is, by the sessions of one number to its addresses, and with the settings of now."""
    if any(link.phase is LinkPhase.CONNECTED and link.renewal is Renewal.DONE for link in links):
        return True
    # The one beside which another stands by may itself be on the settings of before.
    are_new = all(link.renewal is Renewal.DONE for link in links)
    return are_new and any(link.phase is LinkPhase.STANDBY for link in links)


def source_status(path: Path, status: ReconcileStatus) -> SourceStatus:
    """Where desired state comes from, and what is wrong with it."""
    return SourceStatus(
        path=str(path),
        generation=status.generation,
        observed_generation=status.observed_generation,
        digest=status.digest,
        loaded_at=status.loaded_at,
        accepted=status.accepted,
        problems=tuple(problem_status(problem) for problem in status.problems),
    )


def problem_status(problem: Problem) -> ProblemStatus:
    """A problem as a value that can be sent."""
    place = problem.place
    return ProblemStatus(
        file=place.file if place is not None else None,
        line=place.line if place is not None else None,
        col=place.col if place is not None else None,
        message=problem.message,
        text=str(problem),
    )


def resource_statuses(observed: ObservedState) -> tuple[ResourceStatus, ...]:
    """Every resource, in the order of the keys."""
    return ResourceStatuses().of(observed)


class ResourceStatuses:
    """Tells of the resources of one agent, of which hardly any has changed since they were told of last."""

    def __init__(self) -> None:
        self._last: tuple[ObservedState, tuple[ResourceStatus, ...]] = ({}, ())

    def of(self, observed: ObservedState) -> tuple[ResourceStatus, ...]:
        """Every resource, in the order of the keys. May be called in a worker thread as well."""
        seen, told = self._last
        if observed is not seen:
            before = dict(zip(sorted(seen, key=order_of), told, strict=True))
            told = tuple(
                before[key] if seen.get(key) is observed[key] else _resource_status(key, observed[key])
                for key in sorted(observed, key=order_of)
            )
            self._last = observed, told
        return told


def _resource_status(key: Key, seen: Observed) -> ResourceStatus:
    return ResourceStatus(kind=key.kind.value, name=key.name, phase=seen.phase.value, message=seen.message)
