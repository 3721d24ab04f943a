"""The order in which clients are tried, and who is passed over for how long."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.gateway.balancing import ALL_PATIENCE, PATIENCE, Attempts, Balancer, Doubts
from reconcile.desired import RouteSpec
from schemas.names import Balance, ClientId, ServiceName
from tests.support.gateway_parts import route

A, B, C = ClientId("a"), ClientId("b"), ClientId("c")
ALL: Final = (A, B, C)
WEB: Final = ServiceName("web")
NOW: Final = 1_000.0


def balanced(balance: Balance) -> RouteSpec:
    return route(clients=ALL, balance=balance)


def order(
    balancer: Balancer,
    balance: Balance = Balance.PREFERENCE,
    *,
    able: Collection[ClientId] = ALL,
    now: float = NOW,
) -> str:
    """The clients in the order in which a visitor tries them: ``abc``."""
    attempts = balancer.attempts(balanced(balance), lambda client: client in able, now)
    return "".join(iter(attempts.next, None))


def visit(balancer: Balancer, balance: Balance, *, able: Collection[ClientId] = ALL) -> str:
    """Who is tried first by a visitor who stays."""
    first = order(balancer, balance, able=able)[0]
    balancer.came(balanced(balance).tunnel, ClientId(first))
    return first


# Order


@pytest.mark.parametrize("balance", Balance)
@given(able=st.sets(st.sampled_from(ALL)))
def test_everyone_who_is_able_is_tried_once_and_nobody_else(balance: Balance, able: set[ClientId]) -> None:
    assert sorted(order(Balancer(), balance, able=able)) == sorted(able)


def test_by_preference_the_first_that_is_able_serves_every_visitor() -> None:
    balancer = Balancer()

    assert [visit(balancer, Balance.PREFERENCE) for _ in range(3)] == ["a", "a", "a"]
    assert visit(balancer, Balance.PREFERENCE, able=(C, B)) == "b"
    assert visit(balancer, Balance.PREFERENCE) == "a"


def test_in_turn_every_client_gets_the_next_visitor_and_who_is_away_is_left_out() -> None:
    balancer = Balancer()

    assert [visit(balancer, Balance.ROUND_ROBIN) for _ in range(6)] == ["a", "b", "c", "a", "b", "c"]
    assert [visit(balancer, Balance.ROUND_ROBIN, able=(A, C)) for _ in range(4)] == ["a", "c", "a", "c"]
    assert visit(balancer, Balance.ROUND_ROBIN, able=(A, B)) == "a"
    assert order(balancer, Balance.ROUND_ROBIN) == "bca"


def test_each_tunnel_has_turns_of_its_own() -> None:
    balancer = Balancer()
    visit(balancer, Balance.ROUND_ROBIN)
    other = route("mail", clients=ALL, balance=Balance.ROUND_ROBIN)

    assert balancer.attempts(other, lambda client: True, NOW).next() == A


def test_a_client_that_is_no_longer_listed_leaves_the_turns_to_the_others() -> None:
    balancer = Balancer()
    visit(balancer, Balance.ROUND_ROBIN)
    fewer = route(clients=(B, C), balance=Balance.ROUND_ROBIN)

    assert balancer.attempts(fewer, lambda client: True, NOW).next() == B


def test_who_has_the_fewest_visitors_of_the_tunnel_gets_the_next() -> None:
    balancer, tunnel = Balancer(), balanced(Balance.LEAST_CONNECTIONS).tunnel
    assert [visit(balancer, Balance.LEAST_CONNECTIONS) for _ in range(4)] == ["a", "b", "c", "a"]
    for client in (B, C, C):
        balancer.came(tunnel, client)
    assert order(balancer, Balance.LEAST_CONNECTIONS) == "abc"
    balancer.left(tunnel, B)
    balancer.left(tunnel, B)

    assert balancer.view(NOW).visitors == {(tunnel, A): 2, (tunnel, C): 3}
    assert order(balancer, Balance.LEAST_CONNECTIONS) == "bac"


@pytest.mark.parametrize("balance", [Balance.ROUND_ROBIN, Balance.LEAST_CONNECTIONS])
@given(count=st.integers(1, 60))
def test_visitors_who_stay_are_shared_out_evenly(balance: Balance, count: int) -> None:
    balancer = Balancer()
    shares = Counter(visit(balancer, balance) for _ in range(count))

    assert max(shares.values()) - min(shares[client] for client in "abc") <= 1


def test_nothing_is_kept_of_visitors_who_have_left() -> None:
    balancer = Balancer()
    for _ in range(5):
        visit(balancer, Balance.LEAST_CONNECTIONS)
    for client in (A, A, B, B, C):
        balancer.left(balanced(Balance.LEAST_CONNECTIONS).tunnel, client)

    assert balancer._visitors == {}


def test_turns_are_remembered_of_so_many_tunnels_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.gateway.balancing._MOST_TURNS", 2)
    balancer = Balancer()
    for name in ("one", "two", "one", "three"):
        balancer.came(route(name).tunnel, A)

    assert list(balancer._latest) == ["one", "three"]


# Doubts


@pytest.mark.parametrize("balance", Balance)
def test_who_has_failed_is_tried_last_for_a_second(balance: Balance) -> None:
    balancer = Balancer()
    assert balancer.doubts.failed(A, WEB, NOW) == 1.0

    assert order(balancer, balance, now=NOW + 0.9) == "bca"
    assert order(balancer, balance, now=NOW + 1.0) == "abc"


def test_when_all_have_failed_all_are_tried_as_ever() -> None:
    balancer = Balancer()
    for client in ALL:
        balancer.doubts.failed(client, WEB, NOW)

    assert order(balancer) == "abc"


def test_another_service_of_the_client_is_not_doubted() -> None:
    balancer = Balancer()
    balancer.doubts.failed(A, ServiceName("mail"), NOW)

    assert order(balancer) == "abc"


def test_after_a_doubt_one_visitor_finds_out_for_all() -> None:
    balancer = Balancer()
    balancer.doubts.failed(A, WEB, NOW)
    later = NOW + 1

    assert [order(balancer, now=later) for _ in range(3)] == ["abc", "bca", "bca"]
    assert balancer.doubts.served(A, WEB)
    assert not balancer.doubts.served(A, WEB)
    assert [order(balancer, now=later) for _ in range(2)] == ["abc", "abc"]


def test_a_visitor_who_finds_nothing_out_does_not_keep_others_away_for_ever() -> None:
    balancer = Balancer()
    balancer.doubts.failed(A, WEB, NOW)
    assert order(balancer, now=NOW + 1) == "abc"

    assert order(balancer, now=NOW + 1 + PATIENCE) == "abc"


def test_each_doubt_is_twice_as_long_as_the_last_up_to_half_a_minute() -> None:
    doubts, now, seconds = Doubts(), NOW, []
    for _ in range(8):
        seconds.append(doubts.failed(A, WEB, now) or 0)
        now += seconds[-1]
        doubts.tried(A, WEB, now)

    assert seconds == [1, 2, 4, 8, 16, 30, 30, 30]
    assert doubts.failed(A, WEB, now + 1_000) == 1


def test_many_who_fail_at_once_are_one_failure() -> None:
    doubts = Doubts()

    assert [doubts.failed(A, WEB, NOW + 0.01 * number) for number in range(3)] == [1.0, None, None]
    assert doubts.seconds_left(A, WEB, NOW + 0.5) == 0.5


def test_what_was_known_of_a_client_is_forgotten_when_it_says_something_new() -> None:
    doubts = Doubts()
    doubts.failed(A, WEB, NOW)
    doubts.failed(A, ServiceName("mail"), NOW)
    doubts.failed(B, WEB, NOW)
    doubts.forget(A)

    assert doubts.view(NOW) == {(B, WEB): 1.0}
    assert doubts.view(NOW + 1) == {}


# One visitor


def test_a_client_has_a_few_seconds_and_the_last_one_all_that_are_left() -> None:
    attempts = Balancer().attempts(balanced(Balance.PREFERENCE), lambda client: client != C, NOW)

    assert (attempts.next(), attempts.patience(NOW)) == (A, PATIENCE)
    assert (attempts.next(), attempts.patience(NOW + 5)) == (B, PATIENCE)
    assert attempts.rest(NOW + 5 + PATIENCE) == ALL_PATIENCE - 5 - PATIENCE
    assert (attempts.next(), attempts.patience(NOW + 50), attempts.rest(NOW + 50)) == (None, 0, 0)


def test_a_client_that_is_slow_is_tried_once_more_behind_the_others() -> None:
    attempts = Attempts((A, B), ends_at=NOW)
    tried = []
    while (client := attempts.next()) is not None:
        tried.append(client)
        attempts.put_off(client)

    assert tried == [A, B, A, B]
