"""A carrier: a connection to a peer that holds a WebSocket, with one end of a socket pair behind it. Or one
in TLS that holds nothing but bytes, and leads on to somebody else.

Rule: this file moves bytes between the two and passes on how each ends. The other end of the pair is any
socket to whoever makes a link of it, so a link knows nothing of WebSockets, nor of TLS around its own. What
is said before there is a WebSocket is the owner's, who reads ``early`` and writes the answer.

Memory is bounded both ways: what one side does not take is not read from the other. Only answers to what the
peer said wait in :class:`WebSocketEnd`, and of those it keeps a few.
"""

from __future__ import annotations

import asyncio
import socket
import time
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

from transport.wire.keepalive import Keepalive, Verdict

from .socket_options import address

if TYPE_CHECKING:
    from transport.wire.plain_end import PlainEnd
    from transport.wire.websocket import WebSocketEnd

    End: TypeAlias = WebSocketEnd | PlainEnd

PING_INTERVAL: Final = 20.0  # seconds; a reverse proxy gives up on silence after 60
PING_TIMEOUT: Final = 20.0
_MOST_EARLY: Final = 64 * 1024  # bytes; as much as the head of a request may have
_HIGH_WATER: Final = 256 * 1024
_GOODBYE: Final = 5.0  # seconds that a peer has for its part of the end
_LINGER: Final = 2.0  # seconds that one who was refused has to read why
# Shared by all carriers of the process, one for each direction: what is read is copied within the callback.
# What is read of a link in one go becomes a message, and so may be no longer than one.
_FROM_PEER: Final = memoryview(bytearray(256 * 1024))
_FROM_LINK: Final = memoryview(bytearray(64 * 1024))


class Carrier(asyncio.BufferedProtocol):
    """One connection to a peer. ``early`` is what came and nobody has taken.

    ``under`` is the carrier of the connection itself, if that leads through another one.
    """

    def __init__(self) -> None:
        self.early = bytearray()
        self.under: Carrier | None = None
        self.failure = ""  # why it ended, if that was not in order
        self._is_closed = False
        self._socket: End | None = None
        self._link = _LinkSide(self)
        self._transport: asyncio.Transport
        self._loop: asyncio.AbstractEventLoop
        self._grown: asyncio.Future[None] | None = None
        self._peer_ended = False
        self._is_refused = False
        self._is_leaving = False  # our side has ended, and the peer is to say goodbye
        self._is_paused = False  # the peer does not read
        self._is_stalled = False  # the link takes nothing, and so nothing is read
        self._unread = 0  # how often nobody looked what the peer says, which says nothing of the peer
        self._timer: asyncio.TimerHandle | None = None
        self._keepalive: Keepalive

    # Before there is a WebSocket

    async def more(self) -> None:
        """Wait until ``early`` has grown.

        :raises EOFError: if the peer has gone.
        """
        size = len(self.early)
        while len(self.early) == size:
            if self._peer_ended:
                raise EOFError
            self._grown = self._loop.create_future()
            await self._grown

    def write(self, data: bytes) -> None:
        self._transport.write(data)

    def refuse(self, answer: bytes) -> None:
        """Close behind these bytes, and drop what still comes: left unread, it would reset the connection."""
        self._is_refused = True
        self.early = bytearray()  # nobody asks for it, and they may be many
        self._set_timer(_LINGER, self._transport.abort)
        self._transport.write(answer)
        if not self._peer_ended and self._transport.can_write_eof():
            self._transport.write_eof()
        else:
            self._transport.close()

    def abort(self) -> None:
        """Drop the connection without a word."""
        self._transport.abort()

    async def carry(
        self,
        end: End,
        *,
        ping_interval: float | None = PING_INTERVAL,
        ping_timeout: float = PING_TIMEOUT,
    ) -> socket.socket:
        """Join what the connection holds with a socket, which the caller takes over. ``early`` comes first.

        :param ping_interval: seconds between pings; None for none at all.
        :param ping_timeout: seconds of silence after a ping that mean the peer is dead.
        """
        ours, others = socket.socketpair()
        for one in (ours, others):
            one.setblocking(False)
        try:
            await self._loop.connect_accepted_socket(lambda: self._link, ours)
        except BaseException:
            self._link.close()
            others.close()
            raise
        self._socket = end
        if ping_interval is not None:
            self._keepalive = Keepalive(interval=ping_interval, timeout=ping_timeout, now=time.monotonic())
            self._keep_alive()
        early, self.early = self.early, bytearray()
        if early:
            self._received(memoryview(early))
        if self._is_closed or self._peer_ended:
            self._peer_is_gone()
        else:
            self._transport.resume_reading()
        return others

    @property
    def is_closed(self) -> bool:
        """Whether everything that was to be said has been, or nobody took it."""
        return self._is_closed and (self.under is None or self.under.is_closed)

    @property
    def peer_address(self) -> tuple[str, int]:
        return address(self._transport.get_extra_info("peername"))

    # asyncio.BufferedProtocol: what the connection to the peer calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=_HIGH_WATER)
        self._loop = asyncio.get_running_loop()

    def get_buffer(self, sizehint: int) -> memoryview:
        return _FROM_PEER

    def buffer_updated(self, nbytes: int) -> None:
        if self._socket is not None:
            self._received(_FROM_PEER[:nbytes])
        elif not self._is_refused:
            self.early += _FROM_PEER[:nbytes]
            if len(self.early) > _MOST_EARLY:
                self._transport.pause_reading()
            self._notify()

    def eof_received(self) -> None:
        """Half a connection is of no use to a WebSocket; returning None closes it."""
        self._peer_is_gone()

    def pause_writing(self) -> None:
        self._is_paused = True
        self._link.pause_reading()

    def resume_writing(self) -> None:
        self._is_paused = False
        self._link.resume_reading()
        self._answer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_closed = True
        self._clear_timer()
        self._peer_is_gone()
        if self.under is not None:
            self.under.link_lost()

    # What the link's side calls

    def said(self, data: memoryview) -> None:
        """The link has something to say."""
        assert self._socket is not None
        message = self._socket.send(data)
        if message and not self._transport.is_closing():
            self._transport.write(message)

    def left(self) -> None:
        """The link has ended."""
        if self._is_leaving:
            return
        self._is_leaving = True
        if self._socket is None or self._is_closed:
            return
        goodbye = self._socket.close()
        if goodbye and not self._transport.is_closing():
            self._transport.write(goodbye)
        if self._socket.has_ended:  # else the peer is to say goodbye as well
            self._transport.close()
        self._set_timer(_GOODBYE, self._transport.abort)

    def stalled(self) -> None:
        """The link takes nothing."""
        self._is_stalled = True
        if not self._transport.is_closing():
            self._transport.pause_reading()

    def flows(self) -> None:
        """The link takes something again."""
        self._is_stalled = False
        self._unread += 1
        if not self._transport.is_closing():
            self._transport.resume_reading()

    def link_lost(self) -> None:
        """The link is gone; its end goes unseen behind what a peer that reads nothing has still to take."""
        if not self._is_leaving and not self._is_closed:
            self._set_timer(_GOODBYE, self._transport.abort)

    # Its own

    def _received(self, data: memoryview) -> None:
        assert self._socket is not None
        held = self._socket.receive(data)
        if held:
            self._link.write(held)
        self._answer()

    def _answer(self) -> None:
        """Say what is due, if the peer reads, and end if it has ended."""
        end = self._socket
        if end is None or self._transport.is_closing():
            return
        if not self._is_paused:
            answers = end.take_answers()
            if answers:
                self._transport.write(answers)
        if end.has_ended:
            self._peer_is_gone()
            self._set_timer(_GOODBYE, self._transport.abort)
            self._transport.close()

    def _peer_is_gone(self) -> None:
        self._peer_ended = True
        self._notify()
        if self._socket is not None:
            if not self._socket.has_ended:
                self._socket.receive_end()
            self.failure = self.failure or ("" if self._is_leaving else self._socket.failure)
            self._is_leaving = True
            self._link.close()

    def _keep_alive(self) -> None:
        assert self._socket is not None
        if self._is_closed:  # while the two were joined
            return
        keepalive = self._keepalive
        self._unread += self._is_stalled
        match keepalive.handle_timeout(time.monotonic(), self._socket.received + self._unread):
            case Verdict.PING if not self._transport.is_closing():
                self._transport.write(self._socket.ping(keepalive.value))
            case Verdict.DEAD:
                self.failure = f"nothing was heard for {keepalive.timeout:g} s after a ping of the WebSocket"
                self._transport.abort()
                return
            case _:
                pass
        self._set_timer(keepalive.next_deadline() - time.monotonic(), self._keep_alive)

    def _set_timer(self, seconds: float, call: Any) -> None:
        self._clear_timer()
        self._timer = self._loop.call_later(seconds, call)

    def _clear_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _notify(self) -> None:
        if self._grown is not None and not self._grown.done():
            self._grown.set_result(None)


class _LinkSide(asyncio.BufferedProtocol):
    """Our end of the socket pair."""

    def __init__(self, carrier: Carrier) -> None:
        self._carrier = carrier
        self._transport: asyncio.Transport | None = None

    def write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def close(self) -> None:
        """Behind all that was written."""
        if self._transport is not None:
            self._transport.close()

    def pause_reading(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=_HIGH_WATER)

    def get_buffer(self, sizehint: int) -> memoryview:
        return _FROM_LINK

    def buffer_updated(self, nbytes: int) -> None:
        self._carrier.said(_FROM_LINK[:nbytes])

    def eof_received(self) -> None:
        self._carrier.left()

    def pause_writing(self) -> None:
        self._carrier.stalled()

    def resume_writing(self) -> None:
        self._carrier.flows()

    def connection_lost(self, exc: Exception | None) -> None:
        self._carrier.left()
