"""A mux that is fed any frames at all blames the peer or goes on, in the same way wherever they were cut.

Headers are valid in shape and random in every field, and the sinks call back in whatever they are told.
What a peer can make a mux keep stays within its ``MuxLimits``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.mutations import cuts, mutated
from tests.support.mux_pair import End, RecordingSink, data_frame, frame, frames_in, window_frame
from transport.wire.errors import RemoteProtocolError
from transport.wire.frames import ACK, ALL_FLAGS, FIN, HEADER_SIZE, MAX_LENGTH, RST, SYN, FrameType
from transport.wire.mux import MuxLimits, MuxStream, Role
from transport.wire.stream_sink import StreamSink
from transport.wire.window import INITIAL_WINDOW

LIMITS = MuxLimits(max_offered=3, max_streams=5, max_answers=10, max_unsent=2_000)
TOLD = ("offered", "data", "fin", "reset", "acknowledged", "credit")
ACTS = ("accept", "reset", "take", "send", "end", "open", "ping", "leave", "lose")

Script = dict[str, str]  # what is told -> what a sink or the owner does about it


class Actor(RecordingSink):
    """A sink that does something about what it is told."""

    def __init__(self, act: Callable[[str, MuxStream | None], None]) -> None:
        super().__init__()
        self.stream: MuxStream | None = None
        self._act = act

    def data(self, chunk: memoryview) -> None:
        super().data(chunk)
        self._act("data", self.stream)

    def fin(self) -> None:
        super().fin()
        self._act("fin", self.stream)

    def reset(self) -> None:
        super().reset()
        self._act("reset", self.stream)

    def acknowledged(self) -> None:
        super().acknowledged()
        self._act("acknowledged", self.stream)

    def credit(self) -> None:
        super().credit()
        self._act("credit", self.stream)


@dataclass(eq=False)
class Acting(End):
    """An end whose owner and sinks follow a script. They never ask for what is not allowed."""

    script: Script = field(default_factory=dict)
    sinks: list[Actor] = field(default_factory=list)
    is_lost: bool = False

    def open(self) -> None:
        if self.mux.can_open:
            sink = Actor(self.act)
            self.sinks.append(sink)
            sink.stream = self.mux.open_stream(sink, b"header")

    def stream_offered(self, stream: MuxStream) -> StreamSink | None:
        sink = Actor(self.act)
        sink.stream = stream
        self.sinks.append(sink)
        self.offered.append(stream)
        self.act("offered", stream)
        return sink if stream.id % 8 < 6 else None

    def act(self, told: str, stream: MuxStream | None) -> None:
        assert not self.is_lost or told == "reset", f"{told} after the link was lost"
        if stream is None:
            return  # told of before open_stream returned: never
        state = stream.state.name
        match self.script.get(told):
            case "accept" if state.startswith("OFFERED"):
                stream.accept()
            case "reset":
                stream.reset()
            case "take" if isinstance(stream.sink, Actor) and stream.sink.untaken:
                size, stream.sink.taken = stream.sink.untaken, len(stream.sink.received)
                stream.take(size)
            case "send" if stream.may_send:
                stream.send(bytes(min(100, stream.send_credit)))
            case "end" if stream.may_send:
                stream.send_fin()
            case "open":
                self.open()
            case "ping":
                self.mux.ping(7)
            case "leave":
                self.mux.go_away(0)  # type: ignore[arg-type]  # the plain number is what goes into the frame
            case "lose" if not self.is_lost:
                self.is_lost = True
                self.mux.connection_lost()
            case _:
                pass


@dataclass(frozen=True)
class Result:
    """All that a shell could see of one run."""

    error: str | None
    wire: bytes
    told: list[tuple[bytes, bool, bool, int, int]]
    pongs: list[int]
    farewells: list[int]


def run(role: Role, opened: int, script: Script, pieces: Iterable[bytes]) -> Result:
    end = Acting(role, LIMITS, script=script)
    for _ in range(opened):
        end.open()
    error: str | None = None
    try:
        for piece in pieces:
            end.mux.receive(memoryview(piece))
            within_limits(end)
    except RemoteProtocolError as caught:
        error = str(caught)
    within_limits(end)
    end.flush()
    wire = bytes(end.outgoing)
    frames_in(wire)  # whole frames
    told = [
        (bytes(sink.received), sink.is_ended, sink.is_reset, sink.acknowledgements, sink.credits)
        for sink in end.sinks
    ]
    end.is_lost = True
    end.mux.connection_lost()
    assert end.mux.streams == {}
    assert end.mux._offered == 0
    return Result(error, wire, told, end.pongs, [int(code) for code in end.farewells])


def within_limits(end: Acting) -> None:
    mux = end.mux
    streams = list(mux.streams.values())
    assert len(streams) <= LIMITS.max_streams
    assert mux._offered == sum(stream.state.name.startswith("OFFERED") for stream in streams)
    assert mux._offered <= LIMITS.max_offered
    assert mux._answers <= LIMITS.max_answers + 1 + LIMITS.max_offered
    assert len(mux._header) < HEADER_SIZE
    for stream in streams:
        window = stream._receive_window
        assert stream.send_credit >= 0
        assert window.remaining >= 0
        assert isinstance(stream.sink, Actor)
        assert stream.sink.untaken <= window.size


numbers = st.sampled_from([1, 2, 3, 4, 5, 6, 7, 9, MAX_LENGTH - 1, MAX_LENGTH]) | st.integers(1, 12)
sizes = st.sampled_from(
    [0, 1, 11, 12, 13, 100, INITIAL_WINDOW, INITIAL_WINDOW + 1, MAX_LENGTH]
) | st.integers(0, MAX_LENGTH)
flags = st.sampled_from([0, 0, SYN, ACK, FIN, RST]) | st.integers(0, ALL_FLAGS)
plausible = (
    st.builds(
        lambda number, payload, flag: data_frame(number, payload, flag),
        numbers,
        st.binary(max_size=30),
        flags,
    )
    | st.builds(lambda number, size, flag: window_frame(number, size, flag), numbers, sizes, flags)
    | st.builds(lambda value, flag: frame(FrameType.PING, flag, 0, value), sizes, flags)
)
any_header = st.builds(
    lambda kind, flag, number, size: frame(kind, flag, number, size),
    st.integers(0, 4),
    flags | st.integers(0, 0xFFFF),
    numbers | st.integers(0, MAX_LENGTH),
    sizes,
)
scripts = st.dictionaries(st.sampled_from(TOLD), st.sampled_from(ACTS), max_size=3)
wires = st.lists(plausible, max_size=25).flatmap(
    lambda said: st.one_of(st.just(b""), any_header, st.binary(max_size=30)).map(
        lambda last: b"".join([*said, last])
    )
)

CONVERSATION = [
    b"".join(
        [
            window_frame(theirs, 0, SYN),
            data_frame(theirs, b"first"),
            window_frame(ours, 300, ACK),
            data_frame(ours, b"answer"),
            frame(FrameType.PING, SYN, 0, 1),
            data_frame(theirs, b"", FIN),
            data_frame(theirs + 2, b"x" * 40, SYN),
            window_frame(theirs + 2, 0, RST),
            data_frame(ours, b"", FIN),
            frame(FrameType.GO_AWAY, 0, 0, 0),
        ]
    )
    for theirs, ours in ((1, 2), (2, 1))
]


@settings(max_examples=300)
@given(
    st.sampled_from(Role),
    st.integers(0, 2),
    scripts,
    wires | mutated(CONVERSATION),
    st.lists(st.integers(1, 400), max_size=8),
)
def test_any_frames_are_understood_or_the_peers_error_in_the_same_way_wherever_they_are_cut(
    role: Role, opened: int, script: Script, wire: bytes, places: list[int]
) -> None:
    """Of a sink's calls only the number of ``data`` depends on the cuts, so no script answers to that."""
    script = {told: act for told, act in script.items() if told != "data"}
    whole = run(role, opened, script, [wire])

    assert run(role, opened, script, cuts(wire, places)) == whole
    assert run(role, opened, script, [wire[at : at + 1] for at in range(len(wire))]) == whole


@settings(max_examples=200)
@given(st.sampled_from(Role), st.integers(0, 2), scripts, wires | mutated(CONVERSATION), st.integers(1, 60))
def test_any_frames_to_sinks_that_do_something_with_every_byte_are_understood_or_the_peers_error(
    role: Role, opened: int, script: Script, wire: bytes, size: int
) -> None:
    run(role, opened, {"data": "reset", **script}, [wire[at : at + size] for at in range(0, len(wire), size)])
    run(role, opened, {"data": "take", **script}, [wire])


# Floods: one short conversation, said for ever, of which the answers are never read

floods = pytest.mark.parametrize(
    "said",
    [
        [frame(FrameType.PING, SYN, 0, 1)],
        [window_frame(1, 0, SYN), window_frame(1, 0, RST)],
        [data_frame(1, b"x", SYN | FIN), window_frame(1, 0, RST)],
        [data_frame(1, b"", SYN | RST)],
        [window_frame(7, 0, SYN), window_frame(7, 0, RST)],
        [data_frame(1, b"x" * INITIAL_WINDOW, SYN), window_frame(1, 0, RST)],
        [window_frame(1, 0, SYN), frame(FrameType.PING, SYN, 0, 1), window_frame(1, 0, RST)],
    ],
    ids=["pings", "accepted", "ended", "reset at once", "refused", "windows", "mixed"],
)


@floods
@pytest.mark.parametrize("act", ["accept", "reset", "take", "ping"])
def test_a_flood_is_cut_off_or_costs_nothing_that_piles_up(said: Sequence[bytes], act: str) -> None:
    end = Acting(Role.SERVER, LIMITS, script={"offered": act, "data": "take"})
    round_of_them = b"".join(said)
    complaint = ""
    for _ in range(1_000):
        try:
            end.mux.receive(memoryview(round_of_them))
        except RemoteProtocolError as error:
            complaint = str(error)
            break
        within_limits(end)
        # One round may go over the limit, and the next one says so.
        assert end.mux.output_size <= LIMITS.max_unsent + 4 * HEADER_SIZE
    assert "does not read" in complaint or "faster than it reads" in complaint or not end.mux.output_size
    assert len(end.mux.streams) <= 1


def test_a_window_is_all_that_a_stream_can_make_a_sink_keep() -> None:
    """On every stream that may be open at once, in frames of any size."""
    end = Acting(Role.SERVER, LIMITS, script={"offered": "accept"})
    for number in (1, 3, 5):
        end.mux.receive(memoryview(window_frame(number, 0, SYN)))
    for number in (1, 3, 5):
        left = INITIAL_WINDOW
        for size in (1, 100_000, 7, INITIAL_WINDOW):
            size = min(size, left)
            end.mux.receive(memoryview(data_frame(number, bytes(size))))
            left -= size
        assert left == 0
    assert sum(sink.untaken for sink in end.sinks) == 3 * INITIAL_WINDOW
    with pytest.raises(RemoteProtocolError, match="into a window of 0"):
        end.mux.receive(memoryview(data_frame(3, b"x")))
