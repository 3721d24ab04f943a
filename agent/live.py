"""The status on the whole screen, drawn again and again.

Rule: the terminal is left as it was found, however this ends, and a terminal that
does not read (Ctrl-S, a slow line) delays nothing but the drawing: every frame is
written by a worker thread.

The alternate screen is used, as by top and less, so that what was on the terminal
before is there again afterwards. While it is on, nothing else may write to it: the
log goes elsewhere, or to a ``Tail`` whose lines are shown under the table.
"""

from __future__ import annotations

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
