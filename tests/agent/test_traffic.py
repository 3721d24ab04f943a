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
