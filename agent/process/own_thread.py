"""Blocking work that nobody waits for when the program ends, as a question to a name server that is down.

Rule: it has a thread of its own. Those of anyio, and of the loop, are waited for at the end of the program.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from threading import Thread
from typing import Generic, TypeVar

import anyio
from anyio import from_thread
from anyio.lowlevel import EventLoopToken, current_token

_T = TypeVar("_T")


def _nothing() -> None:
    pass


async def in_own_thread(work: Callable[[], _T], over: Callable[[], None] = _nothing) -> _T:
    """What the work returns or raises. Whoever is cancelled leaves it alone.

    :param over: called by the loop when the thread is done, whether somebody still waits for it or not.
    :raises OSError: if there is no thread left.
    """
    answer: _Answer[_T] = _Answer()
    try:
        Thread(target=_run, args=(work, answer, over, current_token()), daemon=True).start()
    except RuntimeError as error:
        over()
        raise OSError(str(error)) from error
    await answer.is_there.wait()
    if answer.error is not None:
        raise answer.error
    (value,) = answer.value
    return value


class _Answer(Generic[_T]):
    def __init__(self) -> None:
        self.is_there = anyio.Event()
        self.value: list[_T] = []
        self.error: Exception | None = None


def _run(
    work: Callable[[], _T], answer: _Answer[_T], over: Callable[[], None], token: EventLoopToken
) -> None:
    """In the thread."""
    try:
        answer.value.append(work())
    except Exception as error:  # noqa: BLE001 - raised where somebody waits for it
        answer.error = error

    def tell() -> None:
        answer.is_there.set()
        over()

    with suppress(anyio.RunFinishedError):  # the program has ended meanwhile
        from_thread.run_sync(tell, token=token)
