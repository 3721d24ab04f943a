"""Counts of visitors and bytes."""

from __future__ import annotations

from typing import cast

from agent.traffic import TrafficBook, TrafficMeter, service_side, visitor_side
from schemas.status import Traffic
from transport.pump.relay import Relay


class Counts:
    """As much of a relay as is counted."""

    def __init__(self) -> None:
        self.bytes_read = 0
        self.bytes_written = 0


def relay() -> tuple[Counts, Relay]:
    counts = Counts()
    return counts, cast("Relay", counts)


def test_a_relay_counts_while_it_is_open() -> None:
    meter = TrafficMeter(visitor_side)
    counts, one = relay()
    meter.opened(one)
    counts.bytes_read, counts.bytes_written = 3, 50

    assert meter.snapshot() == Traffic(open=1, total=1, bytes_in=3, bytes_out=50)


def test_a_relay_counts_once_and_for_ever_when_it_has_ended() -> None:
    meter = TrafficMeter(visitor_side)
    counts, one = relay()
    meter.opened(one)
    counts.bytes_read, counts.bytes_written = 3, 50

    meter.closed(one)
    meter.closed(one)
    counts.bytes_read = 1_000  # nobody looks at it any more

    assert meter.snapshot() == Traffic(open=0, total=1, bytes_in=3, bytes_out=50)


def test_ending_a_relay_that_was_never_opened_counts_nothing() -> None:
    meter = TrafficMeter(visitor_side)

    meter.closed(relay()[1])

    assert meter.snapshot() == Traffic()


def test_in_is_towards_the_service_whichever_socket_the_relay_has() -> None:
    counts, one = relay()
    counts.bytes_read, counts.bytes_written = 3, 50

    assert visitor_side(one) == (3, 50)
    assert service_side(one) == (50, 3)


def test_every_name_has_a_meter_of_its_own_which_it_keeps() -> None:
    book = TrafficBook(visitor_side)
    _, one = relay()

    book["blog"].opened(one)

    assert book["blog"].snapshot().open == 1
    assert book["mail"].snapshot().open == 0


def test_nothing_is_kept_of_a_relay_that_has_ended() -> None:
    meter = TrafficMeter(visitor_side)
    for _ in range(1_000):
        _, one = relay()
        meter.opened(one)
        meter.closed(one)

    assert not meter._open
    assert meter.snapshot().total == 1_000


def test_of_too_many_names_those_without_visitors_for_the_longest_time_are_forgotten() -> None:
    book = TrafficBook(visitor_side, most=10)
    kept = {}
    for number in range(10):
        _, kept[number] = relay()
        book[f"tunnel {number}"].opened(kept[number])
    for number in range(1, 10):
        book[f"tunnel {number}"].closed(kept[number])
    _, again = relay()
    book["tunnel 1"].opened(again)
    book["tunnel 1"].closed(again)

    assert book["one more"].snapshot() == Traffic()

    totals = {number: book[f"tunnel {number}"].snapshot().total for number in (0, 1, 3, 9)}
    assert totals == {0: 1, 1: 2, 3: 1, 9: 1}
    assert "tunnel 2" not in book._meters


def test_no_name_with_a_visitor_is_forgotten_however_many_there_are() -> None:
    book = TrafficBook(visitor_side, most=10)
    for number in range(100):
        book[f"tunnel {number}"].opened(relay()[1])

    assert all(book[f"tunnel {number}"].snapshot().open == 1 for number in range(100))


def test_names_that_come_and_go_do_not_pile_up() -> None:
    book = TrafficBook(visitor_side, most=10)
    for number in range(1_000):
        _, one = relay()
        book[f"tunnel {number}"].opened(one)
        book[f"tunnel {number}"].closed(one)

    assert len(book._meters) <= 10


def test_asking_for_the_traffic_of_a_name_that_had_none_makes_no_meter() -> None:
    book = TrafficBook(visitor_side, most=1)
    meter = book["blog"]

    assert [book.traffic(f"other{number}") for number in range(10)] == [Traffic()] * 10

    assert book["blog"] is meter
    assert book.traffic("blog") == meter.snapshot()
