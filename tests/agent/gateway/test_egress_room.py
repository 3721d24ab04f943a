"""What is dialed for clients takes no more than its share, and a client that asks in vain has to wait."""

from __future__ import annotations

import pytest

from agent.gateway import egress_room
from agent.gateway.egress_room import MOST_IN_VAIN, Pace, Room
from schemas.names import ClientId

HOMELAB, OFFICE, ATTIC = ClientId("homelab"), ClientId("office"), ClientId("attic")


def test_one_client_has_a_quarter_of_the_files_and_all_of_them_a_half(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(egress_room, "descriptor_limit", lambda: 8)
    room = Room()
    for client in (HOMELAB, HOMELAB):
        assert room.has_room(client)
        room.take(client)
    assert not room.has_room(HOMELAB)
    with room.dialing(OFFICE):
        room.take(OFFICE)
        assert not room.has_room(ATTIC)
    assert room.has_room(ATTIC)

    room.give_back(HOMELAB)
    assert room.has_room(HOMELAB)
    room.give_back(HOMELAB)
    room.give_back(OFFICE)
    assert (room._all, room._used) == (0, {})


def test_where_nothing_limits_files_nothing_limits_this(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(egress_room, "descriptor_limit", lambda: None)
    room = Room()
    for _ in range(1_000):
        room.take(HOMELAB)
    assert room.has_room(HOMELAB)


def test_a_dial_that_is_given_up_gives_its_room_back() -> None:
    room = Room()
    with pytest.raises(OSError, match="refused"), room.dialing(HOMELAB):
        raise OSError("refused")
    assert (room._all, room._used) == (0, {})


def test_who_asks_in_vain_too_often_waits_for_the_next_second_and_nobody_else_does() -> None:
    now = 100.0
    pace = Pace(lambda: now)
    told = [pace.failed(HOMELAB) for _ in range(MOST_IN_VAIN + 1)]
    assert told.index(True) == MOST_IN_VAIN - 1
    assert told.count(True) == 1
    assert pace.is_too_fast(HOMELAB)
    assert not pace.is_too_fast(OFFICE)

    now = 101.0
    assert not pace.is_too_fast(HOMELAB)
    assert pace._in_vain.keys() <= {HOMELAB}
