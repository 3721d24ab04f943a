"""Looking at the state file and the keys now, and saying what came of it.

Rule: a report is of a turn that began after it was asked for, so it speaks of the file
as it was then or later, and of the keys. Who is just writing them is waited for. What
failed before is tried again at once: somebody who asks has reason to think that it can
be done now. A state is not in force as a whole while keys that it names will not do,
though those from before serve on.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import anyio

from reconcile.loop import Reconciler, ReconcileStatus
from reconcile.settling import LIMIT
from schemas.reload_report import KEYS, FailedResource, ReloadReport

from .reports import is_ready, problem_status

_UNKNOWN: Final = "their files were not read in time: see whether their disk answers, then ask again"


async def reload_and_report(
    reconciler: Reconciler, look_at_keys: Callable[[], Awaitable[tuple[str, ...]]], *, patience: float = LIMIT
) -> ReloadReport:
    """Ring for everything, and wait for the turn that surely saw it.

    :param look_at_keys: gives what is wrong with the files of the keys that are in use then.
    :param patience: seconds that files have to settle, and those of keys to be read; then the report says
        that they have not, or were not.
    :raises ReconcilerStoppedError: if the agent stops first.
    """
    turn = await reconciler.wait_turn(reconciler.ring(retry=True))
    with anyio.move_on_after(patience):
        while turn.unsettled is not None:
            turn = await reconciler.wait_turn(turn.number + 1)
    report = report_on(reconciler.status)
    troubles: tuple[str, ...] = (_UNKNOWN,)
    with anyio.move_on_after(patience):
        troubles = await look_at_keys()
    failed = tuple(FailedResource(resource=KEYS, message=message) for message in troubles)
    in_force = report.in_force and not failed
    return report.model_copy(update={"failed": (*report.failed, *failed), "in_force": in_force})


def report_on(status: ReconcileStatus) -> ReloadReport:
    """How things stand."""
    return ReloadReport(
        generation=status.generation,
        observed_generation=status.observed_generation,
        digest=status.digest,
        accepted=status.accepted,
        in_force=is_ready(status),
        problems=tuple(problem_status(problem) for problem in status.problems),
        failed=tuple(
            FailedResource(resource=str(key), message=message)
            for key, message in sorted(status.failed.items(), key=lambda item: item[0])
        ),
    )
