"""When files that have changed are complete enough to be read as what somebody wants.

Rule: this file alone decides how long a change is looked at before it counts. A file
that is being rewritten in place is half of itself for a while, and the half may be
valid: a shorter list of tunnels. A file that is being replaced may be gone for a
moment, and a directory of fragments without one of them is valid, too. So

- a changed file that nobody has open for writing counts at once;
- where that cannot be told, and when a file is gone, the change counts once nothing
  has changed for a little while;
- while somebody has it open for writing, or Git is in the middle of a commit, it counts
  once nothing has changed for longer than who writes a file takes between two parts.

Whoever opens a file, writes half, closes it and comes back later cannot be told from one who has finished.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import anyio
from anyio import to_thread

from .reading import RestlessError, Snapshot, StateText
from .writers import Writers, is_git_at_work, writers_of

QUIET: Final = 0.5
"""Seconds without a change after which a file is taken for complete."""

PATIENCE: Final = 5.0
"""The same where somebody is known to be at work."""

LIMIT: Final = 15.0
"""Seconds after which files that have not settled are worth a word."""

_STEP: Final = 0.1


async def settle(
    snapshot: Snapshot,
    read: Callable[[], Snapshot],
    accepted: Sequence[StateText],
    *,
    quiet: float = QUIET,
    patience: float = PATIENCE,
    limit: float = LIMIT,
) -> Snapshot:
    """That snapshot once what differs from the accepted texts has settled, or a later one that has.

    What has not settled for long is looked at less often.

    :param read: takes another snapshot. Called in a worker thread.
    :param limit: seconds; with none, the files are looked at once.
    :raises RestlessError: if the files do not settle.
    :raises UnreadableError: what ``read`` raises.
    """
    begun = unchanged_since = anyio.current_time()
    while True:
        rest = await to_thread.run_sync(_rest, snapshot, accepted, quiet, patience)
        # Read again after asking who writes: in between, a writer may have written on and finished.
        later = await to_thread.run_sync(read)
        now = anyio.current_time()
        if _theirs(later.texts) != _theirs(snapshot.texts):
            unchanged_since, rest = now, _STEP
        snapshot = later
        if now >= unchanged_since + rest:
            return snapshot
        if now >= begun + limit and (unsettled := _changed(snapshot, accepted)):
            raise RestlessError(unsettled[0], "somebody is still writing it; it is read again soon")
        step = max(_STEP, min(QUIET, (now - begun) / 10))
        await anyio.sleep(min(step, unchanged_since + rest - now))


def _rest(snapshot: Snapshot, accepted: Sequence[StateText], quiet: float, patience: float) -> float:
    """For how many seconds this must have been unchanged to count."""
    rests = {Writers.NOBODY: 0.0, Writers.UNKNOWN: quiet, Writers.SOMEBODY: patience}
    changed = [Path(name) for name in _changed(snapshot, accepted)]
    if changed and is_git_at_work(changed[0]):
        return patience
    return max((rests[writers_of(path)] for path in changed), default=0.0)


def _changed(snapshot: Snapshot, accepted: Sequence[StateText]) -> list[str]:
    """The names of the operator's files that are others than before, or gone.

    The owned fragment is only ever replaced whole.
    """
    before, now = _theirs(accepted), _theirs(snapshot.texts)
    return sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))


def _theirs(texts: Sequence[StateText]) -> dict[str, bytes]:
    return {text.name: text.data for text in texts if not text.owned}
