"""What both roles do while they run: reconcile, watch, and serve the admin socket.

Rule: how an agent begins and ends is decided here. It starts only on a state that
is valid, it has started when that state has been applied, and when it stops it
closes what it opened and changes nothing that is desired.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import anyio

from reconcile.loop import Reconciler
from reconcile.source import FileSource
from reconcile.watch import watch
from schemas.errors import Problem

from .actuator import ResourceActuator
from .api.identity import on_unix_socket
from .api.loading import LoadApp
from .api.server import serve_api
from .key_watch import KeyWatch

_CLOSE_TIMEOUT: Final = 5.0  # seconds that closing everything may take


async def keep(
    *,
    source: FileSource,
    key_watch: KeyWatch[Any],
    reconciler: Reconciler,
    actuator: ResourceActuator,
    load: LoadApp,
    listening: socket.socket,
    background: Sequence[Callable[[], Coroutine[Any, Any, Any]]] = (),
    started: Callable[[], None],
) -> tuple[Problem, ...]:
    """Keep a state in force until cancelled. Returns only if there is none: with the problems of its files.

    :param load: gives the API.
    :param listening: the admin socket.
    :param background: what else runs meanwhile.
    :param started: called once, when the first state has been applied.
    """
    problems: tuple[Problem, ...] = ()

    def ring() -> None:
        reconciler.ring()
        key_watch.ring()

    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(reconciler.run)
            turn = await reconciler.wait_turn(1)
            if turn.generation:
                tasks.start_soon(key_watch.run)
                tasks.start_soon(watch, _Files(source, key_watch), ring)
                for task in background:
                    tasks.start_soon(task)
                await tasks.start(partial(serve_api, load, listening, identify=on_unix_socket))
                started()
            else:
                problems = turn.problems
                tasks.cancel_scope.cancel()
    finally:
        with anyio.move_on_after(_CLOSE_TIMEOUT, shield=True):
            await actuator.close_all()
    return problems


class _Files:
    """Everything on the disk that an agent depends on, for the one watch there is."""

    def __init__(self, source: FileSource, key_watch: KeyWatch[Any]) -> None:
        self._parts = (source, key_watch)

    def watch_directories(self) -> set[Path]:
        return set().union(*(part.watch_directories() for part in self._parts))
