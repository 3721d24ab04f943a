"""How a program that runs in the foreground is told to stop, or to look again.

Rule: this file alone handles signals.

========  ==============================================================================
SIGTERM   stop; exit status 0, for whoever sent it asked for just that
SIGINT    stop; exit status 130, so that a script which runs the program stops as well
SIGHUP    look at the state file now; a program that has the terminal for itself stops,
          with exit status 129, because this says that the terminal has gone
========  ==============================================================================

A second SIGTERM or SIGINT ends the process at once, however busy it is.
"""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable
from signal import Signals
from typing import Final

import anyio

INTERRUPTED: Final = 128 + Signals.SIGINT

_EXIT_STATUS: Final = {
    Signals.SIGTERM: 0,
    Signals.SIGINT: INTERRUPTED,
    Signals.SIGHUP: 128 + Signals.SIGHUP,
}


async def run_until_stopped(
    main: Callable[[], Awaitable[None]], *, on_hangup: Callable[[], None] | None
) -> int:
    """Run ``main`` until it returns, or until a signal cancels it.

    :param on_hangup: what SIGHUP is for; None means to stop.
    :returns: the exit status, 0 if ``main`` returned.
    """
    received: list[Signals] = []
    # The receiver is the outer one: as long as anything is still closing, signals are ours.
    with anyio.open_signal_receiver(*_EXIT_STATUS) as signals:
        async with anyio.create_task_group() as tasks:

            async def obey() -> None:
                async for heard in signals:
                    if heard is Signals.SIGHUP and on_hangup is not None:
                        on_hangup()
                        continue
                    received.append(heard)
                    for impatient in (signal.SIGINT, signal.SIGTERM):
                        signal.signal(impatient, signal.SIG_DFL)
                    tasks.cancel_scope.cancel()

            tasks.start_soon(obey)
            await main()
            tasks.cancel_scope.cancel()
    return _EXIT_STATUS[received[0]] if received else 0
