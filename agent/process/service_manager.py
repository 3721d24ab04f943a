"""What the service manager hears of an agent, and when.

Rule: this file decides what is told. ``READY=1`` comes when the first state has been
applied, and again after each reload that ``RELOADING=1`` has announced; once
``STOPPING=1`` has been said, neither is said any more. The watchdog is fed for as
long as the event loop turns, and by nothing else.
"""

from __future__ import annotations

import time
from typing import Final, Protocol

import anyio

from schemas.errors import TidegateError

from .systemd import Notifier

_STATUS_INTERVAL: Final = 1.0  # seconds between two looks whether the status has changed
_AFTER_DRAIN: Final = 15.0  # seconds that closing may take, and then some


class Told(Protocol):
    """The agent that is told of."""

    @property
    def drain_limit(self) -> float:
        """Seconds that a drain may take."""

    async def catch_up(self) -> None:
        """Make ready what there is to say."""

    def summary(self) -> str:
        """How it is, in one short line. Cheap."""

    async def reload_and_report(self) -> object:
        """Look at the state file now, and wait until that has been done.

        :raises TidegateError: if the agent stops first.
        """


class ServiceManager:
    """Whoever started the agent, and wants to know how it is.

    :param watchdog: seconds within which it wants to hear that the agent is alive; None: it does not.
    """

    def __init__(self, notifier: Notifier, *, watchdog: float | None = None) -> None:
        self._notifier = notifier
        self._watchdog = watchdog
        self._asked_to_reload = anyio.Event()
        self._is_stopping = False
        self._told = ""  # the status that was told last

    async def keep_told(self, agent: Told) -> None:
        """Say that the agent has started, and then how it is, until cancelled."""
        if not self._notifier.is_wanted:
            return
        await agent.catch_up()
        self._say("READY=1", agent=agent)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._tell_status, agent)
            tasks.start_soon(self._tell_reloads, agent)
            if self._watchdog is not None:
                tasks.start_soon(self._feed_watchdog, self._watchdog)

    def reloads(self) -> None:
        """The agent has been asked to look at its state file."""
        self._asked_to_reload.set()

    def stops(self, agent: Told | None) -> None:
        """The agent has been asked to stop. None: it has not started yet."""
        if self._is_stopping:
            return
        self._is_stopping = True
        patience = _AFTER_DRAIN + (0 if agent is None else agent.drain_limit)
        # Or a drain that may take longer than TimeoutStopSec= would be cut short.
        self._notifier.tell("STOPPING=1", f"EXTEND_TIMEOUT_USEC={round(patience * 1_000_000)}")

    def _say(self, *assignments: str, agent: Told) -> None:
        if not self._is_stopping:
            self._told = agent.summary()
            self._notifier.tell(*assignments, f"STATUS={self._told}")

    async def _tell_status(self, agent: Told) -> None:
        while True:
            await anyio.sleep(_STATUS_INTERVAL)
            self._notifier.flush()
            summary = agent.summary()
            if summary != self._told:
                self._told = summary
                self._notifier.tell(f"STATUS={summary}")

    async def _tell_reloads(self, agent: Told) -> None:
        while True:
            await self._asked_to_reload.wait()
            self._asked_to_reload = anyio.Event()
            # CLOCK_MONOTONIC, by which the service manager sees that this answers its own signal.
            self._say("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1_000}", agent=agent)
            try:
                await agent.reload_and_report()
            except TidegateError:
                return  # it stops, and that is said elsewhere
            except (OSError, ImportError):
                pass  # it has looked, and only what makes a report could not be loaded
            self._say("READY=1", agent=agent)

    async def _feed_watchdog(self, watchdog: float) -> None:
        while True:
            self._notifier.tell("WATCHDOG=1")
            await anyio.sleep(watchdog / 2)
