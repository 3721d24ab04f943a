"""What waits in this process for a socket that does not take it.

Rule: a window bounds what one stream can make us hold, and this bounds what all of
them can. Beyond the limit, who has taken nothing for the longest time is given up,
and nobody else is disturbed. A thousand visitors who ask for something endless and
never read it would otherwise cost a window each.
"""

from __future__ import annotations

from typing import Final, Protocol

SESSION_LIMIT: Final = 128 * 1024 * 1024
PROCESS_LIMIT: Final = 256 * 1024 * 1024


class Holder(Protocol):
    """Who holds bytes for a socket."""

    @property
    def holding(self) -> int:
        """How many bytes it holds now."""

    def give_up(self) -> None:
        """Reset the stream and drop the bytes."""


class Held:
    """The bytes held in one session, or in all of them.

    :param limit: in bytes.
    :param above: the one that this is a part of.
    """

    def __init__(self, limit: int, above: Held | None = None) -> None:
        self.size = 0
        self._limit = limit
        self._above = above
        # As many as each held when it was last looked at; who has stood still for the longest is first.
        self._holders: dict[Holder, int] = {}

    def add(self, holder: Holder, size: int) -> None:
        """Hold more. Gives up as many holders as are too many, perhaps this one."""
        self._note(holder, self._holders.get(holder, 0) + size)
        while self.size > self._limit:
            self._give_up_one()
        if self._above is not None and holder in self._holders:
            self._above.add(holder, size)

    def discard(self, holder: Holder) -> None:
        """Hold nothing for this one any more. Harmless if nothing is held for it."""
        self.size -= self._holders.pop(holder, 0)
        if self._above is not None:
            self._above.discard(holder)

    def _note(self, holder: Holder, expected: int) -> bool:
        """Write down what it holds; whether it has taken something, and so goes behind all others."""
        now = holder.holding
        self.size += now - self._holders.get(holder, 0)
        moved = now < expected
        if moved:
            self._holders.pop(holder, None)
        if now:
            self._holders[holder] = now
        return moved

    def _give_up_one(self) -> None:
        holder, before = next(iter(self._holders.items()))
        if not self._note(holder, before):
            self.discard(holder)
            holder.give_up()
