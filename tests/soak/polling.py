"""Waiting for what another process does.

Rule: whoever waits looks again and again until a deadline, and says what did not come. Nothing in the soak
counts on a time in which something will surely have happened.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import anyio

_INTERVAL: Final = 0.05  # seconds between two looks


class NotSoonError(Exception):
    """What was waited for has not come; ``str()`` says what."""


async def until(condition: Callable[[], Awaitable[bool]], what: str, *, patience: float) -> None:
    """Look until it is true.

    :param patience: seconds.
    :raises NotSoonError: if it is not true by then.
    """
    with anyio.move_on_after(patience):
        while True:
            if await condition():
                return
            await anyio.sleep(_INTERVAL)
    raise NotSoonError(f"not within {patience:g} s: {what}")
