"""Whatever two honest muxes do, in any order and however late it arrives, the books of both stay right.

Per stream and direction: the bytes that arrive are a prefix of those that were sent, and all of them once the
link has fallen silent; nothing follows an end; no credit falls below zero; and what a receiver may still get,
owes and has not taken is its window.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.support.mux_pair import End, MuxPair, RecordingSink, sink_of
from transport.wire.mux import MuxLimits, MuxStream
from transport.wire.stream_state import StreamState
from transport.wire.window import INITIAL_WINDOW

LIMITS = MuxLimits(max_offered=4, max_streams=6)
UNANSWERED = {StreamState.OFFERED, StreamState.OFFERED_REMOTE_ENDED}
ENDABLE = {StreamState.OPENING, StreamState.OPEN, StreamState.REMOTE_ENDED}


@dataclass(eq=False)
class Half:
    """One end of a stream, and what was done there."""

    end: End
    stream: MuxStream
    sink: RecordingSink
    sent: bytearray = field(default_factory=bytearray)
    ended: bool = False
    reset: bool = False  # by us


@dataclass(frozen=True, eq=False)
class Whole:
    """Both ends of a stream; the far one is missing while its opening is on the way, or if it was refused."""

    near: Half
    far: Half | None


class TwoMuxes(RuleBasedStateMachine):
    """Everything that a shell can do to a pair of muxes."""

    def __init__(self) -> None:
        super().__init__()
        self.pair = MuxPair(LIMITS)
        self.halves: dict[tuple[End, int], Half] = {}
        self.opened: list[tuple[End, int]] = []
        self.pings: dict[End, list[int]] = {self.pair.client: [], self.pair.server: []}
        self.counter = 0

    # What there is to act on

    def ends(self) -> tuple[End, End]:
        return self.pair.client, self.pair.server

    def adopt(self) -> None:
        """Make a half of every stream that was offered since."""
        for end in self.ends():
            for stream in end.offered:
                self.halves.setdefault((end, stream.id), Half(end, stream, sink_of(stream)))

    def pick(self, data: st.DataObject, halves: list[Half]) -> Half:
        return data.draw(st.sampled_from(halves), label="stream")

    def live(self) -> list[Half]:
        return [half for half in self.halves.values() if not half.stream.is_closed]

    def payload(self, size: int) -> bytes:
        """Bytes that tell their place, so that any mix-up shows."""
        self.counter += 1
        return (self.counter.to_bytes(4, "big") * (size // 4 + 1))[:size]

    # What can be done

    @initialize(is_early=st.booleans())
    def an_early_stream(self, is_early: bool) -> None:
        if is_early:
            self.open_stream(self.pair.client, 0)

    @rule(is_client=st.booleans(), size=st.integers(0, 100))
    def open(self, is_client: bool, size: int) -> None:
        end = self.pair.client if is_client else self.pair.server
        if end.mux.can_open:
            self.open_stream(end, size)

    def open_stream(self, end: End, size: int) -> None:
        sink = RecordingSink()
        first = self.payload(size)
        stream = end.mux.open_stream(sink, first)
        self.halves[end, stream.id] = Half(end, stream, sink, bytearray(first))
        self.opened.append((end, stream.id))

    @rule(is_client=st.booleans(), accepts=st.booleans())
    def refuse_or_not_what_is_offered_next(self, is_client: bool, accepts: bool) -> None:
        (self.pair.client if is_client else self.pair.server).accepts = accepts

    @precondition(lambda self: any(half.stream.state in UNANSWERED for half in self.live()))
    @rule(data=st.data())
    def accept(self, data: st.DataObject) -> None:
        self.pick(data, [half for half in self.live() if half.stream.state in UNANSWERED]).stream.accept()

    @precondition(lambda self: any(half.stream.may_send for half in self.live()))
    @rule(data=st.data(), share=st.sampled_from([0.001, 0.1, 0.5, 1.0]))
    def send(self, data: st.DataObject, share: float) -> None:
        half = self.pick(data, [half for half in self.live() if half.stream.may_send])
        chunk = self.payload(round(half.stream.send_credit * share))
        half.stream.send(memoryview(chunk))
        half.sent += chunk

    @precondition(lambda self: any(half.stream.state in ENDABLE for half in self.live()))
    @rule(data=st.data())
    def send_fin(self, data: st.DataObject) -> None:
        half = self.pick(data, [half for half in self.live() if half.stream.state in ENDABLE])
        half.stream.send_fin()
        half.ended = True

    @precondition(lambda self: bool(self.live()))
    @rule(data=st.data())
    def reset(self, data: st.DataObject) -> None:
        half = self.pick(data, self.live())
        before = half.end.mux.output_size
        half.stream.reset()
        half.reset = True
        assert half.end.mux.output_size == before + 12  # whatever the credit was

    @precondition(lambda self: any(half.sink.untaken for half in self.halves.values()))
    @rule(data=st.data(), share=st.sampled_from([0.01, 0.5, 1.0]))
    def take(self, data: st.DataObject, share: float) -> None:
        """Also on a stream that is closed by now: the destination does not know."""
        half = self.pick(data, [half for half in self.halves.values() if half.sink.untaken])
        amount = max(1, round(half.sink.untaken * share))
        half.sink.taken += amount
        half.stream.take(amount)

    @rule(is_client=st.booleans(), value=st.integers(0, 2**32 - 1))
    def ping(self, is_client: bool, value: int) -> None:
        end = self.pair.client if is_client else self.pair.server
        end.mux.ping(value)
        self.pings[end].append(value)

    @rule(is_client=st.booleans(), size=st.one_of(st.integers(1, 40), st.integers(1, 600_000)))
    def deliver(self, is_client: bool, size: int) -> None:
        self.pair.deliver(self.pair.client if is_client else self.pair.server, size)
        self.adopt()

    @rule()
    def settle(self) -> None:
        self.pair.settle()
        self.adopt()
        for whole in self.wholes():
            self.check_settled(whole)
        assert {end: end.pongs for end in self.ends()} == self.pings

    # What must hold

    def wholes(self) -> list[Whole]:
        return [
            Whole(self.halves[end, number], self.halves.get((self.pair.other(end), number)))
            for end, number in self.opened
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
    def the_windows_add_up(self) -> None:
        for half in self.halves.values():
            window = half.stream._receive_window
            assert half.stream.send_credit >= 0
            assert window.remaining >= 0
            assert window.owed >= 0
            # What is announced and on its way within a frame counts as not taken.
            assert half.sink.untaken <= window.size - window.remaining - window.owed

    @invariant()
    def the_books_are_right(self) -> None:
        for end in self.ends():
            streams = end.mux.streams
            assert {half.stream for half in self.live() if half.end is end} == set(streams.values())
            unanswered = sum(stream.state in UNANSWERED for stream in streams.values())
            assert end.mux._offered == unanswered <= LIMITS.max_offered
            assert len(streams) <= LIMITS.max_streams

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
            window = half.stream._receive_window
            assert window.remaining + window.owed + half.sink.untaken == INITIAL_WINDOW
            if other.stream.may_send:
                assert other.stream.send_credit == window.remaining

    def teardown(self) -> None:
        self.settle()
        for half in self.live():
            half.stream.reset()
            half.reset = True
        self.settle()
        assert self.pair.client.mux.streams == self.pair.server.mux.streams == {}
        assert (self.pair.client.mux._offered, self.pair.server.mux._offered) == (0, 0)


TestTwoMuxes = TwoMuxes.TestCase
TestTwoMuxes.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
