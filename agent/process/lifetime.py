"""From the start of an agent to its end.

Rule: whether an agent runs, drains or has stopped is known here and nowhere else, and
it only ever goes on in this order. What a drain comes to is decided in ``keeping``.
"""

from __future__ import annotations

import anyio

from schemas.status import Life


class Lifetime:
    """Where one agent is. Whoever wants it to end asks here."""

    def __init__(self) -> None:
        self._life = Life.RUNNING
        self._asked = anyio.Event()

    @property
    def life(self) -> Life:
        return self._life

    @property
    def is_running(self) -> bool:
        """Whether it takes on anything new."""
        return self._life is Life.RUNNING

    def ask_to_stop(self) -> None:
        """Let it drain and then end. Asking again changes nothing."""
        self._asked.set()

    async def wait_asked(self) -> None:
        """Wait until somebody wants it to end."""
        await self._asked.wait()

    def drain(self) -> None:
        """From now on nothing new is taken on."""
        if self._life is Life.RUNNING:
            self._life = Life.DRAINING

    def stop(self) -> None:
        """It is over, after a drain or without one."""
        self._life = Life.STOPPED
