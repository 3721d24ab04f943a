"""Who was first."""

from __future__ import annotations

from agent.gateway.own_tunnels import Claim
from agent.gateway.precedence import Precedence

from .test_room import claim


def order(precedence: Precedence, *claims: Claim) -> list[str]:
    return [found.tunnel.name for found in precedence.sort(claims)]


def test_who_asked_first_comes_first() -> None:
    precedence = Precedence()
    a, b = claim("a", ":80"), claim("b", ":80", client="office")
    precedence.arrive(b)
    precedence.arrive(a)

    assert order(precedence, a, b) == ["office/b", "homelab/a"]


def test_who_has_a_port_comes_before_all_who_ask_for_one() -> None:
    precedence = Precedence()
    waiting, holding = claim("a", ":80"), claim("b", ":80", client="office")
    precedence.arrive(waiting)
    precedence.arrive(holding)
    precedence.hold([holding.tunnel.name])

    assert order(precedence, waiting, holding) == ["office/b", "homelab/a"]


def test_the_same_address_again_keeps_its_place_and_another_one_stands_in_line() -> None:
    precedence = Precedence()
    first, second = claim("a", ":80"), claim("b", ":90", client="office")
    for one in (first, second):
        precedence.arrive(one)
    precedence.hold([first.tunnel.name, second.tunnel.name])

    same = claim("a", "0.0.0.0:80", service="other")
    precedence.arrive(same)
    assert order(precedence, second, same) == ["homelab/a", "office/b"]

    moved = claim("a", ":90")
    precedence.arrive(moved)
    assert order(precedence, moved, second) == ["office/b", "homelab/a"]


def test_who_has_gone_begins_anew() -> None:
    precedence = Precedence()
    a, b = claim("a", ":80"), claim("b", ":80", client="office")
    precedence.arrive(a)
    precedence.arrive(b)
    precedence.hold([a.tunnel.name])
    precedence.leave(a)
    precedence.hold([a.tunnel.name, b.tunnel.name])
    precedence.arrive(a)

    assert order(precedence, a, b) == ["office/b", "homelab/a"]
