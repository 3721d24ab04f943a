"""Looking at the state file and the keys now, and saying what came of it.

Rule: a report is of a turn that began after it was asked for, so it speaks of the file
as it was then or later. Who is just writing it is waited for. What failed before is
tried again at once: somebody who asks has reason to think that it can be done now.
"""

from __future__ import annotations

from collections.abc import Callable

import anyio

from reconcile.loop import Reconciler, ReconcileStatus
from reconcile.settling import LIMIT
from schemas.reload_report import FailedResource, ReloadReport

from .reports import is_ready, problem_status


async def reload_and_report(
    reconciler: Reconciler, ring_keys: Callable[[], object], *, patience: float = LIMIT
) -> ReloadReport:
    """Ring for everything, and wait for the turn that surely saw it.

    :param ring_keys: asks for a look at the keys, which is not waited for: whether they will do is known
        only after a while, and the status tells.
    :param patience: seconds that files have to settle; then the report says that they have not.
    :raises ReconcilerStoppedError: if the agent stops first.
    """
    ring_keys()
    turn = await reconciler.wait_turn(reconciler.ring(retry=True))
    with anyio.move_on_after(patience):
        while turn.unsettled is not None:
            turn = await reconciler.wait_turn(turn.number + 1)
    return report_on(reconciler.status)


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
