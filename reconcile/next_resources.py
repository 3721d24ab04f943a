"""What a state asks for, when it is known what the one before it asked for.

Rule: the answer is that of ``resources``, to the last key and in the same order. What
has not changed is the very same specification, so that whoever compares thousands of
them begins by asking whether two are one; and what it costs to find the rest grows
with the change and hardly with the state.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from schemas.names import ListenAddress
from schemas.state import GatewayState, State, Tunnel

from .desired import Key, ListenerSpec, RouteSpec, Spec, listener_key, order_of, resources, route_of


def next_resources(state: State, *, before: State, asked: Mapping[Key, Spec]) -> Mapping[Key, Spec]:
    """Everything the state asks for.

    :param asked: what the state before asks for.
    """
    match before, state:
        case GatewayState(), GatewayState() if before.gateway == state.gateway:
            return _next(before, state, asked)
        case _:
            return _with_the_old_ones(resources(state), asked)


def _next(before: GatewayState, state: GatewayState, asked: Mapping[Key, Spec]) -> Mapping[Key, Spec]:
    # An equal tunnel may be another object, which is looked at in vain then; another one never is the same.
    gone, come = _without(before.tunnels, state.tunnels), _without(state.tunnels, before.tunnels)
    if 2 * (len(gone) + len(come)) > len(state.tunnels):
        return _with_the_old_ones(resources(state), asked)
    found = dict(asked)
    # Everything that is not a listener is cheap to ask for, and may depend on more than the tunnels.
    others = _with_the_old_ones(resources(state.model_copy(update={"tunnels": ()})), asked)
    for key in resources(before.model_copy(update={"tunnels": ()})).keys() - others.keys():
        found.pop(key, None)  # a section of the file that is there no longer
    found.update(others)
    for address, routes in _changed(gone, come).items():
        key = listener_key(address)
        old = asked.get(key)
        kept = old.routes if isinstance(old, ListenerSpec) else ()
        led = [route for route in kept if route.tunnel not in routes]
        led += [route for route in routes.values() if route is not None]
        if led:
            led.sort(key=lambda route: route.tunnel)
            spec = ListenerSpec(address=address, routes=tuple(led), peek_timeout=state.gateway.peek_timeout)
            found[key] = old if old is not None and old == spec else spec
        else:
            found.pop(key, None)
    if found.keys() != asked.keys():
        found = {key: found[key] for key in sorted(found, key=order_of)}
    return MappingProxyType(found)


def _without(tunnels: Iterable[Tunnel], others: Iterable[Tunnel]) -> list[Tunnel]:
    there = set(map(id, others))
    return [tunnel for tunnel in tunnels if id(tunnel) not in there]


def _changed(
    gone: Iterable[Tunnel], come: Iterable[Tunnel]
) -> dict[ListenAddress, dict[str, RouteSpec | None]]:
    """On each address that has changed the routes by their tunnels; None: it no longer leads there."""
    changed: dict[ListenAddress, dict[str, RouteSpec | None]] = {}
    for tunnel in gone:
        for address in tunnel.listen:
            changed.setdefault(address, {})[tunnel.name] = None
    for tunnel in come:
        route = route_of(tunnel)
        for address in tunnel.listen:
            changed.setdefault(address, {})[tunnel.name] = route
    return changed


def _with_the_old_ones(found: Mapping[Key, Spec], asked: Mapping[Key, Spec]) -> Mapping[Key, Spec]:
    """The same, with the old object wherever it is equal."""
    return MappingProxyType(
        {key: asked[key] if asked.get(key) == spec else spec for key, spec in found.items()}
    )
