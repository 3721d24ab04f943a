"""A stream that the peer has opened and that leads nowhere yet.

Rule: this file collects what arrives on such a stream until its owner has a
socket for it. What can arrive is bounded by the stream's initial window, since
no credit is given back before the bytes have somewhere to go.
"""

from __future__ import annotations

from collections.abc import Callable

from .pump.link import Link
from .pump.relay import Relay
from .wire.errors import RemoteProtocolError
from .wire.mux import MuxStream
from .wire.open_header import OpenHeader, peek_open_header


class Offer:
    """The sink of an offered stream. ``ready`` is called once: with a header, or with an error."""

    def __init__(self, stream: MuxStream, ready: Callable[[Offer], None]) -> None:
        self.stream = stream
        self.header: OpenHeader | None = None
        self.error: RemoteProtocolError | None = None
        self.on_reset: Callable[[], None] | None = None
        self._ready = ready
        self._early = bytearray()
        self._ended = False

    def join(self, relay: Relay, link: Link, prologue: bytes) -> None:
        """Accept the stream and give it to a relay; ``prologue`` goes to the socket first."""
        if self.stream.is_closed:
            relay.abort()
            return
        relay.join(link, self.stream, prologue=prologue, early=self._early, ended=self._ended)

    # StreamSink

    def data(self, chunk: memoryview) -> None:
        if self.error is not None:
            return  # being reset
        self._early += chunk
        if self.header is None:
            self._peek()

    def fin(self) -> None:
        self._ended = True
        if self.header is None and self.error is None:
            self.error = RemoteProtocolError("the stream ended within its open header")
            self._ready(self)

    def reset(self) -> None:
        if self.on_reset is not None:
            self.on_reset()

    def acknowledged(self) -> None:
        """Only who opens a stream is acknowledged."""

    def credit(self) -> None:
        """Nothing is sent before the stream is joined."""

    def _peek(self) -> None:
        try:
            found = peek_open_header(self._early)
        except RemoteProtocolError as error:
            self.error = error
        else:
            if found is None:
                return
            self.header, size = found
            del self._early[:size]
            self.stream.take(size)
        self._ready(self)
