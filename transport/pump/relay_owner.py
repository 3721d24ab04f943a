"""Who decides what becomes of a socket, and what it hears of its end.

Rule: what a relay tells is all that its owner knows; bytes are not among it.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from .relay import Relay


class RelayEnd(Enum):
    """How a relay came to its end."""

    DONE = "done"  # both directions ended
    SOCKET_LOST = "socket_lost"  # the socket was reset or broke
    STREAM_RESET = "stream_reset"  # the far side gave up, or the link is gone
    ABORTED = "aborted"  # we gave up: refused, or no progress
    NOT_TAKEN = "not_taken"  # so much waited for sockets that take nothing that we gave this one up


class RelayOwner(Protocol):
    """Who decides what becomes of a socket."""

    def connected(self, relay: Relay) -> None:
        """A socket is there. Nothing is read until the owner peeks, opens or joins."""

    def peeked(self, relay: Relay) -> None:
        """There is more in ``relay.early``, or its end was seen."""

    def timed_out(self, relay: Relay) -> None:
        """The time given to :meth:`Relay.set_deadline` is over."""

    def acknowledged(self, relay: Relay) -> None:
        """The far side accepted the stream."""

    def refused(self, relay: Relay) -> None:
        """The stream was reset before it was accepted. The socket lives: refuse it, or open another."""

    def half_closed(self, relay: Relay) -> None:
        """One direction has ended. Called at most once for a stream."""

    def ended(self, relay: Relay, end: RelayEnd) -> None:
        """The socket is closed. Called once for each ``connected``."""
