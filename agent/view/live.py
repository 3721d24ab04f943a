"""The status on the whole screen, drawn again and again.

Rule: the terminal is left as it was found, however this ends, and a terminal that
does not read (Ctrl-S, a slow line) delays nothing but the drawing: every frame is
made and written by a worker thread.

The alternate screen is used, as by top and less, so that what was on the terminal
before is there again afterwards. While it is on, nothing else may write to it: the
log goes elsewhere, or to a ``Tail`` whose lines are shown under the table.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import anyio
from anyio import to_thread
from rich.console import Console
from rich.live import Live

from schemas.status import AgentStatus

from .rates import RateMeter
from .status import StatusView

REFRESH_INTERVAL: Final = 0.5
_SHARE: Final = 0.1  # of the time of one core, at most


async def show_live(
    get_status: Callable[[], AgentStatus],
    console: Console,
    *,
    prepare: Callable[[], Awaitable[None]] | None = None,
    silence: Callable[[], str] = str,
    footer: Callable[[], tuple[str, ...]] = tuple,
    whole_screen: bool = True,
    interval: float = REFRESH_INTERVAL,
) -> None:
    """Draw the status until cancelled, every ``interval`` seconds and in whatever size the terminal has then.

    :param prepare: called before each status, to make it quick.
    :param silence: gives why the agent does not answer, so that the status is an old one; "" if it does.
    :param footer: gives the lines at the end of the screen.
    :param whole_screen: otherwise it is drawn below what was printed before, and left there.
    :raises OSError: if the terminal has gone.
    """
    meter = RateMeter()

    def draw(live: Live, status: AgentStatus, silence: str, footer: tuple[str, ...]) -> float:
        begun = time.thread_time()
        view = StatusView(
            status=status,
            rates=meter.measure(status),
            silence=silence,
            footer=footer,
            fills_screen=whole_screen,
        )
        live.update(view, refresh=True)
        return time.thread_time() - begun

    with Live(
        console=console, screen=whole_screen, auto_refresh=False, redirect_stdout=False, redirect_stderr=False
    ) as live:
        while True:
            if prepare is not None:
                await prepare()
            frame = partial(draw, live, get_status(), silence(), footer())
            # Abandoned when cancelled: a terminal that does not read must not keep the program from ending.
            spent = await to_thread.run_sync(frame, abandon_on_cancel=True)
            # Ten thousand tunnels take a while, and whoever looks at them can wait better than visitors.
            await anyio.sleep(max(interval, spent / _SHARE))
