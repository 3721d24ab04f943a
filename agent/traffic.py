"""Counting visitors and bytes, without a cost for each byte.

Rule: open relays are asked for their own counts when somebody looks; closed ones
are added up when they end.

Decision: counts belong to a name, whatever the state file says of it. A tunnel that
is taken out and put in again goes on where it was, and so does one that moves to
another port. In return names are forgotten, those that had no visitor for the
longest time first, once there are more of them than any agent has tunnels.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Final, TypeAlias

from schemas.status import Traffic
from transport.pump.relay import Relay

Counts: TypeAlias = tuple[int, int]  # from the visitor to the service, and back

_MOST_KEPT: Final = 10_000  # names; half a kilobyte each
_VISITS: Final = count(1)
_NONE: Final = Traffic.model_construct()  # without what validates one, which nobody needs before it is told


def visitor_side(relay: Relay) -> Counts:
    """The counts of a relay whose socket is the visitor's."""
    return relay.bytes_read, relay.bytes_written


def service_side(relay: Relay) -> Counts:
    """The counts of a relay whose socket is the service's."""
    return relay.bytes_written, relay.bytes_read


class TrafficMeter:
    """The traffic of one tunnel, client or service. ``latest`` orders meters by their last visitor."""

    __slots__ = ("_bytes_in", "_bytes_out", "_counts", "_open", "_total", "latest")

    def __init__(self, counts: Callable[[Relay], Counts]) -> None:
        self.latest = 0
        self._counts = counts
        self._open: set[Relay] = set()
        self._total = 0
        self._bytes_in = 0
        self._bytes_out = 0

    @property
    def open(self) -> int:
        """How many relays are open."""
        return len(self._open)

    @property
    def is_idle(self) -> bool:
        return not self._open

    def opened(self, relay: Relay) -> None:
        self.latest = next(_VISITS)
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
    """A meter for every name that is asked for. A name's meter outlives its listener and its session.

    :param most: so many names are kept, or as many as have open relays.
    """

    def __init__(self, counts: Callable[[Relay], Counts], *, most: int = _MOST_KEPT) -> None:
        self._counts = counts
        self._most = most
        self._meters: dict[str, TrafficMeter] = {}

    @property
    def open(self) -> int:
        """How many relays are open, of all names."""
        return sum(meter.open for meter in self._meters.values())

    def traffic(self, name: str) -> Traffic:
        """What has been counted for the name, for which no meter is made."""
        meter = self._meters.get(name)
        return _NONE if meter is None else meter.snapshot()

    def __getitem__(self, name: str) -> TrafficMeter:
        meter = self._meters.get(name)
        if meter is None:
            if len(self._meters) >= self._most:
                self._forget_some()
            meter = self._meters[name] = TrafficMeter(self._counts)
        return meter

    def _forget_some(self) -> None:
        """A tenth at once, so that looking for them is paid for by many names."""
        idle = [name for name, meter in self._meters.items() if meter.is_idle]
        idle.sort(key=lambda name: self._meters[name].latest)
        for name in idle[: len(self._meters) - self._most + max(1, self._most // 10)]:
            del self._meters[name]
