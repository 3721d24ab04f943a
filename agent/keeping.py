"""What both roles do while they run: reconcile, watch, and serve the admin socket.

Rule: how an agent begins and ends is decided here. It starts only on a state that
is valid, and it has started when that state has been applied. Told to stop, it
drains: nothing more is reconciled, so that nothing opens what the drain closes; it
takes on nothing new and lets what is open finish, as long as the state allows. Then
it closes what it opened, and changes nothing that is desired. Cancelled, it does the
same without the drain.

Whatever a peer does, a drain ends: at its limit, and what follows has limits too.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol

import anyio
import structlog

from reconcile.loop import Reconciler
from reconcile.source import FileSource
from reconcile.watch import watch
from schemas.errors import Problem

from .actuator import ResourceActuator
from .api.identity import on_unix_socket
from .api.loading import LoadApp
from .api.server import serve_api
from .events import EventKind, Events
from .keys.key_watch import KeyWatch, KeyWatches
from .process.lifetime import Lifetime
from .process.looking import until
from .process.running import Running

_CLOSE_TIMEOUT: Final = 5.0  # seconds that closing everything may take
# Seconds that a turn may take to notice that it is over. One that reads a disk that hangs may take any time.
_TURN_TIMEOUT: Final = 0.2

_log: Any = structlog.get_logger("agent")


class Drain(Protocol):
    """What a role does when its agent is told to stop."""

    @property
    def open(self) -> int:
        """How many connections are open still."""

    async def begin(self) -> None:
        """Take on nothing new, and tell the peers. Does not wait for them."""

    async def finish(self) -> None:
        """Drop what is open, and say goodbye to the peers."""


async def keep(
    *,
    source: FileSource,
    key_watch: KeyWatch[Any] | KeyWatches,
    reconciler: Reconciler,
    actuator: ResourceActuator,
    load: LoadApp,
    listening: socket.socket,
    background: Sequence[Callable[[], Coroutine[Any, Any, Any]]] = (),
    started: Callable[[], None],
    lifetime: Lifetime,
    drain: Drain,
    drain_limit: Callable[[], float],
    events: Events,
) -> tuple[Problem, ...]:
    """Keep a state in force until told to stop, and then drain.

    :param load: gives the API.
    :param listening: the admin socket.
    :param background: what else runs meanwhile.
    :param started: called once, when the first state has been applied.
    :param drain_limit: gives the seconds that the drain may take.
    :param events: told of the drain, and closed at the end, so that whoever reads them can be told, too.
    :returns: the problems of the files, if there is no state to keep in force.
    """
    problems: tuple[Problem, ...] = ()

    def ring() -> None:
        reconciler.ring()
        key_watch.ring()

    try:
        async with anyio.create_task_group() as tasks:
            reconciling = Running(lambda death: None)  # what it raises ends the group
            tasks.start_soon(reconciling.run, reconciler.run)
            turn = await reconciler.wait_turn(1)
            if turn.generation:
                tasks.start_soon(_close_at_the_end, events)
                tasks.start_soon(key_watch.run)
                tasks.start_soon(watch, _Files(source, key_watch), ring)
                for task in background:
                    tasks.start_soon(task)
                await tasks.start(partial(serve_api, load, listening, identify=on_unix_socket))
                started()
                await lifetime.wait_asked()
                lifetime.drain()
                with anyio.move_on_after(_TURN_TIMEOUT):
                    await reconciling.stop()
                await _drain(drain, drain_limit(), events)
            else:
                problems = turn.problems
            tasks.cancel_scope.cancel()
    finally:
        with anyio.move_on_after(_CLOSE_TIMEOUT, shield=True):
            await actuator.close_all()
        lifetime.stop()
    return problems


async def _close_at_the_end(events: Events) -> None:
    """Close the events as soon as the agent ends, in whichever way, and not after its API has."""
    try:
        await anyio.sleep_forever()
    finally:
        events.close()


async def _drain(drain: Drain, limit: float, events: Events) -> None:
    with anyio.move_on_after(_CLOSE_TIMEOUT):
        await drain.begin()
    _log.info("drain_began", open=drain.open, limit=limit)
    events.publish(EventKind.DRAIN_BEGAN, open=drain.open, limit=limit)
    with anyio.move_on_after(limit):
        await until(lambda: not drain.open)
    _log.info("drain_ended", dropped=drain.open)
    events.publish(EventKind.DRAIN_ENDED, dropped=drain.open)
    with anyio.move_on_after(_CLOSE_TIMEOUT):
        await drain.finish()


class _Files:
    """Everything on the disk that an agent depends on, for the one watch there is."""

    def __init__(self, source: FileSource, key_watch: KeyWatch[Any] | KeyWatches) -> None:
        self._parts = (source, key_watch)

    def watch_directories(self) -> set[Path]:
        return set().union(*(part.watch_directories() for part in self._parts))
