"""The log of what runs in this process, as a test reads it: values, and waiting for one of them.

Rule: a test that waits for something waits for a line of the log or for bytes, never for time to pass.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any, Final

import anyio
import structlog

PATIENCE: Final = 20.0  # seconds until a test that waits gives up: a guard, not a measure


class Journal:
    """Every line that was logged, in order, as the values it was made of."""

    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []
        self._grown = anyio.Event()

    def __call__(self, logger: object, method: str, line: MutableMapping[str, Any]) -> dict[str, Any]:
        """As a processor of structlog."""
        self.lines.append({**line, "level": method})
        grown, self._grown = self._grown, anyio.Event()
        grown.set()
        raise structlog.DropEvent

    def find(self, event: str, **fields: Any) -> list[dict[str, Any]]:
        """The lines with that event and these fields."""
        return [
            line
            for line in self.lines
            if line["event"] == event and all(line.get(key) == fields[key] for key in fields)
        ]

    async def wait_for(self, event: str, *, count: int = 1, **fields: Any) -> dict[str, Any]:
        """The line number ``count`` with that event and these fields, once it is there."""
        with anyio.move_on_after(PATIENCE):
            while len(found := self.find(event, **fields)) < count:
                await self._grown.wait()
            return found[count - 1]
        raise AssertionError(f"no {event} {fields} in the log:\n{self}")

    async def wait_for_any(self, *events: str) -> dict[str, Any]:
        """The first line with one of these events, once it is there."""
        with anyio.move_on_after(PATIENCE):
            while not (found := [line for event in events for line in self.find(event)]):
                await self._grown.wait()
            return found[0]
        raise AssertionError(f"none of {events} in the log:\n{self}")

    def __str__(self) -> str:
        return "\n".join(str(line) for line in self.lines)


@contextmanager
def journal_kept() -> Iterator[Journal]:
    """Catch what is logged, until the block ends."""
    journal = Journal()
    before = structlog.get_config() if structlog.is_configured() else None
    structlog.configure(processors=[journal])
    try:
        yield journal
    finally:
        if before is None:
            structlog.reset_defaults()
        else:
            structlog.configure(**before)
