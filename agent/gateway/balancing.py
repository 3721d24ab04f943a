"""In which order the clients of a tunnel are tried for a visitor.

Rule: pure. Who is able to serve is told, as is the time; what follows for the next visitor is decided here:
whose turn it is, who is passed over for a while because it has failed lately, and how long each may take.

A visitor that is served by a client stays with it. So an order is about one visitor that has just come.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, assert_never

from reconcile.desired import RouteSpec
from schemas.names import Balance, ClientId, ServiceName, TunnelName

from .standing import BalancerView

PATIENCE: Final = 3.0
"""Seconds that a client has to accept a visitor while there is another one that might."""
ALL_PATIENCE: Final = 20.0
"""Seconds that all of them have together."""

_FIRST_DOUBT: Final = 1.0  # seconds that a service is passed over when it has failed once; then twice as long
_LONGEST_DOUBT: Final = 30.0
# Tunnels whose turns are remembered. Who has a tunnel more begins again, which does no harm.
_MOST_TURNS: Final = 10_000


class Attempts:
    """The clients that are still to be tried for one visitor.

    ``in_vain`` are those that were, before the last one. For whoever tries them, of that one: ``heard``, how
    many bytes had come from it by then, and ``keeps``, whether the visitor can be led elsewhere.

    :param order: all of them.
    :param ends_at: when the visitor is turned away, whoever is being tried then.
    """

    __slots__ = ("_left", "_put_off", "ends_at", "heard", "in_vain", "keeps")

    def __init__(self, order: Iterable[ClientId], *, ends_at: float) -> None:
        self.ends_at = ends_at
        self.heard = 0
        self.keeps = False
        self.in_vain: tuple[ClientId, ...] = ()
        self._left = list(order)
        self._put_off: list[ClientId] = []

    @property
    def are_left(self) -> bool:
        return bool(self._left)

    def next(self) -> ClientId | None:
        """Who is tried now. It is not among the others any more."""
        return self._left.pop(0) if self._left else None

    def put_off(self, client: ClientId) -> None:
        """Try it again when all others have failed, but not a third time: it is there, and slow."""
        if client not in self._put_off:
            self._put_off.append(client)
            self._left.append(client)

    def patience(self, now: float) -> float:
        """Seconds that the one who is tried now has before others are."""
        return min(PATIENCE, self.rest(now))

    def rest(self, now: float) -> float:
        """Seconds that it has if there is nobody else."""
        return max(0.0, self.ends_at - now)


@dataclass(slots=True)
class _Doubt:
    failures: int
    ends_at: float
    is_tried: bool = False  # it has ended, and one visitor finds out whether rightly


class Doubts:
    """Which services of which clients have failed lately.

    Each is passed over for a second, and for twice as long whenever it fails again. After that one visitor
    is led there again, and the others only if it was served.
    """

    def __init__(self) -> None:
        self._doubts: dict[tuple[ClientId, ServiceName], _Doubt] = {}

    def __len__(self) -> int:
        return len(self._doubts)

    def failed(self, client: ClientId, service: ServiceName, now: float) -> float | None:
        """It did not serve a visitor who was led there; for how long it is passed over, if that is new."""
        before = self._doubts.get((client, service))
        if before is not None and now < before.ends_at and not before.is_tried:
            return None  # this visitor had come before the doubt did
        is_first = before is None or now > before.ends_at + _LONGEST_DOUBT  # the last one was another time
        failures = 1 if before is None or is_first else before.failures + 1
        seconds = min(_LONGEST_DOUBT, _FIRST_DOUBT * 2.0 ** min(failures - 1, 10))
        self._doubts[client, service] = _Doubt(failures, now + seconds)
        return seconds

    def served(self, client: ClientId, service: ServiceName) -> bool:
        """It has served one; whether that is news."""
        return self._doubts.pop((client, service), None) is not None

    def forget(self, client: ClientId) -> None:
        """The client has come, gone, or said what it offers: what was known of it is old."""
        for key in [key for key in self._doubts if key[0] == client]:
            del self._doubts[key]

    def seconds_left(self, client: ClientId, service: ServiceName, now: float) -> float:
        """How long it is passed over still; 0 if it is not."""
        doubt = self._doubts.get((client, service))
        return 0.0 if doubt is None else max(0.0, doubt.ends_at - now)

    def view(self, now: float) -> dict[tuple[ClientId, ServiceName], float]:
        """Who is passed over now, and for how many seconds still."""
        return {key: doubt.ends_at - now for key, doubt in self._doubts.items() if doubt.ends_at > now}

    def tried(self, client: ClientId, service: ServiceName, now: float) -> None:
        """A visitor is led there. The first one after a doubt finds out for the others whether it serves."""
        doubt = self._doubts.get((client, service))
        if doubt is not None and now >= doubt.ends_at:
            doubt.ends_at, doubt.is_tried = now + PATIENCE, True


class Balancer:
    """Whose turn it is at the tunnels that have several clients."""

    def __init__(self) -> None:
        self.doubts = Doubts()
        self._visitors: Counter[tuple[TunnelName, ClientId]] = Counter()
        self._latest: dict[TunnelName, ClientId] = {}

    def attempts(self, route: RouteSpec, is_able: Callable[[ClientId], bool], now: float) -> Attempts:
        """The clients for a visitor that comes now: those that are able, those in doubt behind all others."""
        able = [client for client in route.clients if is_able(client)]
        if len(able) > 1:
            able = self._arranged(route, able)
            if self.doubts:
                able.sort(key=lambda client: self.doubts.seconds_left(client, route.service, now) > 0)
                self.doubts.tried(able[0], route.service, now)
        return Attempts(able, ends_at=now + ALL_PATIENCE)

    def view(self, now: float) -> BalancerView:
        """What is known now."""
        return BalancerView(doubts=self.doubts.view(now), visitors=dict(self._visitors))

    def came(self, tunnel: TunnelName, client: ClientId) -> None:
        """A visitor is led to the client."""
        self._visitors[tunnel, client] += 1
        self._latest.pop(tunnel, None)
        if len(self._latest) >= _MOST_TURNS:
            del self._latest[next(iter(self._latest))]
        self._latest[tunnel] = client

    def left(self, tunnel: TunnelName, client: ClientId) -> None:
        """It is with the client no longer."""
        self._visitors[tunnel, client] -= 1
        if self._visitors[tunnel, client] <= 0:
            del self._visitors[tunnel, client]

    def _arranged(self, route: RouteSpec, able: list[ClientId]) -> list[ClientId]:
        match route.balance:
            case Balance.PREFERENCE:
                return able
            case Balance.ROUND_ROBIN:
                return self._in_turn(route, able)
            case Balance.LEAST_CONNECTIONS:
                return sorted(
                    self._in_turn(route, able), key=lambda client: self._visitors[route.tunnel, client]
                )
        assert_never(route.balance)

    def _in_turn(self, route: RouteSpec, able: Sequence[ClientId]) -> list[ClientId]:
        """Beginning behind the one that had the last visitor, in the order of the list."""
        latest = self._latest.get(route.tunnel)
        if latest not in route.clients:
            return list(able)
        place = route.clients.index(latest)
        behind = set(route.clients[place + 1 :])
        return [client for client in able if client in behind] + [
            client for client in able if client not in behind
        ]
