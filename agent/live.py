"""The status on the whole screen, drawn again and again.

Rule: the terminal is left as it was found, however this ends, and a terminal that
does not read (Ctrl-S, a slow line) delays nothing but the drawing: every frame is
written by a worker thread.

The alternate screen is used, as by top and less, so that what was on the terminal
before is there again afterwards. While it is on, nothing else may write to it:
``Tail`` takes the log and shows its last lines under the table.
"""

from __future__ import annotations

import io
import json
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Final

import anyio
from anyio import to_thread
from rich.console import Console
from rich.live import Live

from schemas.status import AgentStatus

from .rates import RateMeter
from .status_view import StatusView

REFRESH_INTERVAL: Final = 0.5
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


async def show_live(
    get_status: Callable[[], AgentStatus],
    console: Console,
    *,
    silence: Callable[[], str] = str,
    footer: Callable[[], tuple[str, ...]] = tuple,
    whole_screen: bool = True,
    interval: float = REFRESH_INTERVAL,
) -> None:
    """Draw the status until cancelled, every ``interval`` seconds and in whatever size the terminal has then.

    :param silence: gives why the agent does not answer, so that the status is an old one; "" if it does.
    :param footer: gives the lines at the end of the screen.
    :param whole_screen: otherwise it is drawn below what was printed before, and left there.
    :raises OSError: if the terminal has gone.
    """
    meter = RateMeter()

    def view() -> StatusView:
        status = get_status()
        return StatusView(
            status=status,
            rates=meter.measure(status),
            silence=silence(),
            footer=footer(),
            fills_screen=whole_screen,
        )

    with Live(
        console=console, screen=whole_screen, auto_refresh=False, redirect_stdout=False, redirect_stderr=False
    ) as live:
        while True:
            frame = view()
            # Abandoned when cancelled: a terminal that does not read must not keep the program from ending.
            await to_thread.run_sync(partial(live.update, frame, refresh=True), abandon_on_cancel=True)
            await anyio.sleep(interval)
