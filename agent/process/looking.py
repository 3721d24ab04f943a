"""Waiting for something that tells nobody when it happens.

Rule: for what is rare and may take its time, as the end of connections when an agent
stops. An event for each of them would cost every connection that ever ends.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import anyio

_PAUSE: Final = 0.05  # seconds between two looks


async def until(is_so: Callable[[], bool]) -> None:
    """Look again and again, until it is so."""
    while True:
        if is_so():
            return
        await anyio.sleep(_PAUSE)
