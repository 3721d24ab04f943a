"""No two sessions of a process have one number at a gateway."""

from __future__ import annotations

from agent.session_numbers import SessionNumbers
from hypothesis import given
from hypothesis import strategies as st

from schemas.messages import MAX_SESSION_NUMBER, MAX_SESSIONS
from schemas.names import HostPort

ONE = HostPort("gw1.example", 9056)
TWO = HostPort("gw2.example", 9056)


def test_a_session_gets_the_number_that_it_had() -> None:
    numbers = SessionNumbers()

    assert numbers.take(ONE, 7) == 7
    numbers.give_back(ONE, 7)
    assert numbers.take(ONE, 7) == 7


def test_a_successor_gets_the_lowest_number_that_is_free() -> None:
    numbers = SessionNumbers()
    assert [numbers.take(ONE, wished) for wished in (1, 2, 3)] == [1, 2, 3]

    assert [numbers.take(ONE, wished) for wished in (2, 1)] == [4, 5]


def test_each_gateway_counts_for_itself() -> None:
    numbers = SessionNumbers()

    assert (numbers.take(ONE, 1), numbers.take(TWO, 1)) == (1, 1)


def test_every_session_can_have_one_successor_and_no_more() -> None:
    numbers = SessionNumbers()
    taken = [numbers.take(ONE, wished) for wished in [*range(1, MAX_SESSIONS + 1)] * 2]

    assert sorted(number for number in taken if number is not None) == [*range(1, MAX_SESSION_NUMBER + 1)]
    assert numbers.take(ONE, 1) is None


@given(st.lists(st.tuples(st.booleans(), st.integers(1, MAX_SESSION_NUMBER))))
def test_no_number_is_given_twice_while_it_is_in_use(wishes: list[tuple[bool, int]]) -> None:
    numbers = SessionNumbers()
    used: list[int] = []
    for gives_back, wished in wishes:
        if gives_back and used:
            numbers.give_back(ONE, used.pop(0))
            continue
        number = numbers.take(ONE, wished)
        assert number not in used
        assert number == wished or wished in used or number is None
        if number is not None:
            used.append(number)
