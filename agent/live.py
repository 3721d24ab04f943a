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


class Tail(io.TextIOBase):
    """A stream that keeps its last lines, whole ones only."""

    def __init__(self, size: int = TAIL_LINES) -> None:
        super().__init__()
        self._lines: deque[str] = deque(maxlen=size)
        self._begun = ""

    @property
    def lines(self) -> tuple[str, ...]:
        return tuple(self._lines)

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        *whole, self._begun = (self._begun + text).split("\n")
        self._lines.extend(line for line in whole if line.strip())
        return len(text)


async def show_live(
    get_status: Callable[[], AgentStatus],
    console: Console,
    *,
    footer: Callable[[], tuple[str, ...]] = tuple,
    interval: float = REFRESH_INTERVAL,
) -> None:
    """Draw the status until cancelled, every ``interval`` seconds and in whatever size the terminal has then.

    :param footer: gives the lines at the end of the screen.
    :raises OSError: if the terminal has gone.
    """
    meter = RateMeter()

    def view() -> StatusView:
        status = get_status()
        return StatusView(status=status, rates=meter.measure(status), footer=footer())

    with Live(
        console=console, screen=True, auto_refresh=False, redirect_stdout=False, redirect_stderr=False
    ) as live:
        while True:
            frame = view()
            # Abandoned when cancelled: a terminal that does not read must not keep the program from ending.
            await to_thread.run_sync(partial(live.update, frame, refresh=True), abandon_on_cancel=True)
            await anyio.sleep(interval)
