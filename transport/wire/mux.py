"""All streams of one session: bytes in, calls out, bytes out (yamux version 0).

Rule: this file decides what each frame means for which stream, and what is
written in answer. It performs no input or output, reads no clock, and logs
nothing. The shell around it does three things:

1. give what arrived to :meth:`Mux.receive`;
2. write what :meth:`Mux.take_output` returns, once ``wake`` has been called;
3. tell it with :meth:`Mux.connection_lost` when the link is gone.

For every frame of a stream the mux calls that stream's :class:`StreamSink`, and
for what concerns the session its :class:`MuxOwner`. These are calls and not
event objects because an object for every data frame is a measurable part of
the cost of a request. A sink may call back into the mux.

Every limit says which attack or mistake it stops.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final

from .errors import LocalProtocolError, RemoteProtocolError
from .frames import (
    ACK,
    ALL_FLAGS,
    FIN,
    HEADER,
    HEADER_SIZE,
    RST,
    SESSION_ID,
    SYN,
    VERSION,
    FrameType,
    GoAwayCode,
    encode_header,
)
from .stream_sink import NOBODY
from .stream_sink import MuxOwner as MuxOwner  # who uses a mux needs both
from .stream_sink import StreamSink as StreamSink
from .stream_state import (
    AWAITING_ACK,
    MAY_RECEIVE,
    MAY_SEND,
    TRANSITIONS,
    UNACKNOWLEDGED,
    StreamInput,
    StreamState,
)
from .window import NO_GROWTH, ReceiveWindow, SendWindow, WindowGrowth

_MAX_STREAM_ID: Final = 2**32 - 1
_DATA: Final = int(FrameType.DATA)  # looking up a member of an enum costs more than comparing with it
_GO_AWAY_CODES: Final = {int(code) for code in GoAwayCode}


class Role(Enum):
    """Which stream ids are ours: the dialing side opens odd ones, the accepting side even ones."""

    CLIENT = 1
    SERVER = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class MuxLimits:
    """What a peer can make us keep. Each number says what it stops."""

    # A peer that opens streams without end: each costs a dial and a socket. Go's default
    # accept backlog is 256 unacknowledged and no limit after; a busy gateway needs more of both.
    max_offered: int = 4_096  # offered by the peer, not yet acknowledged or reset
    max_streams: int = 65_536  # opened by either side and alive
    # A peer that asks (pings, opens over the limit) and does not read the answers: what we
    # owe it would pile up. HTTP/2 servers count the same since CVE-2019-9512.
    max_answers: int = 10_000  # frames queued only because the peer asked, since the last write
    # The same peer, sending and accepting and resetting: window updates and acknowledgements pile
    # up too, at twelve bytes each. Bytes that wait for the link to take them.
    max_unsent: int = 64 * 1024 * 1024


class MuxStream:
    """One stream. Made by :meth:`Mux.open_stream` or offered to the :class:`MuxOwner`.

    ``may_send`` and ``may_receive`` follow from ``state`` and are kept beside it
    because they are read for every data frame. For the same reason ``send_window``,
    which is the mux's to change, can be asked without a property in between.
    """

    __slots__ = ("_mux", "_receive_window", "id", "may_receive", "may_send", "send_window", "sink", "state")

    def __init__(self, mux: Mux, stream_id: int, state: StreamState) -> None:
        self._mux = mux
        self.send_window = SendWindow()
        self._receive_window = ReceiveWindow()
        self.id = stream_id
        self.sink: StreamSink = NOBODY  # until its owner names one
        self.state = state
        self.may_send = state in MAY_SEND
        self.may_receive = state in MAY_RECEIVE

    def __repr__(self) -> str:
        return f"<MuxStream {self.id} {self.state.name} credit={self.send_credit}>"

    @property
    def send_credit(self) -> int:
        """How many bytes may be sent now."""
        return self.send_window.credit

    @property
    def is_closed(self) -> bool:
        return self.state is StreamState.CLOSED

    def accept(self) -> None:
        """Acknowledge a stream that the peer opened.

        :raises LocalProtocolError: if it was not offered, or is gone.
        """
        self._apply(StreamInput.SEND_ACK)
        self._mux._offered -= 1
        self._mux._send(encode_header(FrameType.WINDOW_UPDATE, ACK, self.id, 0))

    def send(self, data: bytes | bytearray | memoryview) -> int:
        """Send bytes. The caller keeps within ``send_credit``.

        :returns: how many bytes are in :meth:`Mux.take_output` now.
        :raises LocalProtocolError: if there is not the credit, or we ended the stream.
        """
        if not self.may_send:
            raise LocalProtocolError(f"cannot send on stream {self.id} in state {self.state.name}")
        size = len(data)
        self.send_window.spend(size)
        mux = self._mux
        out = mux._out
        silent = not out
        out += HEADER.pack(VERSION, _DATA, 0, self.id, size)
        out += data
        if silent:
            mux._wake()
        return len(out)

    def send_fin(self) -> None:
        """End our direction. What was sent before is delivered.

        :raises LocalProtocolError: if we ended it already, or have not accepted it.
        """
        self._apply(StreamInput.SEND_FIN)
        self._mux._send(encode_header(FrameType.DATA, FIN, self.id, 0))

    def reset(self) -> None:
        """Drop the stream in both directions. Harmless on a closed one.

        Never waits: a reset is queued whatever the credit is. The sink is not called.
        """
        if self.is_closed:
            return
        if self.state in UNACKNOWLEDGED:
            self._mux._answers += 1  # beyond the limit it is the next offer that ends the session
        self._apply(StreamInput.SEND_RST)
        self._mux._send(encode_header(FrameType.WINDOW_UPDATE, RST, self.id, 0))

    def take(self, size: int) -> None:
        """Say that the destination has taken that many of the bytes given to the sink."""
        window = self._receive_window
        grant = window.take(size)
        if grant and self.may_receive:
            grant += self._mux.growth.grow(window, grant)
            self._mux._send(encode_header(FrameType.WINDOW_UPDATE, 0, self.id, grant))

    def _apply(self, given: StreamInput) -> None:
        """Move along the table; keep the mux's books.

        :raises LocalProtocolError: for something sent that is no row of the table.
        :raises RemoteProtocolError: for something received that is no row of the table.
        """
        before = self.state
        after = TRANSITIONS.get((before, given))
        if after is None:
            message = f"{given.name} on stream {self.id} in state {before.name}"
            if given.name.startswith("RECV"):
                raise RemoteProtocolError(f"the peer broke the protocol: {message}")
            raise LocalProtocolError(message)
        self.state = after
        self.may_send = after in MAY_SEND
        self.may_receive = after in MAY_RECEIVE
        if after is StreamState.CLOSED:
            if before in UNACKNOWLEDGED:
                self._mux._offered -= 1
            del self._mux.streams[self.id]
            self._mux.growth.forget(self._receive_window)


class Mux:
    """All streams of one session.

    :param role: which ids are ours.
    :param owner: told of what concerns the session.
    :param wake: called when output appears where there was none.
    :param growth: how far windows may grow; without it they stay what they are.
    """

    def __init__(
        self,
        role: Role,
        owner: MuxOwner,
        wake: Callable[[], None],
        *,
        limits: MuxLimits | None = None,
        growth: WindowGrowth = NO_GROWTH,
    ) -> None:
        self.growth = growth
        self.streams: dict[int, MuxStream] = {}
        self._role = role
        self._owner = owner
        self._wake = wake
        self._limits = limits or MuxLimits()
        self._next_id = role.value
        self._offered = 0
        self._answers = 0
        self._out = bytearray()
        self._header = bytearray()  # the start of a header whose rest has not arrived
        self._payload_left = 0  # of the data frame being read
        self._payload_flags = 0
        self._payload_stream: MuxStream | None = None  # None: the stream is gone, its bytes are dropped
        self._leaving = False  # we said that we accept no more streams
        self._peer_leaving = False  # the peer said so
        self._lost = False

    # What we say

    def open_stream(self, sink: StreamSink, first: bytes | bytearray = b"") -> MuxStream:
        """Open a stream; ``first`` travels in the frame that opens it.

        :raises LocalProtocolError: if ids or the limit of streams are used up, if
            either side is going away, or if ``first`` exceeds the initial window.
        """
        if self._leaving or self._peer_leaving:
            raise LocalProtocolError("the session is going away: no stream can be opened")
        if self.is_used_up:
            raise LocalProtocolError("the session has used up its stream ids; connect again")
        if len(self.streams) >= self._limits.max_streams:
            raise LocalProtocolError(f"the session has {len(self.streams)} streams, which is its limit")
        stream = MuxStream(self, self._next_id, StreamState.OPENING)
        stream.sink = sink
        stream.send_window.spend(len(first))
        self._next_id += 2
        self.streams[stream.id] = stream
        kind = FrameType.DATA if first else FrameType.WINDOW_UPDATE
        self._send(encode_header(kind, SYN, stream.id, len(first)), first)
        return stream

    @property
    def can_open(self) -> bool:
        """Whether :meth:`open_stream` would succeed."""
        return not (
            self._leaving
            or self._peer_leaving
            or self._next_id > _MAX_STREAM_ID
            or len(self.streams) >= self._limits.max_streams
        )

    @property
    def is_used_up(self) -> bool:
        """Whether all our stream ids have been used: this session will never open another stream."""
        return self._next_id > _MAX_STREAM_ID

    def ping(self, value: int) -> None:
        """Ask for a sign of life; the answer is :meth:`MuxOwner.pong` with that value."""
        self._send(encode_header(FrameType.PING, SYN, SESSION_ID, value))

    def go_away(self, code: GoAwayCode) -> None:
        """Say that we accept no more streams, and why."""
        self._leaving = True
        self._send(encode_header(FrameType.GO_AWAY, 0, SESSION_ID, code))

    @property
    def output_size(self) -> int:
        """Bytes waiting in :meth:`take_output`."""
        return len(self._out)

    def take_output(self) -> bytearray:
        """What is to be written to the link now. The caller owns it."""
        out = self._out
        self._out = bytearray()
        self._answers = 0
        return out

    def _send(self, header: bytes, payload: bytes | bytearray | memoryview = b"") -> None:
        out = self._out
        silent = not out
        out += header
        out += payload
        if silent:
            self._wake()

    def _answer(self, header: bytes) -> None:
        """Queue a frame that exists only because the peer asked for it."""
        self._answers += 1
        self._check_answers()
        self._send(header)

    def _check_answers(self) -> None:
        if self._answers > self._limits.max_answers:
            raise RemoteProtocolError("the peer asks faster than it reads the answers")

    # What the peer says

    def receive(self, data: memoryview) -> None:
        """Take in bytes that arrived, in pieces of any size.

        Payload is passed on as it arrives: a frame may be longer than any buffer. What
        follows in ``data`` after a sink or the owner ended the session is dropped.

        :raises RemoteProtocolError: if the peer broke the protocol; the session is
            then beyond repair, and the shell sends ``go_away`` with the error's code.
        """
        if len(self._out) > self._limits.max_unsent:
            raise RemoteProtocolError("the peer makes us speak and does not read")
        position, end = 0, len(data)
        while position < end and not self._lost:
            if self._payload_left:
                size = min(self._payload_left, end - position)
                self._receive_payload(data[position : position + size])
                position += size
                continue
            if not self._header and end - position >= HEADER_SIZE:
                header = HEADER.unpack_from(data, position)
                position += HEADER_SIZE
                version, kind, flags, stream_id, length = header
                # Nearly every frame is this one, whole, and all that the calls below would do with it.
                if version == kind == flags == 0 and length <= end - position:
                    stream = self.streams.get(stream_id)
                    if stream is not None and stream.may_receive and length:
                        stream._receive_window.receive(length)
                        stream.sink.data(data[position : position + length])
                        position += length
                        continue
            else:
                size = min(HEADER_SIZE - len(self._header), end - position)
                self._header += data[position : position + size]
                position += size
                if len(self._header) < HEADER_SIZE:
                    return
                header = HEADER.unpack(self._header)
                self._header.clear()
            self._receive_header(*header)

    def connection_lost(self) -> None:
        """Reset every stream: the link is gone. Nothing is received after this."""
        self._lost = True
        self._leaving = True
        for stream in list(self.streams.values()):
            if not stream.is_closed:
                stream._apply(StreamInput.RECV_RST)
                stream.sink.reset()

    def _receive_header(self, version: int, kind: int, flags: int, stream_id: int, length: int) -> None:
        if version != VERSION:
            raise _broken(f"frame version {version}; this is no yamux peer")
        if flags & ~ALL_FLAGS:
            raise _broken(f"unknown flags {flags:#06x}")
        if kind == _DATA:
            self._receive_data_header(flags, stream_id, length)
        elif kind == FrameType.WINDOW_UPDATE:
            self._receive_window_update(flags, stream_id, length)
        elif kind > FrameType.GO_AWAY:
            raise _broken(f"unknown frame type {kind}")
        elif stream_id != SESSION_ID:
            raise _broken(f"frame type {kind} concerns the session, not stream {stream_id}")
        elif kind == FrameType.PING:
            self._receive_ping(flags, length)
        else:
            self._receive_go_away(length)

    def _receive_data_header(self, flags: int, stream_id: int, length: int) -> None:
        stream = self.streams.get(stream_id)  # before anything else: nearly every frame is of this kind
        if stream is None or flags & SYN:
            stream = self._find(flags, stream_id)
        if stream is not None:
            if flags & ACK:
                self._receive_ack(stream)
            elif not stream.may_receive and (length or flags & FIN):
                self._imply_ack(stream)
            if length:
                if stream.may_receive:
                    stream._receive_window.receive(length)
                elif not stream.is_closed:  # by the sink, just now
                    stream._apply(StreamInput.RECV_DATA)  # not a row of the table: raises
        self._payload_stream = stream  # None: what crossed our reset on the wire is read and dropped
        self._payload_flags = flags
        self._payload_left = length
        if not length:
            self._finish_data_frame()

    def _receive_payload(self, chunk: memoryview) -> None:
        self._payload_left -= len(chunk)
        stream = self._payload_stream
        if stream is not None and stream.may_receive:
            stream.sink.data(chunk)
        if not self._payload_left:
            self._finish_data_frame()

    def _finish_data_frame(self) -> None:
        stream, flags = self._payload_stream, self._payload_flags
        self._payload_stream = None
        if stream is not None and flags & (FIN | RST) and not stream.is_closed:
            self._receive_end(stream, flags)

    def _receive_window_update(self, flags: int, stream_id: int, delta: int) -> None:
        stream = self._find(flags, stream_id)
        if stream is None:
            return
        if flags & ACK:
            self._receive_ack(stream)
        elif flags & FIN:
            self._imply_ack(stream)
        if delta and not stream.is_closed:
            stream._apply(StreamInput.RECV_WINDOW)
            stream.send_window.grant(delta)
            if stream.may_send:
                stream.sink.credit()
        if flags & (FIN | RST) and not stream.is_closed:
            self._receive_end(stream, flags)

    def _find(self, flags: int, stream_id: int) -> MuxStream | None:
        """The stream of a frame, or None if it is gone: reset or refused, and the peer did not know yet."""
        if flags & SYN:
            return self._receive_syn(stream_id)
        stream = self.streams.get(stream_id)
        if stream is None and stream_id == SESSION_ID:
            raise _broken("a frame of a stream without the stream's id")
        return stream

    def _receive_ack(self, stream: MuxStream) -> None:
        stream._apply(StreamInput.RECV_ACK)
        stream.sink.acknowledged()

    def _imply_ack(self, stream: MuxStream) -> None:
        """Take what only one who accepted can say for the acknowledgement, if that has not come.

        hashicorp/yamux leaves it out when our FIN arrives before its program has called Accept.
        """
        if stream.state in AWAITING_ACK:
            self._receive_ack(stream)

    def _receive_end(self, stream: MuxStream, flags: int) -> None:
        if flags & RST:
            stream._apply(StreamInput.RECV_RST)
            stream.sink.reset()
        else:
            stream._apply(StreamInput.RECV_FIN)
            stream.sink.fin()

    def _receive_syn(self, stream_id: int) -> MuxStream | None:
        """A stream that the peer opens, or None if it is refused."""
        if stream_id == SESSION_ID or stream_id % 2 == self._role.value % 2:
            raise _broken(f"stream id {stream_id} is not the peer's to open")
        if stream_id in self.streams:
            raise _broken(f"stream {stream_id} opened twice")
        self._check_answers()
        full = self._offered >= self._limits.max_offered or len(self.streams) >= self._limits.max_streams
        if not full and not self._leaving:
            stream = MuxStream(self, stream_id, StreamState.OFFERED)
            self.streams[stream_id] = stream
            self._offered += 1
            sink = self._owner.stream_offered(stream)
            if stream.is_closed:
                return None  # the owner has reset it, or ended the session
            if sink is not None:
                stream.sink = sink
                return stream
            stream._apply(StreamInput.SEND_RST)
        self._answer(encode_header(FrameType.WINDOW_UPDATE, RST, stream_id, 0))
        return None

    def _receive_ping(self, flags: int, value: int) -> None:
        if flags & SYN:
            self._answer(encode_header(FrameType.PING, ACK, SESSION_ID, value))
        elif flags & ACK:
            self._owner.pong(value)

    def _receive_go_away(self, code: int) -> None:
        if code not in _GO_AWAY_CODES:
            raise _broken(f"unknown go-away code {code}")
        self._peer_leaving = True
        self._owner.going_away(GoAwayCode(code))


def _broken(message: str) -> RemoteProtocolError:
    return RemoteProtocolError(f"the peer broke the protocol: {message}")
