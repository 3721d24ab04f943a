"""How a program that runs in the foreground is told to stop, or to look again.

Rule: this file alone handles signals.

========  ==============================================================================
SIGTERM   stop; exit status 0, for whoever sent it asked for just that
SIGINT    stop; exit status 130, so that a script which runs the program stops as well
SIGHUP    look at the state file now; a program that has the terminal for itself stops,
          with exit status 129, because this says that the terminal has gone
========  ==============================================================================

A program may take its time to stop. A second SIGTERM or SIGINT ends the process at
once, however busy it is; SIGHUP means nothing then.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Awaitable, Callable
from signal import Signals
from types import FrameType
from typing import Final

import anyio

INTERRUPTED: Final = 128 + Signals.SIGINT

_EXIT_STATUS: Final = {
    Signals.SIGTERM: 0,
    Signals.SIGINT: INTERRUPTED,
    Signals.SIGHUP: 128 + Signals.SIGHUP,
}


async def run_until_stopped(
    main: Callable[[], Awaitable[None]],
    *,
    on_hangup: Callable[[], None] | None,
    on_stop: Callable[[], bool] = lambda: False,
    before_death: Callable[[], None] | None = None,
) -> int:
    """Run ``main`` until it returns, or until a signal cancels it.

    :param on_hangup: what SIGHUP is for; None means to stop.
    :param on_stop: called when a signal says to stop; whether ``main`` will now return by itself, and so is
        not to be cancelled.
    :param before_death: what cannot be left as it is when a second signal ends the process.
    :returns: the exit status, 0 if ``main`` returned without having been told.
    """
    received: list[Signals] = []
    # The receiver is the outer one: as long as anything is still closing, signals are ours.
    with anyio.open_signal_receiver(*_EXIT_STATUS) as signals:
        async with anyio.create_task_group() as tasks:

            async def obey() -> None:
                async for heard in signals:
                    if heard is Signals.SIGHUP and (received or on_hangup is not None):
                        if on_hangup is not None and not received:
                            on_hangup()
                        continue
                    if received:  # it came before anything could be done about the first one
                        os.kill(os.getpid(), heard)
                    received.append(heard)
                    for impatient in (signal.SIGINT, signal.SIGTERM):
                        signal.signal(impatient, signal.SIG_DFL if before_death is None else die)
                    if not on_stop():
                        tasks.cancel_scope.cancel()

            def die(number: int, frame: FrameType | None) -> None:
                for impatient in (signal.SIGINT, signal.SIGTERM):
                    signal.signal(impatient, signal.SIG_DFL)  # a third one does not wait for what follows
                if before_death is not None:
                    before_death()
                os.kill(os.getpid(), number)

            tasks.start_soon(obey)
            await main()
            tasks.cancel_scope.cancel()
    return _EXIT_STATUS[received[0]] if received else 0
