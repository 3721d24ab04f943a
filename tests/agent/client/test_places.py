"""Of several places that lead to one gateway one is used, and one session at a time asks who is there."""

from __future__ import annotations

from agent.client.link_session import LinkSession
from agent.client.places import Hold, Place, Places
from agent.client.services import Services
from schemas.names import HostPort, ListenAddress
from tests.support.home import NOW, link_to

GW1, GW2 = HostPort("gw1.example", 9056), HostPort("gw2.example", 9056)
A, B, C = Place(GW1, "192.0.2.1"), Place(GW1, "2001:db8::1"), Place(GW2)
ORDER = [A, B, C]
SPEC = link_to(ListenAddress("192.0.2.1", 9056))


class World:
    """Places in the order A, B, C."""

    def __init__(self) -> None:
        self.changes = 0
        self.places = Places(lambda place: (ORDER.index(place), 0), self._changed)

    def up(self, place: Place, instance: str) -> LinkSession:
        session = LinkSession(SPEC, place, 1, Services(), lambda: NOW, lambda session: None)
        session.instance = instance
        self.places.up(session)
        return session

    def holds(self) -> list[Hold]:
        return [self.places.hold(place) for place in ORDER]

    def _changed(self) -> None:
        self.changes += 1


def test_nothing_is_held_back_before_anybody_has_answered() -> None:
    world = World()

    assert world.holds() == [Hold.NONE] * 3
    assert world.places.instance(A) is None


def test_places_of_different_gateways_do_not_matter_to_each_other() -> None:
    world = World()
    for place, instance in zip(ORDER, "abc", strict=True):
        world.up(place, instance)

    assert world.holds() == [Hold.NONE] * 3
    assert [world.places.instance(place) for place in ORDER] == ["a", "b", "c"]


def test_of_places_of_one_gateway_the_first_in_order_is_used_whichever_came_first() -> None:
    world = World()
    for place in (C, A, B):
        world.up(place, "a")

    assert world.holds() == [Hold.NONE, Hold.SPARE, Hold.SPARE]
    assert world.places.kept_by(C) == A


def test_a_spare_stays_one_without_a_session_until_the_other_has_none_left() -> None:
    world = World()
    one, two = world.up(A, "a"), world.up(A, "a")
    spare = world.up(B, "a")
    world.places.down(spare)
    assert world.places.hold(B) is Hold.SPARE

    world.places.down(one)
    assert world.places.hold(B) is Hold.SPARE
    world.places.down(two)
    assert world.places.hold(B) is Hold.NONE


def test_a_place_that_lost_its_sessions_is_the_spare_of_the_one_that_took_over() -> None:
    world = World()
    first = world.up(A, "a")
    world.places.down(first)
    world.up(B, "a")

    assert world.holds() == [Hold.SPARE, Hold.NONE, Hold.NONE]


def test_a_gateway_that_has_started_again_is_another_one() -> None:
    world = World()
    before = world.up(A, "a")
    world.places.down(before)
    world.up(B, "b")

    assert world.holds() == [Hold.NONE] * 3


def test_a_place_that_nobody_goes_to_any_more_is_nobodys_spare() -> None:
    world = World()
    world.up(A, "a")
    world.places.down(world.up(B, "a"))
    world.places.forget(B)

    assert world.places.hold(B) is Hold.NONE


def test_an_address_is_in_use_while_it_has_a_session_or_is_the_spare_of_one_that_has() -> None:
    world = World()

    def used() -> list[bool]:
        return [world.places.is_in_use(place.gateway.host, place.address) for place in (A, B)]

    assert used() == [False, False]
    first, second = world.up(A, "a"), world.up(B, "a")
    world.places.down(second)
    assert used() == [True, True]
    assert not world.places.is_in_use(GW2.host, A.address)

    world.places.down(first)
    assert used() == [False, False]


def test_one_session_asks_who_is_there_and_the_others_wait() -> None:
    world = World()
    with world.places.asking(A):
        assert world.holds() == [Hold.ASKED, Hold.NONE, Hold.NONE]
        changes = world.changes
    assert world.holds() == [Hold.NONE] * 3
    assert world.changes == changes + 1


def test_nobody_waits_where_it_is_known_who_is_there() -> None:
    world = World()
    with world.places.asking(A):
        session = world.up(A, "a")
        assert world.places.hold(A) is Hold.NONE
    with world.places.asking(A):
        assert world.places.hold(A) is Hold.NONE
        world.places.down(session)
        assert world.places.hold(A) is Hold.NONE


def test_what_is_up_is_told_in_the_order_of_the_file() -> None:
    world = World()
    c, a, other = world.up(C, "c"), world.up(A, "a"), world.up(A, "a")

    assert list(world.places.sessions()) == [[a, other], [c]]
    assert world.places.is_reached_beside(B)
    assert not world.places.is_reached_beside(A)


def test_a_session_that_is_over_is_down_once() -> None:
    world = World()
    session = world.up(A, "a")
    world.places.down(session)
    changes = world.changes

    world.places.down(session)

    assert world.changes == changes
