"""A budget never gives more than it has, nor more than the one above it has."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from transport.wire.budget import Budget


def test_what_is_reserved_is_gone_until_it_is_released() -> None:
    budget = Budget(100)

    assert budget.reserve(30) == 30
    assert (budget.used, budget.free) == (30, 70)
    budget.release(10)
    assert (budget.used, budget.free) == (20, 80)


def test_nobody_has_more_than_is_left_for_everybody_else() -> None:
    budget = Budget(128)

    assert [budget.reserve(1_000) for _ in range(4)] == [64, 32, 16, 8]


def test_nobody_gets_more_by_asking_often() -> None:
    budget = Budget(128)
    has = 0
    for _ in range(100):
        has += budget.reserve(10, has=has)

    assert has == 64


def test_nothing_is_reserved_for_less_than_nothing() -> None:
    budget = Budget(100)

    assert (budget.reserve(-5), budget.used) == (0, 0)


def test_one_session_has_its_limit_at_most() -> None:
    process = Budget(1_000)
    session = Budget(60, above=process)

    assert sum(session.reserve(100) for _ in range(20)) == 59  # half a byte is none
    assert process.used == session.used == 59


def test_what_one_session_has_taken_leaves_as_much_for_the_others() -> None:
    process = Budget(128)
    greedy = [Budget(64, above=process) for _ in range(3)]
    for session in greedy:
        while session.reserve(1_000):
            pass

    assert greedy[0].used > greedy[1].used > greedy[2].used > 0
    assert Budget(64, above=process).reserve(1_000) > 0


def test_what_a_session_gives_back_the_process_has() -> None:
    process = Budget(100)
    session = Budget(60, above=process)
    session.reserve(20)
    session.release(20)

    assert (session.used, process.used, process.free) == (0, 0, 100)


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
