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
from http import HTTPStatus
from typing import Final, TypeVar, TypeVarTuple
from weakref import WeakValueDictionary

from anyio import CapacityLimiter, Lock, to_thread
from anyio.lowlevel import RunVar

from reconcile.apart import LostError, NotStartedError, run_apart
from reconcile.fine_turns import fine_turns
from reconcile.state_reader import SMALL

from .identity import Caller
from .problems import ApiError

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


async def judge(function: Callable[[*Ts], T], *arguments: *Ts, size: int) -> T:
    """The same of what can be pickled and raises nothing but ``ApiError``.

    :param size: bytes that it reads, or about so many. Where they are many it is done in a process of its
        own, which visitors do not notice.
    """
    if size > SMALL:
        try:
            async with room():
                found = await run_apart(_outcome, function, arguments)
        except NotStartedError:
            pass  # better slowly than not at all
        except LostError as error:
            message = f"nobody could say what it would change: {error}; nothing was changed, try again"
            raise ApiError(HTTPStatus.SERVICE_UNAVAILABLE, message) from error
        else:
            if isinstance(found, ApiError):
                raise found
            return found
    return await work(function, *arguments)


def _outcome(function: Callable[[*Ts], T], arguments: tuple[*Ts]) -> T | ApiError:
    try:
        return function(*arguments)
    except ApiError as error:
        return error


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
