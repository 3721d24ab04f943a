"""Starting tasks that outlive their starter.

Decision: a defect in one of them ends that one and is shown in the log. There is a
task for each client and for each visitor of a client: an agent that fell over one
would drop all the others, start again, and fall over the next.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Protocol

import structlog
from anyio.abc import TaskGroup

_log: Any = structlog.get_logger("tasks")


class Spawn(Protocol):
    """Starts a task in the task group of the role."""

    def __call__(self, function: Callable[..., Coroutine[Any, Any, Any]], /, *args: Any) -> object: ...


def spawn_nothing(function: Callable[..., Coroutine[Any, Any, Any]], /, *args: Any) -> None:
    """Where nothing is to be started."""
    raise RuntimeError(f"{getattr(function, '__qualname__', function)} has nowhere to run")


class IsolatedTasks:
    """Starts tasks of which each fails alone. Cancelling the group ends them all.

    :param tasks: the task group of the role.
    """

    def __init__(self, tasks: TaskGroup) -> None:
        self._tasks = tasks

    def __call__(self, function: Callable[..., Coroutine[Any, Any, Any]], /, *args: Any) -> None:
        self._tasks.start_soon(_run, function, args)


async def _run(function: Callable[..., Coroutine[Any, Any, Any]], args: tuple[Any, ...]) -> None:
    try:
        await function(*args)
    except Exception as error:  # noqa: BLE001 - the module docstring says why
        _log.error("task_failed", task=getattr(function, "__qualname__", "?"), exc_info=error)
