"""Beyond the limit, who has taken nothing for the longest time gives way, and nobody else."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from transport.pump.held import Held


@dataclass(eq=False)
class Reader:
    """Somebody who reads slowly, or not at all."""

    held: Held
    holding: int = 0
    given_up: bool = False

    def receive(self, size: int) -> None:
        self.holding += size
        self.held.add(self, size)

    def read(self, size: int) -> None:
        self.holding -= size

    def give_up(self) -> None:
        assert not self.given_up
        self.given_up = True
        self.holding = 0
        self.held.discard(self)


def readers(held: Held, number: int) -> list[Reader]:
    return [Reader(held) for _ in range(number)]


def test_nobody_gives_way_up_to_the_limit() -> None:
    held = Held(100)
    one, other = readers(held, 2)
    one.receive(50)
    other.receive(50)

    assert held.size == 100
    assert not one.given_up
    assert not other.given_up


def test_who_stopped_reading_first_gives_way_and_only_as_many_as_must() -> None:
    held = Held(100)
    first, second, third = readers(held, 3)
    first.receive(40)
    second.receive(40)
    first.receive(10)
    third.receive(30)

    assert [reader.given_up for reader in (first, second, third)] == [True, False, False]
    assert held.size == 70


def test_who_reads_slowly_stays_and_who_does_not_read_gives_way() -> None:
    held = Held(100)
    slow, still, newcomer = readers(held, 3)
    slow.receive(50)
    still.receive(50)
    slow.read(10)
    newcomer.receive(20)

    assert [reader.given_up for reader in (slow, still, newcomer)] == [False, True, False]
    assert held.size == 60


def test_who_has_read_everything_is_not_given_up() -> None:
    held = Held(100)
    done, newcomer = readers(held, 2)
    done.receive(90)
    done.read(90)
    newcomer.receive(20)

    assert not done.given_up
    assert held.size == 20


def test_who_receives_more_than_the_limit_at_once_gives_way_itself() -> None:
    held = Held(100)
    (reader,) = readers(held, 1)
    reader.receive(101)

    assert reader.given_up
    assert held.size == 0


def test_the_crowd_of_one_session_costs_another_nothing() -> None:
    process = Held(300)
    crowd, other = Held(100, above=process), Held(100, above=process)
    (patient,) = readers(other, 1)
    patient.receive(100)
    for reader in readers(crowd, 10):
        reader.receive(50)

    assert not patient.given_up
    assert (crowd.size, other.size, process.size) == (100, 100, 200)


def test_the_process_gives_up_whoever_has_stood_still_the_longest_in_any_session() -> None:
    process = Held(150)
    one, other = Held(100, above=process), Held(100, above=process)
    (first,) = readers(one, 1)
    (second,) = readers(other, 1)
    first.receive(90)
    second.receive(90)

    assert (first.given_up, second.given_up) == (True, False)
    assert (one.size, other.size, process.size) == (0, 90, 90)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(-60, 60)), max_size=60))
def test_the_limits_hold_and_the_books_are_right_whatever_happens(steps: list[tuple[int, int]]) -> None:
    process = Held(200)
    sessions = [Held(120, above=process), Held(120, above=process)]
    crowd = [Reader(sessions[index % 2]) for index in range(6)]
    for index, size in steps:
        reader = crowd[index]
        if reader.given_up:
            continue
        if size > 0:
            reader.receive(size)
        elif size and reader.holding <= -size:
            reader.holding = 0
            reader.held.discard(reader)
        elif size:
            reader.read(-size)
        assert process.size <= 200
        assert all(session.size <= 120 for session in sessions)
        assert sum(one.holding for one in crowd) <= process.size
    for reader in crowd:
        reader.held.discard(reader)
    assert [process.size, *(session.size for session in sessions)] == [0, 0, 0]
