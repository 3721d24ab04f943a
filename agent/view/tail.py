"""The last log lines, in brief, for a screen that has room for a few.

Rule: what is said of an event in one short line is decided here. Nothing here knows
how the lines are shown.
"""

from __future__ import annotations

import io
import json
import threading
from collections import deque
from typing import Final

TAIL_LINES: Final = 4

_NOT_BRIEF: Final = {"timestamp", "level", "logger", "event", "exception", "stack"}


class Tail(io.StringIO):
    """A stream for JSON log lines that keeps the last few, in brief.

    One thread may write while another reads.
    """

    def __init__(self, size: int = TAIL_LINES) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._lines: deque[str] = deque(maxlen=size)
        self._begun = ""

    @property
    def lines(self) -> tuple[str, ...]:
        with self._lock:
            return tuple(self._lines)

    def write(self, text: str) -> int:
        with self._lock:
            *whole, self._begun = (self._begun + text).split("\n")
            self._lines.extend(_brief(line) for line in whole if line.strip())
        return len(text)


def _brief(line: str) -> str:
    """``12:00:00Z visitor_left tunnel=web bytes_in=79``: on a narrow screen every cell counts."""
    try:
        event = json.loads(line)
    except ValueError:
        return line
    if not isinstance(event, dict):
        return line
    time = str(event.get("timestamp", ""))[11:19]
    level = str(event.get("level", "info"))
    parts = [f"{time}Z", *([] if level == "info" else [level]), str(event.get("event", ""))]
    parts += [f"{key}={value}" for key, value in event.items() if key not in _NOT_BRIEF and value is not None]
    return " ".join(parts)
