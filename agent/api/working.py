"""Work that the API does for whoever calls: how much of it at a time.

Rule: what takes long for a caller's sake has a few threads of its own, and waits for
one of them. However much is asked, the agent's own work finds a thread at once: reading
the state and the keys, keeping what was accepted, undoing what nobody confirmed.

A caller that is no admin has one request of each method carried out at a time, so that
it waits for itself and not others for it. A change that takes a minute keeps nobody
from looking how it does.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final, TypeVar, TypeVarTuple
from weakref import WeakValueDictionary

from anyio import CapacityLimiter, Lock, to_thread
from anyio.lowlevel import RunVar

from reconcile.fine_turns import fine_turns

from .identity import Caller

#: Threads that compute for callers. They share one interpreter with the visitors; more of them
#: would make all of them slower and finish nothing sooner.
THREADS: Final = 2

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_room: RunVar[CapacityLimiter] = RunVar("_room")
_turns: RunVar[WeakValueDictionary[tuple[str, str], Lock]] = RunVar("_turns")


def room() -> CapacityLimiter:
    """What all work for callers has to fit into. Hold it around work that finds its threads elsewhere."""
    try:
        return _room.get()
    except LookupError:
        _room.set(CapacityLimiter(THREADS))
        return _room.get()


async def work(function: Callable[[*Ts], T], *arguments: *Ts) -> T:
    """Call a function that computes or reads from the disk, in a thread in which there is room."""
    with fine_turns():
        return await to_thread.run_sync(function, *arguments, limiter=room())


@asynccontextmanager
async def turn_of(caller: Caller, method: str) -> AsyncIterator[None]:
    """Wait until no other request of this caller with that method is carried out. An admin does not wait."""
    if caller.is_admin:
        yield
        return
    async with _turn(caller.name, method):
        yield


def _turn(name: str, method: str) -> Lock:
    try:
        turns = _turns.get()
    except LookupError:
        turns = WeakValueDictionary()
        _turns.set(turns)
    return turns.setdefault((name, method), Lock())
