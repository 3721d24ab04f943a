"""Work that runs until it is stopped: the life of a resource that is a task.

Rule: a task that ends before it was told to is a resource that died, whatever it ended with.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import anyio

from agent.actuator import Failed
from reconcile.actuator import ActionError


class Running:
    """One such task. :meth:`run` is to be spawned, once.

    :param failed: told if it ends by itself.
    """

    def __init__(self, failed: Failed) -> None:
        self._failed = failed
        self._scope = anyio.CancelScope()
        self._ended = anyio.Event()

    async def run(self, work: Callable[..., Coroutine[Any, Any, Any]], *args: Any) -> None:
        """Work until stopped."""
        try:
            with self._scope:
                await work(*args)
            if not self._scope.cancel_called:
                self._failed(_death("it ended"))
        except Exception as error:
            self._failed(_death(f"{type(error).__name__}: {error}"))
            raise
        finally:
            self._ended.set()

    async def stop(self) -> None:
        """Cancel it, and wait until it has let go of everything."""
        self._scope.cancel()
        await self._ended.wait()


def _death(reason: str) -> ActionError:
    return ActionError(f"it stopped working ({' '.join(reason.split())})", reason="Failed")
