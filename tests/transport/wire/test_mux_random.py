"""Whatever two honest muxes do, in any order and however late it arrives, the books of both stay right.

Per stream and direction: the bytes that arrive are a prefix of those that were sent, and all of them once the
link has fallen silent; nothing follows an end; no credit falls below zero; and no credit is lost: what the
sender has, what is on its way in either form, what the destination has not taken and what is owed for the
rest is the window, also while that grows. Sinks and owners act from within what they are told, the link may
go at any moment, and either side may say that it takes no more streams.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.support.mux_pair import End, MuxPair, RecordingSink
from tests.support.wire_tally import Tally
from transport.wire.budget import Budget
from transport.wire.errors import LocalProtocolError
from transport.wire.frames import GoAwayCode
from transport.wire.mux import Mux, MuxLimits, MuxStream, Role, StreamSink
from transport.wire.stream_state import StreamState
from transport.wire.window import INITIAL_WINDOW, WindowGrowth

LIMITS = MuxLimits(max_offered=4, max_streams=6)
GROWTH = 400_000  # for all windows of one end: less than three would like
UNANSWERED = {StreamState.OFFERED, StreamState.OFFERED_REMOTE_ENDED}
ENDABLE = {StreamState.OPENING, StreamState.OPEN, StreamState.REMOTE_ENDED}

TOLD = st.sampled_from(["offered", "data", "fin", "reset", "acknowledged", "credit"])
ACT = st.sampled_from(["reset", "open", "end", "accept", "take", "send", "ping"])


class CallingSink(RecordingSink):
    """A recording sink that acts, once, on what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.planned: dict[str, Callable[[], None]] = {}

    def _tell(self, what: str) -> None:
        act = self.planned.pop(what, None)
        if act is not None:
            act()

    def data(self, chunk: memoryview) -> None:
        super().data(chunk)
        self._tell("data")

    def fin(self) -> None:
        super().fin()
        self._tell("fin")

    def reset(self) -> None:
        super().reset()
        self._tell("reset")

    def acknowledged(self) -> None:
        super().acknowledged()
        self._tell("acknowledged")

    def credit(self) -> None:
        super().credit()
        self._tell("credit")


@dataclass(eq=False)
class Half:
    """One end of a stream, and what was done there."""

    end: TalliedEnd
    stream: MuxStream
    sink: CallingSink
    sent: bytearray = field(default_factory=bytearray)
    ended: bool = False
    reset: bool = False  # by us


@dataclass(frozen=True, eq=False)
class Whole:
    """Both ends of a stream; the far one is missing while its opening is on the way, or if it was refused."""

    near: Half
    far: Half | None


@dataclass(eq=False)
class TalliedEnd(End):
    """An end that keeps its halves of streams from the moment they are offered, and counts what arrives."""

    halves: dict[int, Half] = field(default_factory=dict)
    arrived: Tally = field(default_factory=Tally)
    on_offered: Callable[[Half], None] | None = None  # acts once on the next offer
    is_leaving: bool = False
    now: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        # Windows grow: the path is long, and each look at the clock finds it later.
        self.budget = Budget(GROWTH)
        growth = WindowGrowth(self.budget, self._later)
        growth.round_trip_measured(1.0)
        self.mux = Mux(self.role, self, self._wake, limits=self.limits, growth=growth)

    def _later(self) -> float:
        self.now += 1.0
        return self.now

    def stream_offered(self, stream: MuxStream) -> StreamSink | None:
        if not self.accepts:
            return None
        assert not self.is_leaving
        half = self.halves[stream.id] = Half(self, stream, CallingSink())
        act, self.on_offered = self.on_offered, None
        if act is not None:
            act(half)
        return half.sink


class TalliedPair(MuxPair):
    """Two such ends. What is delivered to one is counted there."""

    client: TalliedEnd
    server: TalliedEnd

    def __init__(self, limits: MuxLimits) -> None:
        self.client = TalliedEnd(Role.CLIENT, limits)
        self.server = TalliedEnd(Role.SERVER, limits)

    def far(self, end: TalliedEnd) -> TalliedEnd:
        return self.server if end is self.client else self.client

    def deliver(self, end: End, size: int | None = None) -> int:
        end.flush()
        (self.server if end is self.client else self.client).arrived.pass_by(bytes(end.outgoing[:size]))
        return super().deliver(end, size)

    def said(self, end: TalliedEnd) -> Tally:
        """All that an end has ever said: what has arrived at the other, and what has not."""
        end.flush()
        said = self.far(end).arrived.copy()
        said.pass_by(bytes(end.outgoing))
        return said


class TwoMuxes(RuleBasedStateMachine):
    """Everything that a shell can do to a pair of muxes."""

    def __init__(self) -> None:
        super().__init__()
        self.counter = 0
        self.connect()

    def connect(self) -> None:
        """A fresh session."""
        self.patience = self.counter + 8  # so much is said before either side goes away
        self.pair = TalliedPair(LIMITS)
        self.opened: list[tuple[TalliedEnd, int]] = []
        self.pings: dict[TalliedEnd, list[int]] = {end: [] for end in self.ends()}
        self.farewells: dict[TalliedEnd, list[GoAwayCode]] = {end: [] for end in self.ends()}

    # What there is to act on

    def ends(self) -> tuple[TalliedEnd, TalliedEnd]:
        return self.pair.client, self.pair.server

    def end(self, is_client: bool) -> TalliedEnd:
        return self.pair.client if is_client else self.pair.server

    def halves(self) -> list[Half]:
        return [half for end in self.ends() for half in end.halves.values()]

    def live(self) -> list[Half]:
        return [half for half in self.halves() if not half.stream.is_closed]

    def pick(self, data: st.DataObject, halves: list[Half]) -> Half:
        return data.draw(st.sampled_from(halves), label="stream")

    def payload(self, size: int) -> bytes:
        """Bytes that tell their place, so that any mix-up shows."""
        self.counter += 1
        return (self.counter.to_bytes(4, "big") * (size // 4 + 1))[:size]

    # What can be done, also from within a call

    def open_stream(self, end: TalliedEnd, size: int) -> None:
        sink = CallingSink()
        first = self.payload(size)
        stream = end.mux.open_stream(sink, first)
        end.halves[stream.id] = Half(end, stream, sink, bytearray(first))
        self.opened.append((end, stream.id))

    def say(self, half: Half, size: int) -> None:
        chunk = self.payload(size)
        half.stream.send(memoryview(chunk))
        half.sent += chunk

    def end_half(self, half: Half) -> None:
        half.stream.send_fin()
        half.ended = True

    def reset_half(self, half: Half) -> None:
        before = half.end.mux.output_size
        half.stream.reset()
        half.reset = True
        assert half.end.mux.output_size == before + 12  # whatever the credit was

    def take_some(self, half: Half, amount: int) -> None:
        half.sink.taken += amount
        half.stream.take(amount)

    def ask(self, end: TalliedEnd, value: int) -> None:
        end.mux.ping(value)
        self.pings[end].append(value)

    def act(self, half: Half, act: str) -> None:
        """Do it if it is allowed in this moment."""
        stream = half.stream
        match act:
            case "reset" if not stream.is_closed:
                self.reset_half(half)
            case "open" if half.end.mux.can_open:
                self.open_stream(half.end, 9)
            case "end" if stream.state in ENDABLE:
                self.end_half(half)
            case "accept" if stream.state in UNANSWERED:
                stream.accept()
            case "take" if half.sink.untaken:
                self.take_some(half, half.sink.untaken)
            case "send" if stream.may_send:
                self.say(half, min(1_000, stream.send_credit))
            case "ping":
                self.ask(half.end, 1)
            case _:
                pass

    # The rules. Few, and each does much: Hypothesis leaves some out of every run

    @initialize(counts=st.tuples(st.integers(0, 2), st.integers(0, 2)), is_accepted=st.booleans())
    def early_streams(self, counts: tuple[int, int], is_accepted: bool) -> None:
        for end, count in zip(self.ends(), counts, strict=True):
            for _ in range(count):
                self.open_stream(end, 0)
        if is_accepted:
            self.pair.settle()
            for half in self.live():
                self.act(half, "accept")
            self.pair.settle()

    @rule(is_client=st.booleans(), size=st.integers(0, 100))
    def open(self, is_client: bool, size: int) -> None:
        end = self.end(is_client)
        if end.mux.can_open:
            self.open_stream(end, size)
            return
        before = end.mux.output_size
        with pytest.raises(LocalProtocolError):
            end.mux.open_stream(CallingSink())
        assert end.mux.output_size == before

    @precondition(lambda self: bool(self.live()))
    @rule(data=st.data(), act=ACT)
    def act_on_a_stream(self, data: st.DataObject, act: str) -> None:
        self.act(self.pick(data, self.live()), act)

    @precondition(lambda self: any(half.stream.may_send for half in self.live()))
    @rule(data=st.data(), share=st.sampled_from([0.001, 0.5, 1.0]), times=st.integers(0, 3))
    def send(self, data: st.DataObject, share: float, times: int) -> None:
        """Once, and it stays on its way; or some times, each time taken in full before the next."""
        half = self.pick(data, [half for half in self.live() if half.stream.may_send])
        before = half.end.mux.output_size
        with pytest.raises(LocalProtocolError):
            half.stream.send(bytes(half.stream.send_credit + 1))
        assert half.end.mux.output_size == before
        self.say(half, round(half.stream.send_credit * share))
        for _ in range(times):
            self.pair.deliver(half.end)
            other = self.pair.far(half.end).halves.get(half.stream.id)
            if other is None:
                return  # refused
            self.act(other, "take")
            self.pair.deliver(other.end)
            if half.stream.may_send:
                self.say(half, round(half.stream.send_credit * share))

    @precondition(lambda self: any(half.sink.untaken for half in self.halves()))
    @rule(data=st.data(), share=st.sampled_from([0.01, 0.5, 1.0]))
    def take(self, data: st.DataObject, share: float) -> None:
        """Also on a stream that is closed by now: the destination does not know."""
        half = self.pick(data, [half for half in self.halves() if half.sink.untaken])
        self.take_some(half, max(1, round(half.sink.untaken * share)))

    @rule(is_client=st.booleans(), size=st.one_of(st.integers(1, 40), st.integers(1, 600_000)))
    def deliver(self, is_client: bool, size: int) -> None:
        self.pair.deliver(self.end(is_client), size)

    @rule()
    def settle(self) -> None:
        self.pair.settle()
        for whole in self.wholes():
            self.check_settled(whole)
        assert {end: end.pongs for end in self.ends()} == self.pings
        assert {self.pair.far(end): end.farewells for end in self.ends()} == self.farewells

    @rule(data=st.data(), told=TOLD, act=ACT)
    def plan_what_is_done_when_something_is_told(self, data: st.DataObject, told: str, act: str) -> None:
        """To the stream of which it is told, or to another one of the same end."""
        if told == "offered":
            end = self.end(data.draw(st.booleans(), label="is_client"))
            end.on_offered = lambda half: self.act(half, act)
        elif self.live():
            half = self.pick(data, self.live())
            other = self.pick(data, [other for other in self.live() if other.end is half.end])
            half.sink.planned[told] = lambda: self.act(other, act)

    @rule(is_client=st.booleans(), accepts=st.booleans())
    def refuse_or_not_what_is_offered_next(self, is_client: bool, accepts: bool) -> None:
        self.end(is_client).accepts = accepts

    @precondition(lambda self: self.counter >= self.patience)
    @rule(is_client=st.booleans(), code=st.just(GoAwayCode.NORMAL) | st.sampled_from(GoAwayCode))
    def go_away(self, is_client: bool, code: GoAwayCode) -> None:
        """What is open goes on; what a shell does about a code is not the mux's business."""
        end = self.end(is_client)
        end.mux.go_away(code)
        end.is_leaving = True
        self.farewells[end].append(code)
        assert not end.mux.can_open

    @precondition(lambda self: self.counter >= self.patience)
    @rule(is_client=st.booleans(), rest=st.integers(0, 100_000))
    def lose_the_link(self, is_client: bool, rest: int) -> None:
        """One end notices first; of what it said, some still arrives at the other. Then they connect anew."""
        first = self.end(is_client)
        self.lose(first)
        self.pair.deliver(first, rest)
        self.what_arrived_was_sent()
        self.lose(self.pair.far(first))
        self.connect()

    def lose(self, end: TalliedEnd) -> None:
        told = [half for half in end.halves.values() if not half.stream.is_closed]
        end.mux.connection_lost()
        assert end.mux.streams == {}
        assert end.mux._offered == end.budget.used == 0
        assert all(half.sink.is_reset or half.reset for half in told)
        assert not end.mux.can_open
        end.receive(b"whatever comes now is nobody's")

    # What must hold

    def wholes(self) -> list[Whole]:
        return [
            Whole(end.halves[number], self.pair.far(end).halves.get(number)) for end, number in self.opened
        ]

    @invariant()
    def what_arrived_was_sent(self) -> None:
        for whole in self.wholes():
            for half, other in ((whole.near, whole.far), (whole.far, whole.near)):
                if half is not None:
                    sent = other.sent if other is not None else b""
                    assert sent.startswith(half.sink.received)
                    assert not half.sink.is_ended or len(half.sink.received) == len(sent)

    @invariant()
    def no_credit_is_lost_or_made(self) -> None:
        said = {end: self.pair.said(end) for end in self.ends()}
        for half in self.live():
            number, far = half.stream.id, self.pair.far(half.end)
            window = half.stream._receive_window
            assert half.stream.send_credit >= 0
            assert window.remaining >= 0
            assert window.owed >= 0
            untaken = half.end.arrived.payload[number] - half.sink.taken  # with what is within its frame
            assert window.remaining + window.owed + untaken == window.size
            sender = far.halves.get(number)
            if half.stream.may_receive and sender is not None and not sender.stream.is_closed:
                on_its_way = said[far].payload[number] - half.end.arrived.payload[number]
                coming_back = said[half.end].credit[number] - far.arrived.credit[number]
                assert sender.stream.send_credit + on_its_way + coming_back == window.remaining

    @invariant()
    def the_books_are_right(self) -> None:
        for end in self.ends():
            streams = end.mux.streams
            assert {half.stream for half in self.live() if half.end is end} == set(streams.values())
            unanswered = sum(stream.state in UNANSWERED for stream in streams.values())
            assert end.mux._offered == unanswered <= LIMITS.max_offered
            assert len(streams) <= LIMITS.max_streams
            grown = sum(stream._receive_window.size - INITIAL_WINDOW for stream in streams.values())
            assert end.budget.used == grown <= GROWTH

    def check_settled(self, whole: Whole) -> None:
        """Nothing is on the way: both ends know all."""
        near, far = whole.near, whole.far
        if far is None:
            assert near.sink.is_reset or near.reset
            return
        assert near.stream.is_closed == far.stream.is_closed
        was_reset = near.reset or far.reset
        for half, other in ((near, far), (far, near)):
            assert not half.sink.is_reset or other.reset
            if was_reset:
                assert half.sink.is_reset or half.reset or half.stream.is_closed
                continue
            assert half.sink.received == other.sent
            assert half.sink.is_ended == other.ended

    def teardown(self) -> None:
        for half in self.halves():
            half.sink.planned.clear()
        for end in self.ends():
            end.on_offered = None
        self.settle()
        for half in self.live():
            self.reset_half(half)
        self.settle()
        assert self.pair.client.mux.streams == self.pair.server.mux.streams == {}
        assert (self.pair.client.mux._offered, self.pair.server.mux._offered) == (0, 0)


TestTwoMuxes = TwoMuxes.TestCase
TestTwoMuxes.settings = settings(max_examples=250, stateful_step_count=60)
