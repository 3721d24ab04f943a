"""How long to wait before the next attempt.

Rule: exponential backoff with full jitter, as arithmetic. Chance comes in as a
number and the clock stays with the caller, so the same arguments give the same delay.
"""

from __future__ import annotations

from typing import Final

FIRST_DELAY: Final = 0.5
"""The longest wait after the first failure, in seconds."""

LONGEST_DELAY: Final = 30.0
"""The longest wait of all, in seconds: what heals by itself is noticed within half a minute."""

_MOST_DOUBLINGS: Final = 62  # a power of two that is still an exact float; no cap is larger


def backoff(attempt: int, unit: float, *, first: float = FIRST_DELAY, cap: float = LONGEST_DELAY) -> float:
    """Seconds to wait after failure number ``attempt``, counted from zero.

    Full jitter: anything from nothing to the ceiling is as likely, so that those who
    failed together do not try again together.

    :param unit: a random number, 0 <= unit < 1.
    """
    ceiling = min(cap, first * 2.0 ** min(attempt, _MOST_DOUBLINGS))
    return unit * ceiling
