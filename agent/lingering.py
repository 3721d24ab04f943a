"""Half-closed connections that have stopped moving.

Rule: a connection of which one direction has ended may go on for as long as bytes
move; one that stands still for the limit is dropped, not sooner and at most a
quarter of the limit later. Without this, each visitor that vanishes after its last
request would stay for ever.
"""

from __future__ import annotations

from typing import Final, Protocol

import anyio

_LOOKS: Final = 4  # times that each connection is looked at within the limit


class Connection(Protocol):
    """What can stand still; a ``Relay`` is one."""

    @property
    def progress(self) -> int:
        """A number that changes whenever a byte moves."""

    def abort(self) -> None:
        """Give it up."""


class Lingering:
    """The half-closed connections of one session.

    :param limit: seconds without progress.
    """

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._another_limit = anyio.Event()
        # Where each was when it last moved, and how many whole times between two looks it has stood there.
        self._connections: dict[Connection, tuple[int, int]] = {}

    def set_limit(self, limit: float) -> None:
        """Go by another limit. What has stood still for it by the next look has stood still long enough."""
        self._limit = limit
        self._another_limit.set()
        self._another_limit = anyio.Event()

    def add(self, connection: Connection) -> None:
        self._connections[connection] = (connection.progress, -1)  # the next look comes too soon to count

    def discard(self, connection: Connection) -> None:
        self._connections.pop(connection, None)

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            await self._look_later()

    async def run_out(self) -> None:
        """Look until there is none left: the session is over, and last bytes are still to be taken."""
        while self._connections:
            await self._look_later()

    async def _look_later(self) -> None:
        with anyio.move_on_after(self._limit / _LOOKS):
            await self._another_limit.wait()
            return
        self.look()

    def look(self) -> None:
        """Drop what has not moved for as many times between two looks as fill the limit."""
        for connection, (before, still) in list(self._connections.items()):
            now = connection.progress
            if now != before:
                self._connections[connection] = (now, 0)
            elif still + 1 < _LOOKS:
                self._connections[connection] = (before, still + 1)
            else:
                del self._connections[connection]
                connection.abort()
