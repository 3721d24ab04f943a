"""Counting visitors and bytes, without a cost for each byte.

Rule: open relays are asked for their own counts when somebody looks; closed ones
are added up when they end.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import TypeAlias

from schemas.status import Traffic
from transport.pump.relay import Relay

Counts: TypeAlias = tuple[int, int]  # from the visitor to the service, and back


def visitor_side(relay: Relay) -> Counts:
    """The counts of a relay whose socket is the visitor's."""
    return relay.bytes_read, relay.bytes_written


def service_side(relay: Relay) -> Counts:
    """The counts of a relay whose socket is the service's."""
    return relay.bytes_written, relay.bytes_read


class TrafficMeter:
    """The traffic of one tunnel, client or service."""

    def __init__(self, counts: Callable[[Relay], Counts]) -> None:
        self._counts = counts
        self._open: set[Relay] = set()
        self._total = 0
        self._bytes_in = 0
        self._bytes_out = 0

    def opened(self, relay: Relay) -> None:
        self._open.add(relay)
        self._total += 1

    def closed(self, relay: Relay) -> None:
        """Count a relay that has ended. Harmless for one that was never opened."""
        if relay in self._open:
            self._open.remove(relay)
            bytes_in, bytes_out = self._counts(relay)
            self._bytes_in += bytes_in
            self._bytes_out += bytes_out

    def snapshot(self) -> Traffic:
        bytes_in, bytes_out = self._bytes_in, self._bytes_out
        for relay in self._open:
            relay_in, relay_out = self._counts(relay)
            bytes_in += relay_in
            bytes_out += relay_out
        return Traffic(open=len(self._open), total=self._total, bytes_in=bytes_in, bytes_out=bytes_out)


class TrafficBook:
    """A meter for every name that has been seen. A name's meter outlives its listener and its session."""

    def __init__(self, counts: Callable[[Relay], Counts]) -> None:
        self._meters: defaultdict[str, TrafficMeter] = defaultdict(lambda: TrafficMeter(counts))

    def __getitem__(self, name: str) -> TrafficMeter:
        return self._meters[name]
