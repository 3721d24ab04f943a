"""Flow control of one direction of one stream, as arithmetic.

Rule: this file decides how much may be sent and when credit goes back; it sends
nothing. Both ends start with ``INITIAL_WINDOW`` (yamux specification, "Flow
Control"). A receiver gives credit back for bytes that their destination has
taken, not for bytes that have arrived: what one stream can make us keep is then
bounded by its window, however slow the destination is. Credit is returned once
half of the window is owed, so that a stream of small writes does not cause a
window update each.
"""

from __future__ import annotations

from typing import Final

from .errors import LocalProtocolError, RemoteProtocolError
from .frames import MAX_LENGTH

INITIAL_WINDOW: Final = 256 * 1024


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
    """

    __slots__ = ("owed", "remaining", "size")

    def __init__(self, size: int = INITIAL_WINDOW) -> None:
        self.size = size
        self.remaining = size
        self.owed = 0

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
        if self.owed * 2 < self.size:
            return 0
        grant = self.owed
        self.owed = 0
        self.remaining += grant
        return grant
