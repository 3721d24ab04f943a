"""A budget never gives more than it has, nor more than the one above it has."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from transport.wire.budget import Budget


def test_what_is_reserved_is_gone_until_it_is_released() -> None:
    budget = Budget(100)

    assert [budget.reserve(70), budget.reserve(70), budget.reserve(70)] == [70, 30, 0]
    budget.release(70)
    assert (budget.used, budget.free) == (30, 70)


def test_nothing_is_reserved_for_less_than_nothing() -> None:
    budget = Budget(100)

    assert (budget.reserve(-5), budget.used) == (0, 0)


def test_one_session_cannot_have_what_is_left_of_all() -> None:
    process = Budget(100)
    session = Budget(60, above=process)

    assert session.reserve(100) == 60
    assert process.free == 40


def test_a_session_that_has_plenty_gets_what_the_process_has_left() -> None:
    process = Budget(100)
    process.reserve(90)
    session = Budget(60, above=process)

    assert session.reserve(60) == 10
    session.release(10)
    assert (session.used, process.used) == (0, 90)


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 200)), max_size=50))
def test_the_one_above_always_has_what_its_parts_have(steps: list[tuple[int, int]]) -> None:
    above = Budget(300)
    parts = [Budget(150, above), Budget(150, above), Budget(150, above)]
    for index, size in steps:
        part = parts[index]
        if size > 100:
            part.release(part.used // 2)
        else:
            part.reserve(size)
        assert above.used == sum(part.used for part in parts) <= above.limit
        assert all(0 <= part.used <= part.limit for part in parts)
