"""What may wait for a link goes by how fast it is, and is never too little for it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transport.wire.backlog import LEAST, MOMENT, MOST, Backlog


@pytest.mark.parametrize(
    ("seconds", "limit"),
    [
        (0.0, MOST),  # a clock may be coarse
        (0.000_5, MOST),
        (MOMENT, MOST),
        (2 * MOMENT, MOST // 2),
        (4 * MOMENT, MOST // 4),
        (1.0, LEAST),
        (1e6, LEAST),
    ],
)
def test_as_much_may_wait_as_the_link_takes_in_a_moment(seconds: float, limit: int) -> None:
    backlog = Backlog()
    backlog.filled(MOST, 0.0)

    assert backlog.drained(0, seconds) is (limit != MOST)
    assert backlog.limit == limit


def test_a_link_that_becomes_fast_may_have_as_much_as_any() -> None:
    backlog = Backlog()
    backlog.filled(MOST, 0.0)
    assert backlog.drained(0, 10.0)
    backlog.filled(LEAST, 10.0)
    assert backlog.drained(LEAST // 4, 10.0001)

    assert backlog.limit == MOST


def test_what_does_not_change_is_not_said_again() -> None:
    backlog = Backlog()
    for second in (0.0, 20.0):
        backlog.filled(MOST, second)
        assert backlog.drained(0, second + 10.0) is (second == 0.0)


@given(st.lists(st.tuples(st.integers(0, 2**30), st.integers(0, 2**30), st.floats(0, 1e6))))
def test_the_limit_stays_within_its_bounds_whatever_happens(
    turns: list[tuple[int, int, float]],
) -> None:
    backlog, now = Backlog(), 0.0
    for before, after, seconds in turns:
        before_limit = backlog.limit
        backlog.filled(before, now)
        now += seconds
        assert backlog.drained(after, now) is (backlog.limit != before_limit)
        assert LEAST <= backlog.limit <= MOST
        assert backlog.limit % LEAST == 0
