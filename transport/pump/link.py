"""A link: one TLS connection between the two programs, and the mux on it.

Rule: this is the one place that writes a link. Everything goes through the mux's
output, which leaves once a turn of the loop, so that a cancelled visitor can
never leave half a frame on the wire.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from mmap import mmap
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from schemas.errors import TidegateError
from transport.wire.backlog import MOST, Backlog
from transport.wire.budget import Budget
from transport.wire.errors import RemoteProtocolError
from transport.wire.frames import GoAwayCode
from transport.wire.mux import Mux, MuxLimits, MuxOwner, MuxStream, Role, StreamSink
from transport.wire.window import WindowGrowth

from .held import PROCESS_LIMIT, SESSION_LIMIT, Held
from .socket_options import limit_unsent

if TYPE_CHECKING:
    from .carrier import Carrier

# Shared by all links of the process: the loop reads into it and the mux is done with it in one
# callback. So a process runs one loop. Of an anonymous map only what was ever read into takes memory.
_READ: Final = memoryview(mmap(-1, 320 * 1024))
_GOODBYE: Final = 5.0  # seconds that a peer has to take what was still to be said
# What the windows of one session, and of all, may have beyond those they begin with, in bytes.
SESSION_GROWTH: Final = 64 * 1024 * 1024
PROCESS_GROWTH: Final = 128 * 1024 * 1024
# Streams of one session that its client has opened and the gateway has not answered. Each is a name to look
# up and somebody to dial, and there are many clients.
CLIENTS_OFFERED: Final = 512
_GROWTH: Final = Budget(PROCESS_GROWTH)
_HELD: Final = Held(PROCESS_LIMIT)


class CarrierFailedError(TidegateError):
    """What carried the link on has failed; says why."""


class LinkOwner(MuxOwner, Protocol):
    """Who is told of what happens to a link."""

    def link_lost(self, error: Exception | None) -> None:
        """The link is gone and every stream has been reset. Called once."""


class Link(asyncio.BufferedProtocol):
    """One TLS connection and the mux on it. Nothing reaches the mux before :meth:`start`."""

    def __init__(self, role: Role) -> None:
        growth = WindowGrowth(Budget(SESSION_GROWTH, above=_GROWTH), time.monotonic)
        limits = MuxLimits(max_offered=CLIENTS_OFFERED) if role is Role.SERVER else None
        self.mux = Mux(role, self, self._wake, limits=limits, growth=growth)
        self.held = Held(SESSION_LIMIT, above=_HELD)
        self.bytes_received = 0
        self.is_paused = False
        self.is_lost = False
        self.stated_address: tuple[str, int] | None = None  # what somebody in between says of the peer
        self.carrier: Carrier | None = None  # what carries it on, if that is no socket to the peer
        self._is_closed = False
        self._error: Exception | None = None
        self._owner: LinkOwner
        self._started = False
        self._early = bytearray()  # what came before the start
        self._transport: asyncio.Transport
        self._loop: asyncio.AbstractEventLoop
        self._flush_scheduled = False
        self._backlog = Backlog()
        self.flush_at = MOST  # one turn can have more to say than should wait for its end in one piece
        self._goodbye: asyncio.TimerHandle | None = None
        # In order, and each only once: a peer that grants credit while it does not read would
        # otherwise make this grow with every frame.
        self._blocked: dict[Callable[[], None], None] = {}

    def start(self, owner: LinkOwner) -> None:
        """Begin to receive; from now on ``owner`` is told."""
        self._owner = owner
        self._started = True
        if self.is_lost:
            owner.link_lost(self._error)
        elif self._early:
            self._loop.call_soon(self._receive_early)

    @property
    def peer_certificate(self) -> dict[str, Any]:
        """What :meth:`ssl.SSLSocket.getpeercert` says."""
        return cast("dict[str, Any]", self._transport.get_extra_info("peercert") or {})

    @property
    def alpn(self) -> str | None:
        """The protocol that the two sides agreed on in the TLS handshake."""
        return cast("str | None", self.ssl_object.selected_alpn_protocol())

    @property
    def ssl_object(self) -> Any:
        """An :class:`ssl.SSLObject`, or what is like one: with the peer's certificates as they were shown."""
        return self._transport.get_extra_info("ssl_object")

    @property
    def peer_address(self) -> tuple[str, int]:
        if self.stated_address is not None:
            return self.stated_address
        host, port = (self._transport.get_extra_info("peername") or ("?", 0))[:2]
        return host, port

    @property
    def is_closed(self) -> bool:
        """Whether everything that was to be said has been, or nobody took it."""
        return self._is_closed and (self.carrier is None or self.carrier.is_closed)

    def call_when_writable(self, callback: Callable[[], None]) -> None:
        """Call back once, when the link has room again."""
        self._blocked[callback] = None

    def forget(self, callback: Callable[[], None]) -> None:
        """Do not call it. Who has gone would else be kept until the link has room, which may be never."""
        self._blocked.pop(callback, None)

    def flush_if_large(self) -> None:
        """Write now what is too much to wait for the end of the turn."""
        if self.mux.output_size > self.flush_at and not self.is_paused:
            self._write()

    def close(self, code: GoAwayCode = GoAwayCode.NORMAL, error: Exception | None = None) -> None:
        """Say goodbye and close. Streams are reset now; a peer that does not listen is cut off soon."""
        if self.is_lost:
            return
        self._lose(error)
        self.mux.go_away(code)
        self._write()
        self._transport.close()
        self._goodbye = self._loop.call_later(_GOODBYE, self._transport.abort)

    def abort(self) -> None:
        """Drop the link without a word."""
        self._transport.abort()

    # MuxOwner: passed on

    def stream_offered(self, stream: MuxStream) -> StreamSink | None:
        return self._owner.stream_offered(stream)

    def pong(self, value: int) -> None:
        self._owner.pong(value)

    def going_away(self, code: GoAwayCode) -> None:
        self._owner.going_away(code)

    # asyncio.BufferedProtocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=MOST)
        self._loop = asyncio.get_running_loop()

    def get_buffer(self, sizehint: int) -> memoryview:
        return _READ

    def buffer_updated(self, nbytes: int) -> None:
        self.bytes_received += nbytes
        if self._started:
            self._receive(_READ[:nbytes])
        else:
            # Reading is not paused from the beginning: of a dialer that is, the standard TLS
            # transport keeps the end of the handshake back, and the other side waits for it.
            self._early += _READ[:nbytes]
            self._transport.pause_reading()

    def eof_received(self) -> None:
        """Half a TLS connection is of no use to us; returning None closes it."""

    def pause_writing(self) -> None:
        self.is_paused = True
        self._backlog.filled(self._transport.get_write_buffer_size(), time.monotonic())

    def resume_writing(self) -> None:
        self.is_paused = False
        if self._backlog.drained(self._transport.get_write_buffer_size(), time.monotonic()):
            self._limit_backlog(self._backlog.limit)
            if self.is_paused:  # again: of the smaller limit, more waits already
                return
        self._flush()
        blocked, self._blocked = self._blocked, {}
        for callback in blocked:
            callback()

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_closed = True
        if self._goodbye is not None:
            self._goodbye.cancel()
        if self.carrier is not None:
            self.carrier.link_lost()
            if self.carrier.failure:
                exc = CarrierFailedError(self.carrier.failure)
        self._lose(exc)

    # Its own

    def _limit_backlog(self, size: int) -> None:
        """Have no more wait here and in the system: small words would wait behind it."""
        self.flush_at = size
        self._transport.set_write_buffer_limits(high=size)
        limit_unsent(self._transport.get_extra_info("socket"), size if size < MOST else 0)

    def _receive(self, data: memoryview) -> None:
        if self.is_lost:
            return
        try:
            self.mux.receive(data)
        except RemoteProtocolError as error:
            self.close(GoAwayCode(error.code), error)

    def _receive_early(self) -> None:
        early, self._early = self._early, bytearray()
        self._receive(memoryview(early))
        self._transport.resume_reading()

    def _wake(self) -> None:
        if not self._flush_scheduled:
            self._flush_scheduled = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_scheduled = False
        if self.mux.output_size and not self.is_paused:
            self._write()

    def _write(self) -> None:
        output = self.mux.take_output()
        if not self._transport.is_closing():
            self._transport.write(output)

    def _lose(self, error: Exception | None) -> None:
        if self.is_lost:
            return
        self.is_lost = True
        self._error = error
        self._blocked.clear()
        self.mux.connection_lost()
        if self._started:
            self._owner.link_lost(error)
