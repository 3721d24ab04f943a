"""What is said of the clients of a tunnel is what becomes of the next visitor."""

from __future__ import annotations

from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.gateway.balancing import Balancer
from agent.gateway.standing import BalancerView, standings
from reconcile.conditions import ClientsView
from schemas.names import Balance, ClientId, ServiceName, TunnelName
from schemas.status import Standing
from tests.support.gateway_parts import route

A, B, C, D = (ClientId(name) for name in "abcd")
ALL: Final = (A, B, C, D)
WEB: Final = ServiceName("web")
WITH_WEB: Final = frozenset({WEB})
NOW: Final = 1_000.0


def standing(
    balance: Balance = Balance.PREFERENCE, *, doubted: tuple[ClientId, ...] = ()
) -> dict[str, Standing]:
    """Of a, b and c, which have it, and of d, which is there without it; e is away."""
    told = standings(
        route(clients=(*ALL, "e"), balance=balance),
        ClientsView(admitted=None, offers={A: WITH_WEB, B: WITH_WEB, C: WITH_WEB, D: frozenset()}),
        BalancerView(doubts={(client, WEB): 1.0 for client in doubted}),
    )
    return {one.client: one.standing for one in told}


def test_by_preference_one_serves_and_the_others_stand_by() -> None:
    assert standing() == {
        "a": Standing.SERVES,
        "b": Standing.STANDS_BY,
        "c": Standing.STANDS_BY,
        "d": Standing.DOES_NOT_OFFER,
        "e": Standing.AWAY,
    }


@pytest.mark.parametrize("balance", [Balance.ROUND_ROBIN, Balance.LEAST_CONNECTIONS])
def test_where_visitors_are_shared_all_that_can_serve_do(balance: Balance) -> None:
    told = standing(balance, doubted=(B,))

    assert [told[client] for client in "abc"] == [Standing.SERVES, Standing.DOUBTED, Standing.SERVES]


def test_who_is_doubted_leaves_the_visitors_to_the_next() -> None:
    told = standing(doubted=(A, C))

    assert [told[client] for client in "abc"] == [Standing.DOUBTED, Standing.SERVES, Standing.DOUBTED]


def test_when_all_are_doubted_the_first_serves_as_ever() -> None:
    told = standing(doubted=(A, B, C))

    assert [told[client] for client in "abc"] == [Standing.SERVES, Standing.DOUBTED, Standing.DOUBTED]


def test_visitors_are_those_of_this_tunnel() -> None:
    visitors = {(TunnelName("blog"), A): 3, (TunnelName("mail"), A): 5}
    told = standings(
        route("blog", clients=(A, B)),
        ClientsView(admitted=None, offers={}),
        BalancerView(visitors=visitors),
    )

    assert [one.visitors for one in told] == [3, 0]


@given(
    balance=st.sampled_from(Balance),
    able=st.sets(st.sampled_from(ALL)),
    doubted=st.sets(st.sampled_from(ALL)),
)
def test_who_is_said_to_serve_is_tried_first(
    balance: Balance, able: set[ClientId], doubted: set[ClientId]
) -> None:
    balancer, led = Balancer(), route(clients=ALL, balance=balance)
    for client in doubted:
        balancer.doubts.failed(client, WEB, NOW)
    offers = dict.fromkeys(able, WITH_WEB)
    told = standings(led, ClientsView(admitted=None, offers=offers), balancer.view(NOW))
    first = balancer.attempts(led, lambda client: client in able, NOW).next()

    assert first in {one.client for one in told if one.standing is Standing.SERVES} | {None}
    assert (first is None) == (not able)
