"""Half-closed connections that have stopped moving.

Rule: a connection of which one direction has ended may go on for as long as bytes
move; one that stands still for the limit is dropped. Without this, each visitor
that vanishes after its last request would stay for ever.
"""

from __future__ import annotations

from typing import Final

import anyio

from transport.pump.relay import Relay

_LOOKS: Final = 4  # times that each connection is looked at within the limit


class Lingering:
    """The half-closed connections of one session.

    :param limit: seconds without progress.
    """

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._relays: dict[Relay, tuple[int, int]] = {}  # progress when it last moved, looks since

    def add(self, relay: Relay) -> None:
        self._relays[relay] = (relay.progress, 0)

    def discard(self, relay: Relay) -> None:
        self._relays.pop(relay, None)

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            await anyio.sleep(self._limit / _LOOKS)
            self.look()

    def look(self) -> None:
        """Drop what has not moved in as many looks as fill the limit."""
        for relay, (before, looks) in list(self._relays.items()):
            if relay.progress != before:
                self._relays[relay] = (relay.progress, 0)
            elif looks + 1 < _LOOKS:
                self._relays[relay] = (before, looks + 1)
            else:
                del self._relays[relay]
                relay.abort()
