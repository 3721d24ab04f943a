"""A connection that is dialed for a stream of the peer's, and joined to it once it is there.

Rule: a client dials a service for a visitor and a gateway a destination for a client, and both do it in
this way: as long as somebody waits, as long as the limit says, and with a socket that may be had. Where a
dial leads, and what is said of it, is for whoever derives from this to decide.

Decision: a class above the two and no object beside them. That would cost every visitor its size.
"""

from __future__ import annotations

import time
from collections.abc import Coroutine
from functools import partial
from typing import Any

from transport.offer import Offer
from transport.pump.dial import Dial
from transport.pump.link import Link
from transport.pump.relay import Relay, RelayEnd

from .lingering import Lingering
from .process.descriptors import Use, may_have


class DialedConnection:
    """One such connection; the owner of its relay."""

    __slots__ = ("_dial", "_lingering", "_started")

    def __init__(self, lingering: Lingering) -> None:
        self._lingering = lingering
        self._started = time.monotonic()
        self._dial: Dial | None = None  # while it is under way

    def dial(self, offer: Offer, link: Link, timeout: float) -> None:
        """Dial for as long as the stream is wanted. Nothing of that is kept while the two talk.

        :param timeout: in seconds.
        """
        if offer.stream.is_closed:
            self._abandoned()
            return
        self._dial = Dial(self._dialing(), timeout, partial(self._dialed, offer, link))
        offer.on_reset = self._given_up

    # What is to be said of one kind of them

    def _dialing(self) -> Coroutine[Any, Any, Relay]:
        """Connect a relay of which this is the owner.

        :raises OSError: if nobody answers.
        """
        raise NotImplementedError

    def _prologue(self) -> bytes:
        """What is written before anything that comes on the stream."""
        raise NotImplementedError

    def _join(self, offer: Offer, link: Link, relay: Relay, prologue: bytes) -> None:
        """Somebody answered: note that, and join the two."""
        raise NotImplementedError

    def _failed(self, offer: Offer, error: OSError) -> None:
        """Nobody answered: refuse the offer. A ``TimeoutError`` without a number is of our own limit."""
        raise NotImplementedError

    def _has_no_room(self, offer: Offer) -> None:
        """The descriptors that are left are for the agent itself: refuse the offer."""
        raise NotImplementedError

    def _is_defect(self, offer: Offer, error: BaseException) -> None:
        """Refuse the offer for a mistake of our own."""
        raise NotImplementedError

    def _abandoned(self) -> None:
        """The stream was reset before anybody answered."""
        raise NotImplementedError

    def _closed(self, relay: Relay, end: RelayEnd) -> None:
        """A connection that was joined has ended."""
        raise NotImplementedError

    # The dial

    def _given_up(self) -> None:
        dial, self._dial = self._dial, None
        if dial is not None:
            dial.give_up()
        self._abandoned()

    def _dialed(self, offer: Offer, link: Link, outcome: Relay | BaseException) -> None:
        offer.on_reset = self._dial = None
        match outcome:
            case Relay() if not may_have(Use.VISITOR, outcome.descriptor):
                outcome.abort()
                self._has_no_room(offer)
            case Relay():
                try:
                    prologue = self._prologue()
                except Exception as error:  # noqa: BLE001 - a defect costs one visitor, not the session of all
                    self._is_defect(offer, error)
                    outcome.abort()
                    return
                self._join(offer, link, outcome, prologue)
            case OSError():
                self._failed(offer, outcome)
            case _:
                self._is_defect(offer, outcome)

    # RelayOwner

    def connected(self, relay: Relay) -> None:
        if self._dial is not None:  # else it was given up in this turn, and whoever did that resets it
            self._dial.connected(relay)

    def half_closed(self, relay: Relay) -> None:
        self._lingering.add(relay)

    def ended(self, relay: Relay, end: RelayEnd) -> None:
        if relay.stream is None:
            return  # it was never joined: why is said where that is decided
        self._lingering.discard(relay)
        self._closed(relay, end)

    def peeked(self, relay: Relay) -> None:
        """Who is dialed is never peeked at."""

    def timed_out(self, relay: Relay) -> None:
        """No deadline is set."""

    def acknowledged(self, relay: Relay) -> None:
        """The peer opened the stream, not we."""

    def refused(self, relay: Relay) -> None:
        """The peer opened the stream, not we."""
