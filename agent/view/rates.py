"""Bytes a second, from counters that only grow.

Rule: the only thing here that remembers. Time is what the statuses say it is, so
the same statuses always give the same rates.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, assert_never

from schemas.status import AgentStatus, ClientAgentStatus, GatewayStatus, Traffic

SOCKS5_PORT: Final = "(SOCKS5)"
"""What a client's SOCKS5 port is called among its services. None of those can be called so."""

# Statuses that a rate spans: two seconds of the live table. Over one interval alone the figures flicker.
_WINDOW: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """Bytes a second, in either direction."""

    bytes_in: float = 0.0
    bytes_out: float = 0.0


_NONE: Final = Rate()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sample:
    started_at: datetime
    now: datetime
    traffic: Mapping[str, Traffic]


@dataclass(eq=False, slots=True)
class RateMeter:
    """Give it every status, in order; it says how fast each tunnel, or service of a client, carries bytes."""

    _samples: deque[_Sample] = field(default_factory=lambda: deque(maxlen=_WINDOW))

    def measure(self, status: AgentStatus) -> Mapping[str, Rate]:
        """The rates since a little while ago, by name. What was not there then has none yet."""
        newest = _Sample(
            started_at=status.started_at,
            now=status.now,
            traffic=_traffic(status),
        )
        if self._samples and self._samples[-1].started_at != newest.started_at:
            self._samples.clear()  # the agent was started anew, and counts from zero again
        self._samples.append(newest)
        rates = {}
        for name, traffic in newest.traffic.items():
            oldest = next(sample for sample in self._samples if name in sample.traffic)
            if oldest.traffic[name] is traffic:
                rates[name] = _NONE  # as of most, where there are thousands
            else:
                rates[name] = _rate(oldest.traffic[name], traffic, (newest.now - oldest.now).total_seconds())
        return rates


def _traffic(status: AgentStatus) -> Mapping[str, Traffic]:
    match status:
        case GatewayStatus(tunnels=tunnels):
            return {tunnel.name: tunnel.traffic for tunnel in tunnels}
        case ClientAgentStatus(services=services, socks5=socks5):
            traffic = {service.name: service.traffic for service in services}
            return traffic if socks5 is None else {**traffic, SOCKS5_PORT: socks5.traffic}
    assert_never(status)


def _rate(before: Traffic, after: Traffic, seconds: float) -> Rate:
    if seconds <= 0:
        return Rate()
    # A tunnel that was removed and declared again under its name counts from zero again.
    return Rate(
        bytes_in=max(0, after.bytes_in - before.bytes_in) / seconds,
        bytes_out=max(0, after.bytes_out - before.bytes_out) / seconds,
    )
