"""No two sessions of a process have one number at a gateway."""

from __future__ import annotations

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.client import session_numbers
from agent.client.places import Place
from agent.client.session_numbers import SessionNumbers
from schemas.messages import MAX_SESSION_NUMBER, MAX_SESSIONS
from schemas.names import HostPort

ONE = Place(HostPort("gw1.example", 9056))
TWO = Place(HostPort("gw2.example", 9056))
THREE = Place(HostPort("gw2.example", 9056), "192.0.2.7")


def test_a_session_gets_the_number_that_it_had() -> None:
    numbers = SessionNumbers()

    assert numbers.take("a", 7, ONE, None) == 7
    numbers.give_back(7, ONE)
    assert numbers.take("a", 7, ONE, None) == 7


def test_a_successor_gets_the_lowest_number_that_is_free() -> None:
    numbers = SessionNumbers()
    assert [numbers.take(keeper, wished, ONE, None) for keeper, wished in (("a", 1), ("b", 2), ("c", 3))] == [
        1,
        2,
        3,
    ]

    assert [numbers.take(keeper, wished, ONE, None) for keeper, wished in (("b", 2), ("a", 1))] == [4, 5]


def test_a_number_that_a_lost_session_had_is_left_to_it() -> None:
    """Its gateway may not have noticed yet: any other number would leave a dead session there."""
    numbers = SessionNumbers()
    assert numbers.take("a", 1, ONE, None) == 1
    numbers.give_back(1, ONE)

    assert numbers.take("b", 1, TWO, None) == 2
    assert numbers.take("a", 1, ONE, None) == 1


def test_a_number_is_free_again_when_its_keeper_will_have_no_other_session() -> None:
    numbers = SessionNumbers()
    assert numbers.take("a", 1, ONE, None) == 1
    numbers.give_back(1, ONE)
    numbers.forget("a")

    assert numbers.take("b", 1, TWO, None) == 1


def test_two_places_of_which_one_has_not_answered_yet_share_no_number() -> None:
    numbers = SessionNumbers()
    assert numbers.take("a", 1, ONE, None) == 1
    numbers.met(1, ONE, "gateway one")

    assert numbers.take("b", 1, TWO, None) == 2


def test_two_places_that_lead_to_one_gateway_share_no_number() -> None:
    numbers = SessionNumbers()
    for number in range(1, MAX_SESSION_NUMBER):
        assert numbers.take(number, number, ONE, "the same") == number

    assert numbers.take("b", 1, TWO, "the same") == MAX_SESSION_NUMBER
    assert numbers.take("c", 1, TWO, "the same") is None


def test_two_gateways_share_numbers_before_there_are_none_left_for_a_third_to_be_asked_with() -> None:
    numbers = SessionNumbers()
    for place, instance in ((ONE, "one"), (TWO, "two")):
        for number in range(1, MAX_SESSIONS + 1):
            taken = numbers.take((place, number), number, place, instance)
            assert taken is not None

    third = numbers.take("c", 1, THREE, None)

    assert third is not None
    assert all(numbers.take(("d", number), number, THREE, "three") for number in range(2, MAX_SESSIONS + 1))


def test_there_may_be_more_gateways_than_numbers() -> None:
    numbers = SessionNumbers()
    taken: list[int] = []
    for number in range(3 * MAX_SESSION_NUMBER):
        place = Place(HostPort(f"gw{number}.example", 9056))
        found = numbers.take(number, 1, place, None)
        assert found is not None
        numbers.met(found, place, f"gateway {number}")
        taken.append(found)

    assert sorted(taken) == sorted([*range(1, MAX_SESSION_NUMBER + 1)] * 3)
    numbers.give_back(taken[70], Place(HostPort("gw70.example", 9056)))
    assert numbers.take(70, 1, Place(HostPort("gw70.example", 9056)), None) == taken[70]


def test_a_number_of_a_session_that_asks_who_is_there_is_never_shared() -> None:
    numbers = SessionNumbers()
    for number in range(MAX_SESSION_NUMBER):
        assert numbers.take(number, 1, Place(HostPort(f"gw{number}.example", 9056)), None)

    assert numbers.take("one more", 1, ONE, None) is None


@pytest.mark.anyio
async def test_who_has_to_ask_waits_for_a_number_and_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = SessionNumbers()
    places = [Place(HostPort(f"gw{number}.example", 9056)) for number in range(MAX_SESSION_NUMBER)]
    for place in places:
        numbers.take(place, 1, place, None)
    found: list[int | None] = []

    async def ask(place: Place) -> None:
        found.append(await numbers.wait(place, 1, place, None))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask, ONE)
        await anyio.wait_all_tasks_blocked()
        assert not found
        numbers.met(5, places[4], "known")
    assert found == [5]

    monkeypatch.setattr(session_numbers, "_PATIENCE", 0.01)
    assert await numbers.wait("one more", 1, TWO, None) is None


def test_every_session_can_have_one_successor_and_no_more() -> None:
    numbers = SessionNumbers()
    keepers = [*range(1, MAX_SESSIONS + 1)] * 2
    taken = [numbers.take(keeper, keeper, ONE, None) for keeper in keepers]

    assert sorted(number for number in taken if number is not None) == [*range(1, MAX_SESSION_NUMBER + 1)]
    assert numbers.take(1, 1, ONE, None) is None


@given(
    st.lists(
        st.tuples(
            st.booleans(),
            st.integers(1, 40),
            st.sampled_from([ONE, TWO, THREE]),
            st.sampled_from([None, "x", "y"]),
        )
    )
)
def test_no_number_is_given_twice_where_it_may_be_the_same_gateway(
    wishes: list[tuple[bool, int, Place, str | None]],
) -> None:
    numbers = SessionNumbers()
    used: list[tuple[int, Place, str | None]] = []
    for gives_back, wished, place, instance in wishes:
        if gives_back and used:
            number, where, _ = used.pop(0)
            numbers.give_back(number, where)
            continue
        taken = numbers.take(wished, wished, place, instance)
        rivals = [
            number
            for number, where, other in used
            if where == place or instance is None or other is None or other == instance
        ]
        if taken in rivals:  # there is none that is free of rivals, and nobody knows who is there
            assert set(rivals) == set(range(1, MAX_SESSION_NUMBER + 1))
            assert instance is None
            assert all(
                other is not None and where != place for number, where, other in used if number == taken
            )
        if taken is None:
            assert set(rivals) == set(range(1, MAX_SESSION_NUMBER + 1))
        else:
            used.append((taken, place, instance))
