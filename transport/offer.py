"""A stream that the peer has opened and that leads nowhere yet.

Rule: this file collects what arrives on such a stream until its owner has a
socket for it. What can arrive is bounded by the stream's initial window, since
no credit is given back before the bytes have somewhere to go, and what all of
them hold by the limit on held bytes. How long a stream may be without its header is
bounded by the session's pings: nobody is dialed for it, so nothing else would end it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias

from schemas.messages import FailureCode

from .pump.held import Held
from .pump.link import Link
from .pump.relay import Relay
from .wire.egress_header import EgressHeader
from .wire.errors import RemoteProtocolError
from .wire.mux import MuxStream
from .wire.open_header import OpenHeader

Header: TypeAlias = OpenHeader | EgressHeader
# Finds the header at the start of what has arrived, and its size; None if there is more to come.
# :raises RemoteProtocolError: if it is none.
Peek: TypeAlias = Callable[[bytearray], tuple[Header, int] | None]


class OfferOwner(Protocol):
    """Who hears of an offer. Once of one of the two; of a failure also after it was ready."""

    def offer_ready(self, offer: Offer) -> None:
        """Its header is there."""

    def offer_failed(self, offer: Offer, code: FailureCode, message: str) -> None:
        """It cannot be accepted; the owner resets its stream."""


class Offer:
    """The sink of an offered stream.

    :param held: where what waits in it is counted.
    :param peek: finds the header that it begins with, of the one kind that this side is offered.
    """

    _has_waited = False  # of the class as long as it is so: nearly every header is there at once

    def __init__(self, stream: MuxStream, held: Held, owner: OfferOwner, peek: Peek) -> None:
        self.stream = stream
        self.header: Header | None = None
        self.on_reset: Callable[[], None] | None = None
        self._held = held
        self._owner = owner
        self._look_for_header = peek
        self._early = bytearray()
        self._ended = False
        self._failed = False

    def join(self, relay: Relay, link: Link, prologue: bytes) -> None:
        """Accept the stream and give it to a relay; ``prologue`` goes to the socket first."""
        self._held.discard(self)
        if self.stream.is_closed:
            relay.abort()
            return
        relay.join(link, self.stream, prologue=prologue, early=self._early, ended=self._ended)

    def refuse(self, code: FailureCode, message: str) -> None:
        """Do not accept the stream, and say why."""
        self._failed = True
        self._drop()
        self._owner.offer_failed(self, code, message)

    def look(self) -> None:
        """See to one that has been there for a while. Without its header, it is refused the second time."""
        if self.header is not None or self._failed:
            return
        if self._has_waited:
            self.refuse(FailureCode.MALFORMED, "the stream's header did not come in time")
        self._has_waited = True

    # Holder

    @property
    def holding(self) -> int:
        return len(self._early)

    def give_up(self) -> None:
        self.refuse(FailureCode.OTHER, "as much waits on this side as may, for those who do not answer")
        self.reset()

    # StreamSink

    def data(self, chunk: memoryview) -> None:
        if self._failed:
            return  # being reset
        self._early += chunk
        is_new = self.header is None and self._peek()
        if self._early and not self._failed:
            self._held.add(self, len(chunk))
        if is_new and not self._failed:  # not given up just now
            self._owner.offer_ready(self)

    def fin(self) -> None:
        self._ended = True
        if self.header is None and not self._failed:
            self.refuse(FailureCode.MALFORMED, "the stream ended within its header")

    def reset(self) -> None:
        self._drop()
        on_reset, self.on_reset = self.on_reset, None  # refusing can end the session, which resets again
        if on_reset is not None:
            on_reset()

    def acknowledged(self) -> None:
        """Only who opens a stream is acknowledged."""

    def credit(self) -> None:
        """Nothing is sent before the stream is joined."""

    def _drop(self) -> None:
        """Nobody will ask for what has arrived. A dial that is under way may hold this for seconds."""
        self._held.discard(self)
        self._early = bytearray()

    def _peek(self) -> bool:
        """Look for the header, once it is there; whether it is."""
        try:
            found = self._look_for_header(self._early)
        except RemoteProtocolError as error:
            self.refuse(FailureCode.MALFORMED, str(error))
            return False
        if found is None:
            return False
        self.header, size = found
        del self._early[:size]
        self.stream.take(size)
        return True
