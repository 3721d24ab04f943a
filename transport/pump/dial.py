"""An attempt to connect that somebody may lose patience with.

Rule: this file decides how an attempt ends, and not where it leads. It ends once: with
a relay, with an error, by taking too long, or given up by whoever began it.

Decision: it is a task of the loop, and of no task group. A group and a cancel scope are
right for what lasts; for a visitor who stays a few milliseconds they cost as much as
the connection itself. In return, who begins an attempt owns it, and gives it up when it
is no longer wanted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from .relay import Relay


class Dial:
    """An attempt that is under way.

    :param dialing: connects.
    :param timeout: in seconds.
    :param done: called once with the relay, or with why there is none: a ``TimeoutError`` after the timeout.
        Not called when the attempt is given up.

    The relay's owner says :meth:`connected` when it is told of the relay, so that the end of the attempt does
    not wait for the task to come to its own: some turns of the loop, in which what the service says first
    could not be passed on.
    """

    __slots__ = ("_done", "_is_connected", "_task", "_timer")

    def __init__(
        self,
        dialing: Coroutine[Any, Any, Relay],
        timeout: float,
        done: Callable[[Relay | BaseException], None],
    ) -> None:
        loop = asyncio.get_running_loop()
        self._done: Callable[[Relay | BaseException], None] | None = done
        self._is_connected = False
        self._task = loop.create_task(dialing)
        self._task.add_done_callback(self._ended)
        self._timer = loop.call_later(timeout, self._time_out)

    def give_up(self) -> None:
        """Stop trying. A connection that is there already is reset, unless it has been told of."""
        self._done = None
        if not self._is_connected:
            self._task.cancel()

    def connected(self, relay: Relay) -> None:
        """There is a connection."""
        self._timer.cancel()
        done, self._done = self._done, None
        if done is not None:
            self._is_connected = True
            done(relay)

    def _time_out(self) -> None:
        done, self._done = self._done, None
        self._task.cancel()
        if done is not None:
            done(TimeoutError())

    def _ended(self, task: asyncio.Task[Relay]) -> None:
        self._timer.cancel()
        done, self._done = self._done, None
        if task.cancelled():
            return  # by us, or by a loop that ends
        outcome = task.exception() or task.result()
        if done is not None:
            done(outcome)
        elif isinstance(outcome, Relay) and not self._is_connected:
            outcome.abort()
