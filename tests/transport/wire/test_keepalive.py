"""A peer is asked at every interval, and is dead when a question is followed by nothing at all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transport.wire.keepalive import SUSPICION, Keepalive, Verdict


def keepalive(interval: float = 15, timeout: float = 10) -> Keepalive:
    """One that asks for the first time one interval after 100."""
    return Keepalive(interval=interval, timeout=timeout, now=100.0 + interval)


def test_the_first_question_comes_at_once_and_the_next_after_an_interval() -> None:
    """What measures the path has to be sent before a download is."""
    timetable = Keepalive(interval=15, timeout=10, now=100.0)

    assert timetable.next_deadline() == 100
    assert timetable.handle_timeout(100, 0) is Verdict.PING
    timetable.pong(timetable.value, 100.1)
    assert timetable.next_deadline() == 115
    assert timetable.handle_timeout(114.9, 0) is Verdict.WAIT


def test_a_ping_is_due_at_every_interval() -> None:
    timetable = keepalive()
    for number in range(1, 5):
        now = timetable.next_deadline()
        assert timetable.handle_timeout(now, received=0) is Verdict.PING
        assert timetable.value == number
        timetable.pong(number, now + 1)
        assert timetable.next_deadline() == now + 15


def test_silence_behind_a_ping_means_death() -> None:
    timetable = keepalive()
    timetable.handle_timeout(115, 50)

    assert timetable.next_deadline() == 125
    assert timetable.handle_timeout(124.9, 50) is Verdict.WAIT
    assert timetable.handle_timeout(125, 50) is Verdict.DEAD


def test_any_byte_is_a_sign_of_life() -> None:
    timetable = keepalive()
    timetable.handle_timeout(115, 50)

    assert timetable.handle_timeout(125, 51) is Verdict.WAIT
    assert timetable.next_deadline() == 130
    assert timetable.handle_timeout(130, 51) is Verdict.PING
    assert timetable.handle_timeout(140, 51) is Verdict.DEAD


def test_an_interval_shorter_than_the_timeout_does_not_put_death_off() -> None:
    timetable = keepalive(interval=5, timeout=12)

    assert timetable.handle_timeout(105, 0) is Verdict.PING
    assert timetable.handle_timeout(110, 0) is Verdict.PING
    assert timetable.handle_timeout(115, 0) is Verdict.PING
    assert timetable.next_deadline() == 117
    assert timetable.handle_timeout(117, 0) is Verdict.DEAD


def test_an_answer_measures_the_ping_that_it_answers() -> None:
    timetable = keepalive(interval=5, timeout=12)
    timetable.handle_timeout(105, 0)
    timetable.handle_timeout(110, 0)
    timetable.pong(timetable.value, 110.25)

    assert timetable.round_trip == 0.25


def test_an_answer_behind_other_bytes_is_still_measured() -> None:
    timetable = keepalive()
    timetable.handle_timeout(115, 0)
    assert timetable.handle_timeout(125, 1_000_000) is Verdict.WAIT
    timetable.pong(timetable.value, 126)

    assert timetable.round_trip == 11


@pytest.mark.parametrize("value", [0, 2, 7])
def test_an_answer_to_another_question_measures_nothing(value: int) -> None:
    timetable = keepalive()
    timetable.pong(value, 101)
    timetable.handle_timeout(115, 0)
    timetable.pong(value, 116)

    assert timetable.round_trip is None
    assert timetable.handle_timeout(125, 0) is Verdict.DEAD


def test_a_repeated_answer_does_not_change_the_measurement() -> None:
    timetable = keepalive()
    timetable.handle_timeout(115, 0)
    timetable.pong(1, 116)
    timetable.pong(1, 120)

    assert timetable.round_trip == 1


def test_pings_that_were_slept_through_are_not_made_up_for() -> None:
    timetable = keepalive()

    assert timetable.handle_timeout(1_000, 0) is Verdict.PING
    timetable.pong(1, 1_001)
    assert timetable.next_deadline() == 1_015


@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 300))
def test_a_peer_is_dead_within_an_interval_and_a_timeout_of_its_last_byte(
    interval: int, timeout: int, last_byte: int
) -> None:
    timetable = Keepalive(interval=interval, timeout=timeout, now=0)
    while True:
        now = timetable.next_deadline()
        verdict = timetable.handle_timeout(now, received=round(min(now, last_byte)))
        if verdict is Verdict.DEAD:
            break
        assert timetable.next_deadline() > now
    assert last_byte + timeout <= now <= last_byte + interval + timeout


def test_shorter_times_hold_at_once_and_longer_ones_from_the_next_question_on() -> None:
    timetable = keepalive()
    timetable.handle_timeout(115, 0)
    timetable.pong(1, 115.1)

    timetable.change(interval=2, timeout=1, now=116)
    assert (timetable.next_deadline(), timetable.timeout) == (118, 1)
    assert timetable.handle_timeout(118, 0) is Verdict.PING
    assert timetable.next_deadline() == 119

    timetable.change(interval=60, timeout=30, now=118.5)
    assert timetable.handle_timeout(119, 0) is Verdict.WAIT
    assert timetable.handle_timeout(120, 0) is Verdict.PING
    assert timetable.handle_timeout(148, 0) is Verdict.DEAD


def test_a_peer_who_is_suspected_is_asked_at_once_and_has_less_time() -> None:
    timetable = keepalive()
    timetable.suspect(101, received=50)

    assert (timetable.next_deadline(), timetable.timeout) == (101, SUSPICION)
    assert timetable.handle_timeout(101.5, 50) is Verdict.PING
    timetable.suspect(102, received=50)  # by another, which changes nothing
    assert timetable.next_deadline() == 101.5 + SUSPICION
    assert timetable.handle_timeout(101.4 + SUSPICION, 50) is Verdict.WAIT
    assert timetable.handle_timeout(101.5 + SUSPICION, 50) is Verdict.DEAD


def test_any_byte_lifts_the_suspicion() -> None:
    timetable = keepalive()
    timetable.suspect(101, received=50)
    timetable.handle_timeout(101, 50)

    assert timetable.handle_timeout(101 + SUSPICION, 51) is Verdict.WAIT
    assert (timetable.next_deadline(), timetable.timeout) == (116, 10)
    timetable.suspect(110, received=51)
    assert timetable.handle_timeout(110, 51) is Verdict.PING
    assert timetable.handle_timeout(110 + SUSPICION, 51) is Verdict.DEAD


def test_a_peer_is_not_dead_before_it_could_hear_the_question() -> None:
    """A process that was stopped for a minute finds that everything is overdue."""
    timetable = keepalive()
    timetable.suspect(101, received=50)

    assert timetable.handle_timeout(161, 50) is Verdict.PING
    assert timetable.handle_timeout(161 + SUSPICION, 50) is Verdict.DEAD


def test_a_path_that_takes_long_has_three_round_trips_to_lift_the_suspicion() -> None:
    timetable = keepalive()
    timetable.handle_timeout(115, 0)
    timetable.pong(1, 117.5)
    timetable.suspect(120, received=50)

    assert timetable.handle_timeout(120, 50) is Verdict.PING
    assert timetable.next_deadline() == 127.5
    assert timetable.handle_timeout(127.5, 50) is Verdict.DEAD


def test_suspicion_gives_nobody_more_time_than_there_is_anyway() -> None:
    timetable = Keepalive(interval=15, timeout=1, now=100)
    timetable.handle_timeout(100, 0)
    timetable.suspect(100.5, received=0)

    assert timetable.handle_timeout(100.5, 0) is Verdict.PING
    assert (timetable.timeout, timetable.handle_timeout(101, 0)) == (1, Verdict.DEAD)
