"""How each client of a tunnel stands: who serves now, who would, and who does not.

Rule: pure, and it agrees with ``balancing``, which leads visitors. It is asked by whoever wants to know, and
never for a visitor.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from reconcile.conditions import ClientsView
from reconcile.desired import RouteSpec
from schemas.names import Balance, ClientId, ServiceName, TunnelName
from schemas.status import Standing


@dataclass(frozen=True, slots=True, kw_only=True)
class BalancerView:
    """What a balancer knows at one moment, as plain values.

    ``doubts``: seconds for which a service of a client is passed over still.
    ``visitors``: how many each client has of a tunnel that has several clients.
    """

    doubts: Mapping[tuple[ClientId, ServiceName], float] = field(default_factory=lambda: MappingProxyType({}))
    visitors: Mapping[tuple[TunnelName, ClientId], int] = field(default_factory=lambda: MappingProxyType({}))


NOTHING_KNOWN: Final = BalancerView()


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientStanding:
    """One client of one tunnel."""

    client: ClientId
    standing: Standing
    visitors: int


def standings(route: RouteSpec, clients: ClientsView, balancer: BalancerView) -> tuple[ClientStanding, ...]:
    """All clients of a route, in the order of the state file."""
    able = [client for client in route.clients if route.service in clients.offers.get(client, ())]
    trusted = [client for client in able if not balancer.doubts.get((client, route.service))]
    serving = trusted or able
    if route.balance is Balance.PREFERENCE:
        serving = serving[:1]
    return tuple(
        ClientStanding(
            client=client,
            standing=_standing(client, serving, trusted, able, clients),
            visitors=balancer.visitors.get((route.tunnel, client), 0),
        )
        for client in route.clients
    )


def _standing(
    client: ClientId,
    serving: list[ClientId],
    trusted: list[ClientId],
    able: list[ClientId],
    clients: ClientsView,
) -> Standing:
    if client in serving:
        return Standing.SERVES
    if client in trusted:
        return Standing.STANDS_BY
    if client in able:
        return Standing.DOUBTED
    return Standing.DOES_NOT_OFFER if client in clients.offers else Standing.AWAY
