"""One end of a WebSocket that carries bytes, once its HTTP part is over (RFC 6455).

Rule: this file alone decides what of RFC 6455 is used. What the link's TLS has to say goes in binary
messages; where one ends means nothing, and what a fragment holds is passed on before the next one has come.
No text, no compression, no subprotocol. Frames themselves are read and written by the ``websockets`` library.

Decision: that library answers each ping at once. To a peer that sends pings and reads nothing the answers
would pile up without end, so only the newest few wait for it (section 5.5.3 lets all others go).

Decision: a frame costs the library as much time whether it holds a byte or a thousand. A stranger who sends
nothing but empty ones, before it has said who it is, would keep a gateway busy with a few megabits a
second, so there may be only so many. TLS never says as little, and a ping every few seconds is few.
"""

from __future__ import annotations

from collections import deque
from typing import Final, cast

from websockets.frames import Close, CloseCode, Frame, Opcode
from websockets.protocol import Protocol, State

from .cursor import Buffer

# A frame is kept until it is whole, also that of a stranger, of whom there may be hundreds at once.
# Messages of four times the size would cost a twentieth less.
MAX_MESSAGE: Final = 64 * 1024
_MOST_ANSWERS: Final = 4
SMALL: Final = 16  # bytes; the shortest record of TLS has more
# Small frames between two of our pings, and one more for so many bytes that came since the last.
MOST_SMALL: Final = 500
FOR_EACH: Final = 256
_AT_ONCE: Final = 32 * 1024  # read before that is counted
_DATA: Final = (Opcode.BINARY, Opcode.CONT)


class WebSocketEnd:
    """Bytes in, bytes out. ``received`` counts what came in.

    :param protocol: one whose HTTP part is over.
    """

    def __init__(self, protocol: Protocol) -> None:
        assert protocol.state is State.OPEN
        self.received = 0
        self._protocol = protocol
        self._answers: deque[bytes] = deque(maxlen=_MOST_ANSWERS)
        self._failure = ""
        self._small = 0  # frames, since the last ping
        self._received_before = 0  # it

    @property
    def has_ended(self) -> bool:
        """Whether nothing will come any more."""
        protocol = self._protocol
        return protocol.close_rcvd is not None or protocol.parser_exc is not None or bool(self._failure)

    @property
    def failure(self) -> str:
        """Why it ended, if it was not in order."""
        if self._failure:
            return self._failure
        error = self._protocol.parser_exc
        if isinstance(error, EOFError):
            return "the connection under the WebSocket was closed without a goodbye"
        if error is not None:
            return f"the other side broke the rules of WebSockets: {in_one_line(error)}"
        close = self._protocol.close_rcvd
        if close is None or close.code in (CloseCode.NORMAL_CLOSURE, CloseCode.NO_STATUS_RCVD):
            return ""
        return f"the other side closed the WebSocket: {_in_words(close)}"

    def receive(self, data: Buffer) -> bytes:
        """Take in what came; what its messages held."""
        held: list[bytes] = []
        for start in range(0, len(data), _AT_ONCE):
            piece = data[start : start + _AT_ONCE]
            self.received += len(piece)
            self._protocol.receive_data(cast("bytes", piece))  # which copies any buffer
            held += [bytes(frame.data) for frame in self._frames() if frame.opcode in _DATA]
            self._keep_answers()
            if self._failure:
                break
        return held[0] if len(held) == 1 else b"".join(held)

    def receive_end(self) -> None:
        """The connection has ended."""
        self._protocol.receive_eof()
        self._keep_answers()

    def send(self, data: Buffer) -> bytes:
        """One message with these bytes, as it is to be written. Nothing once the end has been said."""
        if self._protocol.state is not State.OPEN:
            return b""
        self._protocol.send_binary(data)
        return self._written()

    def ping(self, value: int) -> bytes:
        """A ping, as it is to be written."""
        if self._protocol.state is not State.OPEN:
            return b""
        self._small, self._received_before = 0, self.received
        self._protocol.send_ping(value.to_bytes(4, "big"))
        return self._written()

    def close(self) -> bytes:
        """A goodbye, as it is to be written, unless one has been said."""
        if self._protocol.state is not State.OPEN:
            return b""
        self._protocol.send_close(CloseCode.NORMAL_CLOSURE)
        return self._written()

    def take_answers(self) -> bytes:
        """What is to be said to what came: pongs, a goodbye. Not asked for while the peer does not read."""
        answers = b"".join(self._answers)
        self._answers.clear()
        return answers

    def _frames(self) -> list[Frame]:
        """What came, as far as a message may be."""
        frames = cast("list[Frame]", self._protocol.events_received())
        for at, frame in enumerate(frames):
            if frame.opcode is Opcode.TEXT:
                self._failure = "the other side sent a text message, where there are only binary ones"
                self._protocol.fail(CloseCode.UNSUPPORTED_DATA, "only binary messages are taken")
                return frames[:at]
        self._small += sum(len(frame.data) < SMALL for frame in frames)
        if self._small > MOST_SMALL + (self.received - self._received_before) // FOR_EACH:
            self._failure = "the other side sent nothing but small frames, hundreds of them"
            self._protocol.fail(CloseCode.POLICY_VIOLATION, "too many small frames")
        return frames

    def _keep_answers(self) -> None:
        for written in self._protocol.data_to_send():
            if written:  # else it is the library's sign that the connection is to be closed
                self._answers.append(written)

    def _written(self) -> bytes:
        return b"".join(self._protocol.data_to_send())


def _in_words(close: Close) -> str:
    reason = close.reason if close.reason.isprintable() else ascii(close.reason)
    return f"{close.code} {reason}".rstrip()


def in_one_line(error: BaseException | None) -> str:
    """What the library found wrong first, whatever the peer wrote into it."""
    while error is not None and error.__cause__ is not None:
        error = error.__cause__
    return ascii(str(error))[1:-1]
