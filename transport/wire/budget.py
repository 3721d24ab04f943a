"""How many bytes may be promised, of one session and of the whole process.

Rule: a budget is a count with a limit, and perhaps a budget above it. What is
reserved in one is reserved in all above it, or in none; who reserves says when it
is given back.

Nobody may have more than is left for everybody else. What was promised cannot be taken
back, and whoever comes first may keep it for days without a use for it: a few long
downloads, or two clients that answer pings late, would else leave nothing to anybody.
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
        """What can still be reserved, by all together."""
        own = self.limit - self.used
        return own if self._above is None else min(own, self._above.left_for(self.used))

    def left_for(self, has: int) -> int:
        """What can be reserved by one who has so much already."""
        return max(0, (self.free - has) // 2)

    def reserve(self, wanted: int, *, has: int = 0) -> int:
        """Reserve as much of that as there is for one who has so much already; how much it was."""
        size = max(0, min(wanted, self.left_for(has)))
        self.count(size)
        return size

    def count(self, size: int) -> None:
        """Take note of what was reserved here, or in a part of this."""
        self.used += size
        if self._above is not None:
            self._above.count(size)

    def release(self, size: int) -> None:
        """Give back what was reserved."""
        self.used -= size
        if self._above is not None:
            self._above.release(size)
