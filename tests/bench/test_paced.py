"""Requests at a fixed rate, and what becomes of slow answers."""

from __future__ import annotations

import socket
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.services import answering, service

from .paced import drive, is_complete, percentile

PAGE = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\npage"


def answer_each(connection: socket.socket) -> None:
    while connection.recv(1 << 16):
        connection.sendall(PAGE)


def driven(address: str, *, rate: float, seconds: float, connections: int = 4) -> dict[str, float]:
    host, _, port = address.rpartition(":")
    return drive(host, int(port), rate=rate, seconds=seconds, connections=connections)


@pytest.mark.parametrize("size", range(len(PAGE)))
def test_an_answer_is_complete_with_its_last_byte_and_not_before(size: int) -> None:
    assert not is_complete(PAGE[:size])
    assert is_complete(PAGE)


def test_the_length_of_an_answer_is_found_however_it_is_spelled() -> None:
    assert is_complete(b"HTTP/1.1 200 OK\r\nServer: x\r\ncontent-length:  2 \r\n\r\nok")


def test_an_error_is_no_answer() -> None:
    with pytest.raises(ConnectionError, match="503"):
        is_complete(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=200), st.sampled_from([50, 90, 99]))
def test_so_many_percent_do_not_exceed_a_percentile(values: list[float], percent: int) -> None:
    found = percentile(sorted(values), percent)

    assert found in values
    assert sum(value <= found for value in values) * 100 >= percent * len(values)
    assert sum(value < found for value in values) * 100 < percent * len(values)


def test_all_requests_that_are_due_are_sent_and_answered() -> None:
    with service(answer_each) as address:
        counted = driven(address, rate=500, seconds=0.1)

    assert (counted["requests"], counted["lost"]) == (50, 0)
    assert 0 < counted["p50_ms"] <= counted["p90_ms"] <= counted["p99_ms"] <= counted["max_ms"]


def test_a_request_that_finds_no_free_connection_is_timed_from_when_it_was_due() -> None:
    """One connection, whose service stalls at the first request and answers all the others at once."""
    stall = threading.Event()

    def stall_then_answer(connection: socket.socket) -> None:
        while connection.recv(1 << 16):
            stall.wait(0.3)
            stall.set()
            connection.sendall(PAGE)

    with service(stall_then_answer) as address:
        counted = driven(address, rate=100, seconds=0.1, connections=1)

    # Timed from when they are sent, nine of ten would look fast. All were due in the first 0.1 s of it.
    assert counted["lost"] == 0
    assert counted["p50_ms"] >= 200


def test_a_request_whose_connection_breaks_is_lost_and_not_forgotten() -> None:
    with service(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\ntoo little")) as address:
        counted = driven(address, rate=100, seconds=0.05)

    assert counted["lost"] == counted["requests"] == 5
    assert counted["p50_ms"] >= 1000
