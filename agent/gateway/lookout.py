"""How every tunnel is doing, at a cost that grows with what has changed.

Rule: what is known of a tunnel is what ``tunnel_conditions`` says of it, looked at
again when something it depends on is another: the tunnel, one of its listeners, or
one of its clients. Finding out which those are takes hardly any time; looking at
them may, when a client of ten thousand tunnels comes, and can be done in steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain
from operator import is_
from typing import Final, TypeAlias

from reconcile.conditions import ClientsView, serving_client, tunnel_conditions
from reconcile.desired import Key, listener_key
from reconcile.observed import ObservedState
from schemas.names import ClientId
from schemas.state import Tunnel
from schemas.status import Condition

STEP: Final = 20
"""Tunnels that are looked at without a pause, in about half a millisecond."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Everything that the conditions of tunnels depend on, at one moment."""

    generation: int
    tunnels: tuple[Tunnel, ...]
    listeners: ObservedState
    clients: ClientsView
    is_draining: bool = False
    now: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A tunnel as it was last looked at. ``generation`` is the one that declared it as it is."""

    tunnel: Tunnel
    generation: int
    conditions: tuple[Condition, ...]
    serving: ClientId | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Between the tunnels of two states. ``has_same_names``: the same ones in the same order."""

    before: tuple[Tunnel, ...]
    after: tuple[Tunnel, ...]
    gone: tuple[Tunnel, ...]
    come: tuple[Tunnel, ...]
    has_same_names: bool

    def is_between(self, before: tuple[Tunnel, ...], after: tuple[Tunnel, ...]) -> bool:
        """Whether it is between these very tunnels."""
        return self.before is before and self.after is after


def compare(before: tuple[Tunnel, ...], after: tuple[Tunnel, ...]) -> Difference:
    """What has changed. For ten thousand tunnels that takes milliseconds: ask in a worker thread."""
    old, new = set(map(id, before)), set(map(id, after))
    return Difference(
        before=before,
        after=after,
        gone=tuple(tunnel for tunnel in before if id(tunnel) not in new),
        come=tuple(tunnel for tunnel in after if id(tunnel) not in old),
        has_same_names=[tunnel.name for tunnel in before] == [tunnel.name for tunnel in after],
    )


@dataclass(eq=False, slots=True)
class _Index:
    """Which tunnels depend on what. A tunnel is in it once it has been looked at."""

    _names: dict[Key | ClientId, set[str]] = field(default_factory=dict)

    def add(self, tunnel: Tunnel) -> None:
        for cause in _causes(tunnel):
            self._names.setdefault(cause, set()).add(tunnel.name)

    def remove(self, tunnel: Tunnel) -> None:
        for cause in _causes(tunnel):
            names = self._names.get(cause, set())
            names.discard(tunnel.name)
            if not names:
                self._names.pop(cause, None)

    def of(self, causes: Iterable[Key | ClientId]) -> set[str]:
        return set(chain.from_iterable(self._names.get(cause, ()) for cause in causes))


def _causes(tunnel: Tunnel) -> Iterator[Key | ClientId]:
    """What the conditions of a tunnel depend on."""
    yield from map(listener_key, tunnel.listen)
    yield from tunnel.client


#: Called with a tunnel, and those of its conditions whose status or reason is another than before.
Changed: TypeAlias = Callable[[Seen, tuple[Condition, ...]], None]


class Lookout:
    """Looks at the tunnels of one gateway."""

    def __init__(self, changed: Changed = lambda seen, which: None) -> None:
        self._changed = changed
        self._facts: Facts | None = None
        self._index = _Index()
        self._seen: dict[str, Seen | None] = {}  # None: not looked at yet
        self._tunnels: dict[str, Tunnel] = {}
        self._due: set[str] = set()
        self._shared: dict[tuple[object, ...], Condition] = {}

    @property
    def tunnels(self) -> tuple[Tunnel, ...]:
        """Those of the facts that were noted last."""
        return () if self._facts is None else self._facts.tunnels

    def note(self, facts: Facts, difference: Difference | None = None) -> None:
        """Find out which tunnels are to be looked at again.

        :param difference: of the tunnels, if somebody has worked it out elsewhere.
        """
        if facts.tunnels is not self.tunnels:
            if difference is None or not difference.is_between(self.tunnels, facts.tunnels):
                difference = compare(self.tunnels, facts.tunnels)
            self._take_in(difference)
        before, self._facts = self._facts, facts
        if before is None:
            return
        if before.is_draining is not facts.is_draining or _is_all_new(before.clients, facts.clients):
            self._due.update(self._tunnels)
            return
        listeners = _changed(before.listeners, facts.listeners)
        self._due |= self._index.of((*listeners, *_changed_clients(before.clients, facts.clients)))

    def step(self, most: int | None = STEP) -> bool:
        """Look at so many of the tunnels that are due, None for all of them; whether any are left."""
        count = len(self._due) if most is None else min(most, len(self._due))
        for _ in range(count):
            self._look_at(self._tunnels[self._due.pop()])
        return bool(self._due)

    def seen(self) -> Iterator[Seen]:
        """The tunnels that have been looked at, in the order of the state."""
        return (seen for seen in self._seen.values() if seen is not None)

    def _take_in(self, difference: Difference) -> None:
        for tunnel in difference.gone:
            self._index.remove(tunnel)
            del self._tunnels[tunnel.name]
            self._due.discard(tunnel.name)
        self._tunnels.update((tunnel.name, tunnel) for tunnel in difference.come)
        self._due.update(tunnel.name for tunnel in difference.come)
        if not difference.has_same_names:
            self._seen = {tunnel.name: self._seen.get(tunnel.name) for tunnel in difference.after}

    def _look_at(self, tunnel: Tunnel) -> None:
        facts = self._facts
        assert facts is not None  # otherwise no tunnel would be due
        before = self._seen[tunnel.name]
        is_same = before is not None and before.tunnel == tunnel
        generation = before.generation if before is not None and is_same else facts.generation
        conditions = tunnel_conditions(
            tunnel,
            generation=generation,
            listeners=facts.listeners,
            clients=facts.clients,
            is_draining=facts.is_draining,
            previous=before.conditions if before is not None else (),
            now=facts.now,
        )
        self._index.add(tunnel)
        seen = self._seen[tunnel.name] = Seen(
            tunnel=tunnel,
            generation=generation,
            conditions=tuple(map(self._share, conditions)),
            serving=serving_client(tunnel, facts.clients),
        )
        changed = _changed_conditions(() if before is None else before.conditions, conditions)
        if changed:
            self._changed(seen, changed)

    def _share(self, condition: Condition) -> Condition:
        """The same statement about thousands of tunnels is kept once."""
        key = (
            condition.type,
            condition.status,
            condition.reason,
            condition.message,
            condition.observed_generation,
            condition.since,
        )
        if len(self._shared) > 2 * len(self._tunnels) + 100:
            self._shared.clear()  # most are of times gone by
        return self._shared.setdefault(key, condition)


def _changed_conditions(before: tuple[Condition, ...], now: tuple[Condition, ...]) -> tuple[Condition, ...]:
    if not before:
        return now
    return tuple(
        condition
        for was, condition in zip(before, now, strict=True)
        if (was.status, was.reason) != (condition.status, condition.reason)
    )


def _changed(before: ObservedState, now: ObservedState) -> list[Key]:
    if before is now:
        return []
    if len(before) == len(now) and all(map(is_, before, now)):
        # The same keys in the same order, as most of the time: compared without looking any of them up.
        pairs = zip(before.items(), now.values(), strict=True)
        return [key for (key, was), seen in pairs if was is not seen]
    changed = [key for key, seen in now.items() if before.get(key) is not seen]
    return [*changed, *(before.keys() - now.keys())]


def _is_all_new(before: ClientsView, now: ClientsView) -> bool:
    return (before.admitted is None) is not (now.admitted is None)


def _changed_clients(before: ClientsView, now: ClientsView) -> set[ClientId]:
    changed = {
        client
        for client in before.offers.keys() | now.offers.keys()
        if before.offers.get(client) != now.offers.get(client)
    }
    if before.refused or now.refused:
        changed |= {
            client
            for client in before.refused.keys() | now.refused.keys()
            if before.refused.get(client) != now.refused.get(client)
        }
    if before.admitted is not now.admitted and before.admitted is not None and now.admitted is not None:
        changed |= set(before.admitted) ^ set(now.admitted)
    return changed
