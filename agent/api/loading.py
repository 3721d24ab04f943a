"""The HTTP stack and the app, loaded for whoever calls first.

Rule: a running agent imports Starlette and uvicorn, and what is built on them, here
and nowhere else. Nobody may ever call, and a process keeps what it has loaded: 5 MB.
It takes a moment, and takes it in a worker thread, so that no visitor waits for it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

import anyio
from anyio import to_thread

from .backend import Backend
from .identity import Identify

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from .connection import Connection

#: Gives the app that answers. Called at most once for each socket, in a worker thread.
LoadApp: TypeAlias = "Callable[[], ASGIApp]"


def load_app(backend: Backend) -> ASGIApp:
    """The API of one agent."""
    from .app import create_app  # not before somebody calls

    return create_app(backend)


class Connections:
    """Makes the connections of one socket.

    :param load: gives what they are connections to.
    """

    def __init__(self, load: LoadApp) -> None:
        self._load_app = load
        self._make: Callable[[Identify], Connection] | None = None
        self._one_at_a_time = anyio.Lock()

    async def make(self, identify: Identify) -> Connection:
        """A connection whose transport is still to be made.

        :raises Exception: whatever importing can raise, if the files of the program are no longer its own.
        """
        async with self._one_at_a_time:
            if self._make is None:
                self._make = await to_thread.run_sync(self._load)
        return self._make(identify)

    def _load(self) -> Callable[[Identify], Connection]:
        from .connection import Connection, make_config  # not before somebody calls

        return partial(Connection, make_config(self._load_app()))
