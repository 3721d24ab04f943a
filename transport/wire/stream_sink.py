"""Who receives what arrives, on one stream and on the session as a whole.

Rule: this file alone says what a mux calls, and when. The calls come from within
:meth:`Mux.receive`, in the order of the frames. A sink may call back into the
mux: it may send, reset its stream, or end the session.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from .frames import GoAwayCode
    from .mux import MuxStream


class StreamSink(Protocol):
    """Who receives what arrives on one stream."""

    def data(self, chunk: memoryview) -> None:
        """Bytes arrived. ``chunk`` is valid only during the call.

        The sink calls :meth:`MuxStream.take` once their destination has them.
        """

    def fin(self) -> None:
        """The peer will send no more."""

    def reset(self) -> None:
        """The stream is gone, in both directions, now."""

    def acknowledged(self) -> None:
        """The peer accepted the stream that we opened."""

    def credit(self) -> None:
        """The peer granted credit: there is something to send into."""


class MuxOwner(Protocol):
    """Who receives what concerns the session as a whole."""

    def stream_offered(self, stream: MuxStream) -> StreamSink | None:
        """The peer opens a stream. ``None`` refuses it."""

    def pong(self, value: int) -> None:
        """The peer answered the ping with that value."""

    def going_away(self, code: GoAwayCode) -> None:
        """The peer will accept no more streams."""


class _Nobody:
    """The sink of a stream that is still being offered: its owner may end the session meanwhile."""

    def data(self, chunk: memoryview) -> None:
        """Not heard."""

    def fin(self) -> None:
        """Not heard."""

    def reset(self) -> None:
        """Not heard."""

    def acknowledged(self) -> None:
        """Not heard."""

    def credit(self) -> None:
        """Not heard."""


NOBODY: Final[StreamSink] = _Nobody()
