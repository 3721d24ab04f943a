"""The numbers of a client's sessions, which tell them apart at a gateway.

Rule: no two sessions of this process to one gateway have the same number while both
live, or the gateway would end the older one. A session that comes back takes the
number it had, so that a gateway which has not noticed the end of the old one does.
"""

from __future__ import annotations

from schemas.gateway_address import GatewayAddress
from schemas.messages import MAX_SESSION_NUMBER


class SessionNumbers:
    """Which numbers are in use."""

    def __init__(self) -> None:
        self._used: dict[GatewayAddress, set[int]] = {}

    def take(self, gateway: GatewayAddress, wished: int) -> int | None:
        """That number if it is free, else the lowest that is; None if a gateway takes no more."""
        used = self._used.setdefault(gateway, set())
        free = (number for number in (wished, *range(1, MAX_SESSION_NUMBER + 1)) if number not in used)
        number = next(free, None)
        if number is not None:
            used.add(number)
        return number

    def give_back(self, gateway: GatewayAddress, number: int) -> None:
        """The session with that number is over."""
        used = self._used[gateway]
        used.discard(number)
        if not used:
            del self._used[gateway]
