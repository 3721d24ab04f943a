"""Reading files as the loop does: again, whenever what was unsettled has settled."""

from __future__ import annotations

from math import inf

import anyio

from reconcile.reading import RestlessError, Snapshot
from reconcile.source import Loaded, Source


async def attend_once(source: Source) -> None:
    """Until the bell rings."""
    rung = anyio.Event()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(source.attend, rung.set)
        await rung.wait()
        tasks.cancel_scope.cancel()


async def load_settled(source: Source) -> Loaded:
    """What is read once everything has settled."""
    while (loaded := await source.load()).unsettled is not None:
        await attend_once(source)
    return loaded


async def never_settle(snapshot: Snapshot, read: object, accepted: object, *, limit: float = inf) -> Snapshot:
    """In the place of ``settle``: whatever differs is being written, on and on."""
    if limit > 0:
        await anyio.sleep_forever()
    raise RestlessError(snapshot.texts[0].name, "somebody is still writing it")
