"""How much may wait for a link: as many bytes as it takes in a moment.

Rule: arithmetic on times and sizes that are passed in. What waits for a link goes out in the order in which
it came, so a small answer waits behind all the bulk that came before it. A fast link has taken that a moment
later, whatever may wait. A slow one would take half a second, and everybody's answers as long.
"""

from __future__ import annotations

from typing import Final

MOST: Final = 256 * 1024
LEAST: Final = 16 * 1024
"""Bytes: as much as a record of TLS may hold."""
MOMENT: Final = 0.010
"""Seconds. A program that is busy comes back to its links within less, and finds none of them idle."""


class Backlog:
    """What may wait for one link, in bytes: ``limit``, a multiple of the least."""

    __slots__ = ("_since", "_waiting", "limit")

    def __init__(self) -> None:
        self.limit = MOST
        self._waiting = 0
        self._since = 0.0

    def filled(self, waiting: int, now: float) -> None:
        """As much waits as may, and no more is given to the link."""
        self._waiting = waiting
        self._since = now

    def drained(self, waiting: int, now: float) -> bool:
        """The link has taken all but that; whether the limit has changed for it."""
        elapsed = now - self._since
        taken = max(0, self._waiting - waiting)
        before, self.limit = self.limit, MOST
        if taken < elapsed * (MOST / MOMENT):
            self.limit = max(LEAST, int(taken * MOMENT / elapsed) // LEAST * LEAST)
        return self.limit != before
