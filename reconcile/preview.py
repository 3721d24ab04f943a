"""What a state would change if it came into force now, and whom that would reach.

Rule: the steps are those that ``make_plan`` gives, so that a preview cannot promise
what the loop does not do. This file adds what a person asks next: which routes of a
port are others, and what becomes of the connections that are open.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TypeVar

from schemas.names import ClientId, ListenAddress, ServiceName, TunnelName

from .desired import Key, Kind, ListenerSpec, RouteSpec, ServicesSpec, Spec
from .observed import Observed, ObservedState, Phase
from .plan import Verb, make_plan
from .spec_text import Setting, changed_settings

_K = TypeVar("_K")


def _none() -> Mapping[_K, int]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """Connections of visitors that are open now, counted by whatever a change can take away."""

    by_route: Mapping[tuple[ListenAddress, TunnelName], int] = field(default_factory=_none)
    by_service: Mapping[ServiceName, int] = field(default_factory=_none)
    by_link: Mapping[Key, int] = field(default_factory=_none)
    lost: Mapping[ClientId, int] = field(default_factory=_none)
    """Clients that are connected and would no longer be admitted, each with its connections."""
    disowned: Mapping[ClientId, int] = field(default_factory=_none)
    """The same of others that the keys of the control ports would no longer take."""
    forbidden: Mapping[ClientId, int] = field(default_factory=_none)
    """Connections made for a client that the rules of egress would no longer allow."""
    doubts: tuple[str, ...] = ()
    """What would keep some of the change from coming into force, and so nobody loses anything by it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteChange:
    """One route of a listener that is opened, changed or closed.

    ``finishing`` connections came by it: they keep it until they end by themselves.
    """

    verb: Verb
    tunnel: TunnelName
    before: RouteSpec | None
    after: RouteSpec | None
    finishing: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One resource that is opened, changed or closed.

    ``finishing`` connections go on until they end by themselves, ``dropped`` ones are cut.
    """

    verb: Verb
    key: Key
    settings: tuple[Setting, ...] = ()
    routes: tuple[RouteChange, ...] = ()
    routes_kept: int = 0  # routes of the listener that stay as they are
    lost: tuple[tuple[ClientId, int], ...] = ()  # clients that lose their sessions, with their connections
    failure: str = ""  # why it is not open already
    finishing: int = 0
    dropped: int = 0


def preview(desired: Mapping[Key, Spec], observed: ObservedState, live: Live) -> tuple[Change, ...]:
    """What would be done to get from ``observed`` to ``desired``, were both to stay as they are.

    Sorted to be read: by kind, then by port.
    """
    settled = _settled(observed)
    changes = (
        _change(action.verb, action.key, settled.get(action.key), action.spec, live)
        for action in make_plan(desired, settled).actions
    )
    return tuple(_with_disowned(sorted(changes, key=_place), live.disowned))


def _with_disowned(changes: Sequence[Change], disowned: Mapping[ClientId, int]) -> Iterator[Change]:
    """The ports share their keys, and whoever these take no more is lost once: to the first of them."""
    is_told = not disowned
    for change in changes:
        if not is_told and change.key.kind is Kind.CONTROL and change.verb is not Verb.CLOSE:
            is_told = True
            lost = (*change.lost, *sorted(disowned.items()))
            yield replace(change, lost=lost, dropped=change.dropped + sum(disowned.values()))
        else:
            yield change


def _settled(observed: ObservedState) -> dict[Key, Observed]:
    """What runs when everything in flight has ended well."""
    return {
        key: Observed(spec=seen.spec, phase=Phase.OPEN) if seen.phase is Phase.OPENING else seen
        for key, seen in observed.items()
        if seen.phase is not Phase.CLOSING
    }


def _change(verb: Verb, key: Key, now: Observed | None, wanted: Spec | None, live: Live) -> Change:
    before = None if now is None or now.phase is Phase.FAILED else now.spec
    failure = now.message if now is not None and now.phase is Phase.FAILED else ""
    routes = tuple(_routes(before, wanted, live))
    lost: tuple[tuple[ClientId, int], ...] = ()
    finishing = sum(route.finishing for route in routes)
    forbidden = 0
    match key.kind:
        case Kind.ADMISSION:
            lost = tuple(sorted(live.lost.items()))
        case Kind.EGRESS:
            forbidden = sum(live.forbidden.values())
        case Kind.SERVICES:
            finishing = sum(live.by_service.get(name, 0) for name in _withdrawn(before, wanted))
        case Kind.LINK:  # changed, it gets another session; either way the one there is drains
            finishing = live.by_link.get(key, 0)
        case _:
            pass
    return Change(
        verb=verb,
        key=key,
        settings=changed_settings(before, wanted),
        routes=routes,
        routes_kept=len(_by_tunnel(wanted)) - sum(route.after is not None for route in routes),
        lost=lost,
        failure=failure,
        finishing=finishing,
        dropped=sum(count for _, count in lost) + forbidden,
    )


def _routes(before: Spec | None, after: Spec | None, live: Live) -> Iterator[RouteChange]:
    old, new = _by_tunnel(before), _by_tunnel(after)
    address = next((spec.address for spec in (before, after) if isinstance(spec, ListenerSpec)), None)
    for tunnel in sorted(old.keys() | new.keys()):
        was, will_be = old.get(tunnel), new.get(tunnel)
        if was == will_be:
            continue
        verb = Verb.OPEN if was is None else Verb.CLOSE if will_be is None else Verb.UPDATE
        finishing = live.by_route.get((address, tunnel), 0) if address is not None and was is not None else 0
        yield RouteChange(verb=verb, tunnel=tunnel, before=was, after=will_be, finishing=finishing)


def _by_tunnel(spec: Spec | None) -> dict[TunnelName, RouteSpec]:
    return {route.tunnel: route for route in spec.routes} if isinstance(spec, ListenerSpec) else {}


def _withdrawn(before: Spec | None, after: Spec | None) -> Iterable[ServiceName]:
    """Services that will no longer be offered, or not at the same address."""
    old = before.targets if isinstance(before, ServicesSpec) else ()
    new = set(after.targets) if isinstance(after, ServicesSpec) else set()
    return [name for name, target in old if (name, target) not in new]


def _place(change: Change) -> tuple[Kind, int, str]:
    name = change.key.name
    port = name.partition(" ")[0].rpartition(":")[2]
    return change.key.kind, int(port) if port.isdecimal() else 0, name
