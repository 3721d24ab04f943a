"""How long to wait before the next attempt."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconcile.retry import FIRST_DELAY, LONGEST_DELAY, backoff

attempts = st.integers(min_value=0, max_value=10**9)
units = st.floats(min_value=0.0, max_value=1.0, exclude_max=True)


@given(attempts, units)
def test_no_delay_is_negative_or_longer_than_the_cap(attempt: int, unit: float) -> None:
    assert 0.0 <= backoff(attempt, unit) <= LONGEST_DELAY


@given(attempts)
def test_full_jitter_starts_at_nothing(attempt: int) -> None:
    assert backoff(attempt, 0.0) == 0.0


@given(attempts, units)
def test_a_later_attempt_never_waits_less(attempt: int, unit: float) -> None:
    assert backoff(attempt, unit) <= backoff(attempt + 1, unit)


@pytest.mark.parametrize(("attempt", "ceiling"), [(0, 0.5), (1, 1.0), (2, 2.0), (5, 16.0), (6, 30.0)])
def test_the_ceiling_doubles_up_to_the_cap(attempt: int, ceiling: float) -> None:
    assert backoff(attempt, 0.5) == ceiling / 2


def test_first_and_cap_can_be_chosen() -> None:
    assert backoff(3, 0.5, first=2.0, cap=10.0) == 5.0
    assert backoff(0, 0.5) == FIRST_DELAY / 2
