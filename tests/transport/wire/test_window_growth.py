"""A window grows to what its path and its destination can use, and no further.

The path is simulated: both muxes are real, time is a number, and a link carries its bytes at a rate and
with a delay. So a figure here is the protocol's own, on any machine.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from itertools import count
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.mux_pair import End, RecordingSink
from transport.wire.budget import Budget
from transport.wire.mux import Mux, MuxStream, Role
from transport.wire.window import INITIAL_WINDOW, MAX_WINDOW, ReceiveWindow, WindowGrowth

MIB: Final = 1024 * 1024
CHUNK: Final = 64 * 1024


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Path:
    """A download over a link of that rate and round trip, to a destination that takes at a rate.

    Rates are in bytes a second, times in seconds. The link keeps at most ``queue`` bytes unsent.
    """

    rate: float
    round_trip: float
    takes: float = float("inf")
    budget: Budget = field(default_factory=lambda: Budget(1_000 * MIB))
    queue: int = 256 * 1024

    def __post_init__(self) -> None:
        self.clock = Clock()
        self.sender, self.receiver = End(Role.SERVER), End(Role.CLIENT)
        self.sender.mux = Mux(Role.SERVER, self.sender, lambda: None)
        self.growth = WindowGrowth(self.budget, self.clock)
        self.receiver.mux = Mux(Role.CLIENT, self.receiver, lambda: None, growth=self.growth)
        self.growth.round_trip_measured(self.round_trip)
        self.taken = 0
        self._arrived = 0
        self._order = count()
        self._events: list[tuple[float, int, str, bytes]] = []
        self._link_free_at = 0.0
        self._destination_free_at = 0.0
        self._stream = self.sender.mux.open_stream(RecordingSink(), b"x")

    @property
    def far(self) -> MuxStream:
        return self.receiver.mux.streams[self._stream.id]

    @property
    def window(self) -> ReceiveWindow:
        return self.far._receive_window

    def run(self, seconds: float) -> None:
        """Download for that long."""
        end = self.clock.now + seconds
        self._send()
        while self._events and self._events[0][0] <= end:
            self.clock.now, _, what, data = heapq.heappop(self._events)
            if what == "sent":
                pass
            elif what == "to the receiver":
                self.receiver.mux.receive(memoryview(data))
                if self._arrived == 0:
                    self.receiver.offered[0].accept()
                self._take()
            elif what == "taken":
                self.taken += len(data)
                self.far.take(len(data))
            else:
                self.sender.mux.receive(memoryview(data))
            self._answer()
            self._send()
        self.clock.now = end

    def _send(self) -> None:
        """What a pump does: read into the credit, while the link has room."""
        while self._link_free_at - self.clock.now < self.queue / self.rate and self._stream.send_credit:
            self._stream.send(bytes(min(CHUNK, self._stream.send_credit)))
            data = bytes(self.sender.mux.take_output())
            self._link_free_at = max(self._link_free_at, self.clock.now) + len(data) / self.rate
            self._at(self._link_free_at, "sent")
            self._at(self._link_free_at + self.round_trip / 2, "to the receiver", data)

    def _take(self) -> None:
        sink = self.far.sink
        assert isinstance(sink, RecordingSink)
        size = len(sink.received) - self._arrived
        self._arrived += size
        self._destination_free_at = max(self._destination_free_at, self.clock.now) + size / self.takes
        self._at(self._destination_free_at, "taken", bytes(size))

    def _answer(self) -> None:
        data = bytes(self.receiver.mux.take_output())
        if data:
            self._at(self.clock.now + self.round_trip / 2, "to the sender", data)

    def _at(self, time: float, what: str, data: bytes = b"") -> None:
        heapq.heappush(self._events, (time, next(self._order), what, data))


@pytest.mark.parametrize(
    ("rate", "round_trip"), [(10e6, 0.1), (50e6, 0.1), (50e6, 0.02), (200e6, 0.005), (2e6, 0.3)]
)
def test_one_download_fills_the_path(rate: float, round_trip: float) -> None:
    """After the first second and a few round trips, which it takes to learn what the path holds."""
    path = Path(rate=rate, round_trip=round_trip)
    path.run(1 + 10 * round_trip)
    before = path.taken
    path.run(2)

    assert path.taken - before > 0.95 * 2 * rate


def test_a_window_that_does_not_grow_is_what_limits_a_download() -> None:
    """Or the test before this one would show nothing."""
    path = Path(rate=50e6, round_trip=0.1, budget=Budget(0))
    path.run(2)

    assert path.taken < 0.06 * 2 * 50e6
    assert path.window.size == INITIAL_WINDOW


def test_a_window_grows_to_no_more_than_three_times_what_the_path_holds() -> None:
    path = Path(rate=20e6, round_trip=0.1)
    path.run(5)

    assert 2e6 < path.window.size < 3 * 2e6 + path.queue


def test_a_window_grows_to_16_mib_at_most() -> None:
    path = Path(rate=1e9, round_trip=0.2)
    path.run(3)

    assert path.window.size == MAX_WINDOW


def test_a_path_without_delay_keeps_the_window_that_every_stream_begins_with() -> None:
    path = Path(rate=100e6, round_trip=0.0002)
    path.run(0.5)

    assert path.window.size == INITIAL_WINDOW


def test_a_path_without_delay_is_given_what_two_busy_processes_need_to_take_turns() -> None:
    path = Path(rate=1e9, round_trip=0.00005)
    path.run(0.5)

    assert 1e6 < path.window.size < 3e6


def test_a_slow_destination_keeps_a_small_window_on_a_fast_link() -> None:
    path = Path(rate=100e6, round_trip=0.1, takes=1e6)
    path.run(5)

    assert path.window.size == INITIAL_WINDOW


def test_a_window_has_no_more_of_the_budget_than_is_left_for_others() -> None:
    budget = Budget(MIB)
    path = Path(rate=100e6, round_trip=0.1, budget=budget)
    path.run(2)

    assert path.window.size == INITIAL_WINDOW + MIB // 2
    assert budget.free == MIB // 2


def test_windows_that_grew_and_rest_leave_something_to_whoever_comes() -> None:
    """A window cannot shrink: what was granted may be used. Its stream may be open for days."""
    budget = Budget(64 * MIB)
    resting = [Path(rate=1e9, round_trip=0.2, budget=budget) for _ in range(6)]
    for path in resting:
        path.run(3)
    assert resting[0].window.size == MAX_WINDOW
    newcomer = Path(rate=10e6, round_trip=0.05, budget=budget)
    newcomer.run(3)

    assert newcomer.window.size > 2 * INITIAL_WINDOW


@pytest.mark.parametrize("ending", ["reset", "link lost"])
def test_what_a_window_had_grown_by_goes_back_when_its_stream_is_gone(ending: str) -> None:
    path = Path(rate=100e6, round_trip=0.1)
    path.run(2)
    assert path.budget.used > MIB
    if ending == "reset":
        path.far.reset()
    else:
        path.receiver.mux.connection_lost()

    assert path.budget.used == 0


def test_nothing_grows_before_a_ping_was_answered() -> None:
    growth = WindowGrowth(Budget(100 * MIB), Clock())
    window = ReceiveWindow()

    assert [growth.grow(window, MIB) for _ in range(10)] == [0] * 10


def test_a_ping_that_was_queued_behind_a_download_does_not_count() -> None:
    """Its time is the queue's. A window that grew with it would make the queue longer, and so on."""
    path = Path(rate=2e6, round_trip=0.02)
    path.run(1)
    path.growth.round_trip_measured(3.0)
    path.run(5)

    assert path.window.size == INITIAL_WINDOW


@given(st.lists(st.tuples(st.floats(0, 10), st.integers(1, 32 * MIB)), max_size=40), st.floats(0, 1))
def test_whatever_is_measured_a_window_stays_within_its_bounds(
    steps: list[tuple[float, int]], round_trip: float
) -> None:
    """The clock may stand still, and a round trip may be nothing."""
    clock, budget, window = Clock(), Budget(8 * MIB), ReceiveWindow()
    growth = WindowGrowth(budget, clock)
    growth.round_trip_measured(round_trip)
    for elapsed, taken in steps:
        clock.now += elapsed
        before = window.size
        extra = growth.grow(window, taken)
        assert window.size == before + extra <= min(MAX_WINDOW, INITIAL_WINDOW + 8 * MIB)
        assert extra >= 0
        assert budget.used == window.size - INITIAL_WINDOW
        assert window.remaining == window.size
