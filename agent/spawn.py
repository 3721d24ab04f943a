"""Starting tasks that outlive their starter."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Protocol


class Spawn(Protocol):
    """Starts a task in the task group of the role; ``TaskGroup.start_soon`` is one."""

    def __call__(self, function: Callable[..., Coroutine[Any, Any, Any]], /, *args: Any) -> object: ...
