"""Whether memory stays flat, from samples taken at equal times.

Rule: pure. The first third of a run is its warm-up: caches fill, the allocator takes what it will keep. From
then on the last sixth of the run is compared with the first sixth behind the warm-up, median with median, so
that neither one peak nor one lull decides.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

#: What the later median may be above the earlier one: the larger of a tenth of it and 8 MiB.
TOLERANCE_SHARE: Final = 0.10
TOLERANCE: Final = 8 << 20

_FEWEST: Final = 12  # samples: with fewer, a sixth is no median
_BARS: Final = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """The two medians, in bytes."""

    early: float
    late: float

    @property
    def allowed(self) -> float:
        """What ``late`` may be at most."""
        return self.early + max(self.early * TOLERANCE_SHARE, TOLERANCE)

    @property
    def is_flat(self) -> bool:
        return self.late <= self.allowed


def drift(samples: Sequence[int]) -> Drift | None:
    """How memory has changed since the warm-up, or None if there are too few samples to say."""
    if len(samples) < _FEWEST:
        return None
    sixth = len(samples) // 6
    third = len(samples) // 3
    return Drift(
        early=statistics.median(samples[third : third + sixth]), late=statistics.median(samples[-sixth:])
    )


def chart(samples: Sequence[int], *, width: int = 60) -> str:
    """One line of bars from the smallest to the largest sample; each bar is the median of its share."""
    if not samples:
        return ""
    width = min(width, len(samples))
    shares = [
        samples[len(samples) * bar // width : len(samples) * (bar + 1) // width] for bar in range(width)
    ]
    medians = [statistics.median(share) for share in shares]
    low, high = min(medians), max(medians)
    step = (high - low) / (len(_BARS) - 1) or 1
    return "".join(_BARS[round((median - low) / step)] for median in medians)
