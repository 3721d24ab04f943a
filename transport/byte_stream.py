"""A stream of a mux as an anyio byte stream, for everything that is not the hot path.

Rule: this file alone turns what a mux calls into something to await. A visitor's
bytes do not come through here: they go round in :mod:`transport.pump`.

Both directions are bounded. What has arrived and was not received stays within the
window of the stream, since credit goes back for what the program has taken. What is
sent waits for credit, and for room on the link.

What crosses at the end is what a TCP socket would do:

- :meth:`~MuxByteStream.send_eof` ends one direction (FIN); the other lives on.
- :meth:`~MuxByteStream.aclose` ends our direction (FIN), so that what was sent is delivered.
- It resets the stream instead, which drops what is under way in both directions, where an
  orderly end would be a lie: something that arrived was never received, or a ``send`` was
  cut off in the middle and not continued. So does an ``aclose`` that is cancelled, which is
  what :func:`anyio.aclose_forcefully` does and what happens at the end of an ``async with``
  whose task is cancelled.
- What arrives after ``aclose`` resets the stream. A peer that never ends its direction keeps
  its number in use, and nothing else, until the session ends.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto
from typing import Final, Protocol

import anyio
import anyio.abc
import anyio.lowlevel

from .wire.mux import Mux, MuxStream

# One frame: larger ones make the streams of others wait.
_PIECE: Final = 64 * 1024


class StreamLink(Protocol):
    """What a stream needs of the link that carries it. :class:`transport.pump.link.Link` is one."""

    @property
    def mux(self) -> Mux: ...

    @property
    def is_paused(self) -> bool:
        """Whether the link has no room."""

    def call_when_writable(self, callback: Callable[[], None]) -> None:
        """Call back once, when the link has room again."""

    def flush_if_large(self) -> None:
        """Write now what is too much to wait for the end of the turn."""


def open_byte_stream(link: StreamLink, first: bytes = b"") -> MuxByteStream:
    """Open a stream. ``first`` travels in the frame that opens it, for example an open header.

    That the peer refuses the stream shows as :exc:`anyio.BrokenResourceError` in what is done next.

    :raises LocalProtocolError: if no stream can be opened, or ``first`` exceeds the initial window.
    """
    made = MuxByteStream(link)
    made.stream = link.mux.open_stream(made, first)
    made.bytes_sent = len(first)
    return made


def accept_byte_stream(link: StreamLink, stream: MuxStream) -> MuxByteStream:
    """Accept a stream that the peer has just opened.

    To be called in :meth:`MuxOwner.stream_offered`, which returns the result: its payload follows at once.

    :raises LocalProtocolError: if the stream is not one that is offered.
    """
    made = MuxByteStream(link)
    made.stream = stream
    stream.accept()
    return made


class _State(Enum):
    OPEN = auto()
    CLOSED = auto()  # by ``aclose``
    BROKEN = auto()  # the peer reset the stream, or the link is gone


class MuxByteStream(anyio.abc.ByteStream):
    """One stream. Made by :func:`open_byte_stream` or :func:`accept_byte_stream`.

    One task at a time may receive and one may send; a second one gets :exc:`anyio.BusyResourceError`.

    ``bytes_sent`` counts what was sent in the stream's whole life. It tells how a :meth:`send` stands
    that was cancelled.
    """

    stream: MuxStream

    def __init__(self, link: StreamLink) -> None:
        self.bytes_sent = 0
        self._link = link
        self._state = _State.OPEN
        self._received = bytearray()  # arrived, and not taken by the program
        self._peer_ended = False
        self._is_torn = False  # the peer has the start of an item, and not its rest
        self._receiver = _Waiter()
        self._sender = _Waiter()
        self._receive_guard = anyio.ResourceGuard("reading from")
        self._send_guard = anyio.ResourceGuard("writing to")

    # anyio.abc.ByteStream

    async def receive(self, max_bytes: int = 65_536) -> bytes:
        """Receive some bytes; at least one. If this is cancelled, nothing is lost.

        :raises anyio.EndOfStream: if the peer has ended its direction and all was received.
        :raises anyio.BrokenResourceError: if the stream was reset or the link is gone. What had
            arrived and was not received is dropped then, since a reset says that it is not whole.
        :raises anyio.ClosedResourceError: if we have closed the stream.
        """
        if max_bytes < 1:
            raise ValueError("max_bytes must be a positive integer")
        with self._receive_guard:
            await anyio.lowlevel.checkpoint()
            while not (self._received or self._peer_ended or self._state is not _State.OPEN):
                await self._receiver.wait()
            self._check_open()
            if not self._received:
                raise anyio.EndOfStream
            chunk = bytes(self._received[:max_bytes])
            del self._received[: len(chunk)]
            self.stream.take(len(chunk))
            return chunk

    async def send(self, item: bytes) -> None:
        """Send all of these bytes, as the peer grants credit for them and the link has room.

        If this is cancelled, a part from the start may have been sent; ``bytes_sent`` has grown by
        its size. Send the rest before anything else, or close the stream, which resets it then.

        :raises anyio.BrokenResourceError: if the stream was reset or the link is gone.
        :raises anyio.ClosedResourceError: if we have closed the stream or ended our direction.
        """
        with self._send_guard:
            rest = memoryview(item)
            await anyio.lowlevel.checkpoint()
            self._check_may_send()
            while rest:
                size = min(len(rest), _PIECE, self.stream.send_credit)
                if self._link.is_paused or not size:
                    if self._link.is_paused:
                        self._link.call_when_writable(self._sender.wake)
                    await self._sender.wait()
                else:
                    self.stream.send(rest[:size])
                    rest = rest[size:]
                    self.bytes_sent += size
                    self._is_torn = bool(rest)
                    self._link.flush_if_large()
                    if rest:
                        await anyio.lowlevel.checkpoint()  # other streams have something to say too
                self._check_may_send()

    async def send_eof(self) -> None:
        """Say that no more will be sent. Needs no credit; does nothing the second time.

        :raises anyio.BrokenResourceError: if the stream was reset or the link is gone.
        :raises anyio.ClosedResourceError: if we have closed the stream.
        """
        with self._send_guard:
            await anyio.lowlevel.checkpoint()
            self._check_open()
            if self.stream.may_send:
                self._is_torn = False  # the program says itself that this is the end
                self.stream.send_fin()

    async def aclose(self) -> None:
        """End the stream, as the docstring of this module says. Never waits for the peer."""
        if self._state is _State.CLOSED:
            await anyio.lowlevel.checkpoint()
            return
        is_whole = not (self._received or self._is_torn)
        self._state = _State.CLOSED
        self._received.clear()
        self._receiver.wake()
        self._sender.wake()
        try:
            await anyio.lowlevel.checkpoint()
        except BaseException:
            self.stream.reset()
            raise
        if not is_whole:
            self.stream.reset()
        elif self.stream.may_send:
            self.stream.send_fin()

    # StreamSink: what the mux calls

    def data(self, chunk: memoryview) -> None:
        if self._state is _State.CLOSED:
            self.stream.reset()
            return
        self._received += chunk
        self._receiver.wake()

    def fin(self) -> None:
        self._peer_ended = True
        self._receiver.wake()

    def reset(self) -> None:
        """The mux says that the stream is gone. To reset it, use :func:`anyio.aclose_forcefully`."""
        self._received.clear()
        if self._state is _State.OPEN:
            self._state = _State.BROKEN
            self._receiver.wake()
            self._sender.wake()

    def acknowledged(self) -> None:
        """Nothing waits for it: sending may begin before."""

    def credit(self) -> None:
        self._sender.wake()

    # Its own

    def _check_open(self) -> None:
        if self._state is _State.CLOSED:
            raise anyio.ClosedResourceError
        if self._state is _State.BROKEN:
            raise anyio.BrokenResourceError

    def _check_may_send(self) -> None:
        self._check_open()
        if not self.stream.may_send:
            raise anyio.ClosedResourceError  # by ``send_eof``


class _Waiter:
    """One task, if it waits. The mux calls far more often than anybody does."""

    __slots__ = ("_event",)

    def __init__(self) -> None:
        self._event: anyio.Event | None = None

    async def wait(self) -> None:
        """Wait for the next :meth:`wake`."""
        self._event = anyio.Event()
        try:
            await self._event.wait()
        finally:
            self._event = None

    def wake(self) -> None:
        if self._event is not None:
            self._event.set()
