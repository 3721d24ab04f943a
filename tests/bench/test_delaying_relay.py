"""The long path: when bytes arrive, how many may be on their way, and that all of them do arrive."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from pathlib import Path as FilePath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.services import echo, listening, service, target
from tests.support.site import connect, free_ports, own_address, read_all

from . import delaying_relay
from .delaying_relay import Half, Path
from .processes import running, wait_listening

MEGABIT = 1e6 / 8  # bytes a second


def path(*, delay: float = 0.05, rate: float = 8e6, queue: int = 100_000) -> Path:
    return Path(delay=delay, rate=rate, queue=queue)


def test_on_an_idle_link_bytes_arrive_after_their_own_time_and_the_delay() -> None:
    assert path().send(10_000, now=7.0) == pytest.approx(7.0 + 0.01 + 0.05)


def test_bytes_wait_for_those_before_them() -> None:
    link = path()

    first, second = link.send(10_000, now=0.0), link.send(10_000, now=0.0)

    assert second - first == pytest.approx(0.01)


@given(st.lists(st.tuples(st.integers(1, 65_536), st.floats(0, 0.1)), min_size=1, max_size=60))
def test_no_link_is_faster_than_its_rate(steps: list[tuple[int, float]]) -> None:
    link, now, sent, arrived = path(), 0.0, 0, 0.0
    for size, pause in steps:
        now += pause
        sent += size
        arrived = link.send(size, now)

    assert arrived >= sent / 1e6 + 0.05 - 1e-9


@given(st.lists(st.integers(1, 65_536), min_size=1, max_size=60))
def test_whoever_sends_when_there_is_room_never_has_more_on_the_way_than_the_path_holds(
    sizes: list[int],
) -> None:
    link, now = path(), 0.0
    on_the_way: list[tuple[float, int]] = []
    for size in sizes:
        now = link.room_at(now)
        on_the_way.append((link.send(size, now), size))
        assert sum(one for due, one in on_the_way if due > now) <= link.in_flight_limit


def test_a_full_queue_has_room_again_when_the_link_has_taken_enough() -> None:
    link = path(queue=0)
    link.send(20_000, now=1.0)

    assert link.room_at(1.0) == pytest.approx(1.02)
    assert link.room_at(5.0) == 5.0


def test_nothing_is_written_before_it_is_due() -> None:
    (near, source), (sink, far) = socket.socketpair(), socket.socketpair()
    with near, source, sink, far:
        half = Half(path(delay=1.0), source, sink)
        far.setblocking(False)
        near.sendall(b"late")
        half.read(now=0.0)

        half.write(now=0.5)
        with pytest.raises(BlockingIOError):
            far.recv(10)
        half.write(now=1.5)

        assert far.recv(10) == b"late"


@pytest.fixture
def relayed(tmp_path: FilePath) -> Iterator[str]:
    """Where an echo service answers at the far end of a path that is fast and short."""
    address = own_address()
    listen = f"{address}:{next(free_ports(address))}"
    numbers = ("--delay", "0.005", "--rate", "4e9", "--queue", "100000")
    with (
        service(echo) as far,
        running("relay", [sys.executable, delaying_relay.__file__, listen, far, *numbers], tmp_path) as relay,
    ):
        wait_listening(listen, relay)
        yield listen


def test_bytes_and_the_end_cross_it_both_ways(relayed: str) -> None:
    words = bytes(range(256)) * 40
    with connect(relayed) as visitor:
        visitor.sendall(words)
        visitor.shutdown(socket.SHUT_WR)

        assert read_all(visitor) == words


def test_a_far_end_that_refuses_ends_the_visitor_and_not_the_relay(tmp_path: FilePath) -> None:
    address = own_address()
    ports = free_ports(address)
    listen = f"{address}:{next(ports)}"
    numbers = ("--delay", "0.005", "--rate", "4e9", "--queue", "100000")
    with listening(address) as later:
        far = target(later)
    command = [sys.executable, delaying_relay.__file__, listen, far, *numbers]
    with running("relay", command, tmp_path) as relay:
        wait_listening(listen, relay)
        with connect(listen) as visitor:
            assert visitor.recv(1) == b""
        host, _, port = far.rpartition(":")
        with (
            socket.create_server((host, int(port))) as back,
            connect(listen) as visitor,
        ):
            peer, _ = back.accept()
            with peer:
                visitor.sendall(b"there?")
                assert peer.recv(10) == b"there?"
