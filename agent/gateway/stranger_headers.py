"""PROXY headers of load balancers that are not named in ``accept_proxy_protocol``.

Rule: pure. Such a header is never believed; this file only finds it, for somebody who has set a load
balancer up and sees his service refuse what it cannot read. One header a minute is told of.

Decision: on a port that is not looked at, only the visitor that comes first in a minute is, once it has been
led and has begun to speak; and after one that does not speak first, not another one for a second. All
others pay for the comparison of two numbers.
"""

from __future__ import annotations

from typing import Final

from transport.wire.cursor import Buffer
from transport.wire.proxy_protocol import begins_with_proxy_header

_BETWEEN_LINES: Final = 60.0  # seconds
_BETWEEN_LOOKS: Final = 1.0  # of those who say nothing


def advice(host: str) -> str:
    """What a log says of it."""
    return (
        f"a PROXY header came from {host}, which is not in accept_proxy_protocol: if that is a load balancer "
        "of yours, add its address there, and if not, whoever it is pretends to be one"
    )


class StrangerHeaders:
    """What has been found at one port. Times are seconds of any clock."""

    def __init__(self) -> None:
        self._look_at = 0.0
        self._tell_at = 0.0

    def is_due(self, now: float) -> bool:
        """Whether to look at the visitor who comes now, on a port that is not looked at."""
        if now < self._look_at:
            return False
        self._look_at = now + _BETWEEN_LOOKS
        return True

    def found(self, first: Buffer, now: float) -> bool:
        """Whether a visitor began with a header that is to be told of.

        :param first: what it said first; empty if it has said nothing yet.
        """
        if not first:
            return False
        self._look_at = max(self._look_at, now + _BETWEEN_LINES)
        if not begins_with_proxy_header(first) or now < self._tell_at:
            return False
        self._tell_at = now + _BETWEEN_LINES
        return True
