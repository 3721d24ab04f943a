"""What failed, and when it is tried again.

Rule: this file alone remembers failures between turns. A resource that failed is
held, which means no plan touches it, until its delay is over. It is released
early when what is wanted of it changes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass, replace

from .desired import Key, Spec
from .execute import Outcome
from .retry import backoff


@dataclass(frozen=True, slots=True, kw_only=True)
class _Failure:
    attempt: int  # counted from zero
    wanted: Spec | None  # None: it was to be closed
    due: float
    message: str


class Retries:
    """The failures of one loop. Times are those of the event loop, in seconds.

    :param random: gives numbers from 0 up to 1.
    :param patience: seconds to wait when trying again soon cannot help.
    """

    def __init__(self, *, random: Callable[[], float], patience: float) -> None:
        self._random = random
        self._patience = patience
        self._failures: dict[Key, _Failure] = {}

    def held(self, desired: Mapping[Key, Spec], *, now: float) -> frozenset[Key]:
        """Which keys wait for their retry."""
        return frozenset(
            key
            for key, failure in self._failures.items()
            if failure.due > now and failure.wanted == desired.get(key)
        )

    def note(self, outcomes: Iterable[Outcome], *, held: Set[Key], now: float) -> None:
        """Remember which actions failed. Of the earlier failures, only what this turn held still waits."""
        kept = {key: failure for key, failure in self._failures.items() if key in held}
        for outcome in outcomes:
            key = outcome.action.key
            if outcome.error is None:
                continue
            before = self._failures.get(key)
            is_same = before is not None and before.wanted == outcome.action.spec
            attempt = before.attempt + 1 if before is not None and is_same else 0
            delay = backoff(attempt, self._random()) if outcome.retry else self._patience
            kept[key] = _Failure(
                attempt=attempt, wanted=outcome.action.spec, due=now + delay, message=outcome.error
            )
        self._failures = kept

    def release(self) -> None:
        """Let everything be tried at once. How often it has failed is not forgotten."""
        self._failures = {key: replace(failure, due=-math.inf) for key, failure in self._failures.items()}

    def next_due(self) -> float:
        """When the next retry is due; infinity if nothing waits."""
        return min((failure.due for failure in self._failures.values()), default=math.inf)

    def messages(self) -> Mapping[Key, str]:
        """Why each of them failed."""
        return {key: failure.message for key, failure in self._failures.items()}
