"""Two muxes and the link between them, without any input or output.

Rule: both ends are real. Only the link is made up, and it can hold back, split and join bytes anywhere,
which is all that a real one does to them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from transport.wire.frames import HEADER, VERSION, FrameType, GoAwayCode
from transport.wire.mux import Mux, MuxLimits, MuxStream, Role, StreamSink


def frame(kind: int, flags: int, stream_id: int, length: int, payload: bytes = b"") -> bytes:
    """A frame as any peer, also a hostile one, could write it."""
    return HEADER.pack(VERSION, kind, flags, stream_id, length) + payload


def data_frame(stream_id: int, payload: bytes, flags: int = 0) -> bytes:
    return frame(FrameType.DATA, flags, stream_id, len(payload), payload)


def window_frame(stream_id: int, delta: int = 0, flags: int = 0) -> bytes:
    return frame(FrameType.WINDOW_UPDATE, flags, stream_id, delta)


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame of a mux's output."""

    kind: FrameType
    flags: int
    stream_id: int
    length: int
    payload: bytes = b""


def frames_in(wire: bytes | bytearray) -> list[Frame]:
    """What a mux wrote, frame by frame. It must consist of whole frames."""
    frames: list[Frame] = []
    position = 0
    while position < len(wire):
        version, kind, flags, stream_id, length = HEADER.unpack_from(wire, position)
        assert version == VERSION
        position += HEADER.size
        size = length if kind == FrameType.DATA else 0
        payload = bytes(wire[position : position + size])
        assert len(payload) == size
        position += size
        frames.append(Frame(FrameType(kind), flags, stream_id, length, payload))
    return frames


class RecordingSink:
    """Keeps what arrives on one stream, and fails on anything that comes after an end."""

    def __init__(self) -> None:
        self.received = bytearray()
        self.taken = 0
        self.acknowledgements = 0
        self.credits = 0
        self.is_ended = False
        self.is_reset = False

    @property
    def untaken(self) -> int:
        return len(self.received) - self.taken

    def data(self, chunk: memoryview) -> None:
        assert not self.is_ended, "data after the end"
        assert not self.is_reset, "data after a reset"
        assert len(chunk) > 0, "no data at all"
        self.received += chunk

    def fin(self) -> None:
        assert not self.is_ended, "a second end"
        assert not self.is_reset, "an end after a reset"
        self.is_ended = True

    def reset(self) -> None:
        assert not self.is_reset, "a second reset"
        self.is_reset = True

    def acknowledged(self) -> None:
        assert not self.is_reset, "an acknowledgement after a reset"
        self.acknowledgements += 1

    def credit(self) -> None:
        assert not self.is_reset, "credit after a reset"
        self.credits += 1


@dataclass(eq=False)
class End:
    """One mux and all that its shell is told."""

    role: Role
    limits: MuxLimits | None = None
    accepts: bool = True  # whether a stream that is offered gets a sink
    offered: list[MuxStream] = field(default_factory=list)
    pongs: list[int] = field(default_factory=list)
    farewells: list[GoAwayCode] = field(default_factory=list)
    outgoing: bytearray = field(default_factory=bytearray)  # written, and not yet delivered

    def __post_init__(self) -> None:
        self._is_woken = False
        self.mux = Mux(self.role, self, self._wake, limits=self.limits)

    def stream_offered(self, stream: MuxStream) -> StreamSink | None:
        if not self.accepts:
            return None
        self.offered.append(stream)
        return RecordingSink()

    def pong(self, value: int) -> None:
        self.pongs.append(value)

    def going_away(self, code: GoAwayCode) -> None:
        self.farewells.append(code)

    def _wake(self) -> None:
        assert not self._is_woken, "woken twice for one output"
        self._is_woken = True

    def flush(self) -> None:
        """Write, exactly if the mux asked for it."""
        assert self._is_woken == bool(self.mux.output_size)
        if self._is_woken:
            self._is_woken = False
            self.outgoing += self.mux.take_output()

    def written(self) -> list[Frame]:
        """What it has to say, and take it off the wire."""
        self.flush()
        frames = frames_in(self.outgoing)
        self.outgoing.clear()
        return frames

    def receive(self, data: bytes, *, pieces: int | None = None) -> None:
        """Give it bytes, all at once or in pieces of a size."""
        for start in range(0, len(data), pieces or max(1, len(data))):
            self.mux.receive(memoryview(data)[start : start + (pieces or len(data))])


def sink_of(stream: MuxStream) -> RecordingSink:
    assert isinstance(stream.sink, RecordingSink)
    return stream.sink


class MuxPair:
    """A client's mux, a gateway's mux, and a link."""

    def __init__(self, limits: MuxLimits | None = None) -> None:
        self.client = End(Role.CLIENT, limits)
        self.server = End(Role.SERVER, limits)

    def other(self, end: End) -> End:
        return self.server if end is self.client else self.client

    def deliver(self, end: End, size: int | None = None) -> int:
        """Carry up to that many bytes from this end to the other; how many there were."""
        end.flush()
        chunk = bytes(end.outgoing[:size])
        del end.outgoing[: len(chunk)]
        if chunk:
            self.other(end).mux.receive(memoryview(chunk))
        return len(chunk)

    def settle(self) -> None:
        """Carry everything both ways until both are silent."""
        while self.deliver(self.client) + self.deliver(self.server):
            pass

    def open(self, end: End, first: bytes = b"") -> tuple[MuxStream, MuxStream]:
        """Open a stream, have it accepted, and return both ends of it."""
        stream = end.mux.open_stream(RecordingSink(), first)
        self.settle()
        far = self.other(end).offered[-1]
        far.accept()
        self.settle()
        return stream, far
