"""Flow control of one direction of one stream, as arithmetic.

Rule: this file decides how much may be sent and when credit goes back; it sends
nothing. Both ends start with ``INITIAL_WINDOW`` (yamux specification, "Flow
Control"). A receiver gives credit back for bytes that their destination has
taken, not for bytes that have arrived: what one stream can make us keep is then
bounded by its window, however slow the destination is. Credit is returned once a
quarter of the window is owed, so that a stream of small writes does not cause a
window update each. (Half of it, as others do, leaves nearly half of the window
unused where it is what limits the stream.)

A window smaller than what a path holds in one round trip is what limits a stream
on it: 256 KiB and 100 ms are 2.5 MB/s. So a window grows to twice of what its
destination takes in a round trip: what is owed, and what waits at either end, must
not be missing on the way. A destination that takes little keeps a small window,
however fast the link is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from .budget import Budget
from .errors import LocalProtocolError, RemoteProtocolError
from .frames import MAX_LENGTH

INITIAL_WINDOW: Final = 256 * 1024
MAX_WINDOW: Final = 16 * 1024 * 1024
# A large window gives credit back sooner: more than this owed at once comes as a burst.
_MAX_OWED: Final = 1024 * 1024
# Seconds, and the round trip of any path that a ping finds shorter. Two processes that are both busy take
# turns of about so long, in which a sender with a smaller window stands still.
_TURNS: Final = 0.001


class SendWindow:
    """What we may still send.

    ``credit`` is a number of bytes and never negative.
    """

    __slots__ = ("credit",)

    def __init__(self) -> None:
        self.credit = INITIAL_WINDOW

    def spend(self, size: int) -> None:
        """Account for bytes about to be sent.

        :raises LocalProtocolError: if there is not enough credit.
        """
        if size > self.credit:
            raise LocalProtocolError(f"cannot send {size} bytes with a credit of {self.credit}")
        self.credit -= size

    def grant(self, size: int) -> None:
        """Add what the peer granted.

        :raises RemoteProtocolError: if the sum is more than a window can be; a peer
            that does this could otherwise make the count grow for ever.
        """
        if self.credit + size > MAX_LENGTH:
            raise RemoteProtocolError(
                f"the peer granted {size} bytes on top of {self.credit}, more than a window can hold"
            )
        self.credit += size


class ReceiveWindow:
    """What the peer may still send, and what we owe it.

    ``remaining`` + ``owed`` + the bytes not yet taken is always ``size``.
    ``measured`` is what has been taken since ``measured_since``; see :class:`WindowGrowth`.
    """

    __slots__ = ("measured", "measured_since", "owed", "remaining", "size")

    def __init__(self, size: int = INITIAL_WINDOW) -> None:
        self.size = size
        self.remaining = size
        self.owed = 0
        self.measured = 0
        self.measured_since: float | None = None

    def receive(self, size: int) -> None:
        """Account for bytes announced by a data frame.

        :raises RemoteProtocolError: if the peer had no credit for them.
        """
        if size > self.remaining:
            raise RemoteProtocolError(f"the peer sent {size} bytes into a window of {self.remaining}")
        self.remaining -= size

    def take(self, size: int) -> int:
        """Account for bytes that their destination has taken.

        :returns: the credit to give back now, or 0 while it is not worth a frame.
        """
        self.owed += size
        if self.owed * 4 < self.size and self.owed < _MAX_OWED:
            return 0
        grant = self.owed
        self.owed = 0
        self.remaining += grant
        return grant

    def grow(self, size: int) -> None:
        """Make the window larger by that; the caller grants it to the peer."""
        self.size += size
        self.remaining += size


class WindowGrowth:
    """How the windows of one session grow.

    :param budget: what all of them together may have beyond their initial windows.
    :param clock: the time now, in seconds of any monotonic clock.
    """

    def __init__(self, budget: Budget, clock: Callable[[], float]) -> None:
        self._budget = budget
        self._clock = clock
        self._round_trip: float | None = None

    def round_trip_measured(self, seconds: float) -> None:
        """Take in what a ping took.

        The shortest counts, down to ``_TURNS``. Others were queued behind a download, and a window that grows
        because of a queue makes the queue longer.
        """
        if self._round_trip is None or seconds < self._round_trip:
            self._round_trip = max(_TURNS, seconds)

    def grow(self, window: ReceiveWindow, taken: int) -> int:
        """Let a window grow if it limits its stream.

        Called when credit goes back.

        :param taken: by the destination since the last call.
        :returns: the credit to grant on top.
        """
        if self._round_trip is None:
            return 0
        now = self._clock()
        if window.measured_since is None:
            window.measured_since = now
            return 0
        window.measured += taken
        elapsed = now - window.measured_since
        if elapsed < self._round_trip or elapsed <= 0:
            return 0
        in_flight = window.measured * self._round_trip / elapsed
        window.measured = 0
        window.measured_since = now
        wanted = min(int(2 * in_flight), MAX_WINDOW) - window.size
        if wanted * 8 < window.size:  # not worth it
            return 0
        extra = self._budget.reserve(wanted, has=window.size - INITIAL_WINDOW)
        window.grow(extra)
        return extra

    def forget(self, window: ReceiveWindow) -> None:
        """Give back to the budget what the window of a closed stream had grown by."""
        if window.size > INITIAL_WINDOW:
            self._budget.release(window.size - INITIAL_WINDOW)


NO_GROWTH: Final = WindowGrowth(Budget(0), lambda: 0.0)
