"""How many bytes may be promised, of one session and of the whole process.

Rule: a budget is a count with a limit, and perhaps a budget above it. What is
reserved in one is reserved in all above it, or in none; who reserves says when it
is given back.
"""

from __future__ import annotations


class Budget:
    """Bytes that may be in use at once.

    :param limit: in bytes.
    :param above: a budget that this one is a part of.
    """

    __slots__ = ("_above", "limit", "used")

    def __init__(self, limit: int, above: Budget | None = None) -> None:
        self.limit = limit
        self.used = 0
        self._above = above

    @property
    def free(self) -> int:
        """What can still be reserved."""
        own = self.limit - self.used
        return own if self._above is None else min(own, self._above.free)

    def reserve(self, wanted: int) -> int:
        """Reserve as much of that as there is; how much it was."""
        size = max(0, min(wanted, self.free))
        self.used += size
        if self._above is not None:
            self._above.reserve(size)
        return size

    def release(self, size: int) -> None:
        """Give back what was reserved."""
        self.used -= size
        if self._above is not None:
            self._above.release(size)
