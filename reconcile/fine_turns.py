"""Shorter turns with the interpreter while worker threads compute.

Rule: this file alone changes how long a thread may keep the interpreter when another
waits for it. Python's 5 ms are longer than a visitor waits for everything else, and he
waits for one at each step of the loop that his bytes need. Shorter turns cost the data
path 3 % when threads are busy, so they are for a while only; to the threads they cost
nothing that can be measured, since the loop has little to do in its turn.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

FINE: Final = 0.0001
"""Seconds of a turn."""

_lasting = 0
_usual = 0.0


@contextmanager
def fine_turns() -> Iterator[None]:
    """Let turns be short until this has ended, and every other one that began meanwhile."""
    global _lasting, _usual
    if not _lasting:
        _usual = sys.getswitchinterval()
        sys.setswitchinterval(FINE)
    _lasting += 1
    try:
        yield
    finally:
        _lasting -= 1
        if not _lasting:
            sys.setswitchinterval(_usual)
