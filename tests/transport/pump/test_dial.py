"""An attempt to connect ends once, in one of four ways, and leaves nothing open."""

from __future__ import annotations

import anyio.lowlevel
import pytest

from tests.support.peers import blackhole
from tests.transport.world import PATIENCE, Listening, RecordingOwner, loop_turns, turn_until
from transport.pump.dial import Dial
from transport.pump.relay import Relay, RelayEnd
from transport.pump.sockets import dial_tcp

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("quiet")]


@pytest.fixture
def owner() -> RecordingOwner:
    return RecordingOwner()


@pytest.fixture
def outcomes() -> list[Relay | BaseException]:
    return []


async def test_what_answers_is_a_relay(
    listening: Listening, owner: RecordingOwner, outcomes: list[Relay | BaseException]
) -> None:
    Dial(dial_tcp(*listening.address, owner), PATIENCE, outcomes.append)
    await turn_until(lambda: outcomes)

    assert outcomes == owner.relays()
    owner.relays()[0].abort()
    await owner.until_all_ended()


async def test_nobody_who_answers_is_an_error(
    owner: RecordingOwner, outcomes: list[Relay | BaseException]
) -> None:
    nobody = Listening()
    address = nobody.address
    nobody.close()
    Dial(dial_tcp(*address, owner), PATIENCE, outcomes.append)
    await turn_until(lambda: outcomes)

    assert [type(outcome) for outcome in outcomes] == [ConnectionRefusedError]


async def test_who_does_not_answer_in_time_is_a_timeout_and_told_once(
    owner: RecordingOwner, outcomes: list[Relay | BaseException]
) -> None:
    with blackhole() as hole:
        host, _, port = hole.target.rpartition(":")
        Dial(dial_tcp(host, int(port), owner), 0.01, outcomes.append)
        await turn_until(lambda: outcomes)
        await loop_turns()

    assert [type(outcome) for outcome in outcomes] == [TimeoutError]
    assert owner.told == []


async def test_whatever_the_turn_in_which_it_is_given_up_nobody_is_told_and_nothing_stays_open(
    listening: Listening, owner: RecordingOwner, outcomes: list[Relay | BaseException]
) -> None:
    told_before_it_was_given_up = 0
    for turns in range(6):
        dial = Dial(dial_tcp(*listening.address, owner), PATIENCE, outcomes.append)
        await loop_turns(turns)
        told_before_it_was_given_up += len(outcomes)
        for outcome in outcomes:
            assert isinstance(outcome, Relay)
            outcome.abort()
        outcomes.clear()
        dial.give_up()
        await loop_turns()
        assert outcomes == []
    await owner.until_all_ended()
    assert set(owner.ends.values()) <= {RelayEnd.ABORTED, RelayEnd.SOCKET_LOST}


async def test_an_owner_that_says_so_has_its_relay_in_the_turn_in_which_it_is_connected(
    listening: Listening, owner: RecordingOwner, outcomes: list[Relay | BaseException]
) -> None:
    in_that_turn: list[bool] = []

    def connected(relay: Relay) -> None:
        dial.connected(relay)
        in_that_turn.append(outcomes == [relay])

    owner.on_connected = connected
    dial = Dial(dial_tcp(*listening.address, owner), PATIENCE, outcomes.append)
    await turn_until(lambda: in_that_turn)
    dial.give_up()  # too late: it belongs to who was told of it
    await loop_turns()

    assert in_that_turn == [True]
    assert outcomes == owner.relays()
    assert owner.ends == {}
    owner.relays()[0].abort()
    await owner.until_all_ended()


async def test_an_owner_that_says_so_too_late_is_told_nothing(
    listening: Listening, owner: RecordingOwner, outcomes: list[Relay | BaseException]
) -> None:
    def connected(relay: Relay) -> None:
        dial.give_up()
        dial.connected(relay)

    owner.on_connected = connected
    dial = Dial(dial_tcp(*listening.address, owner), PATIENCE, outcomes.append)
    await owner.until("connected")
    await owner.until_all_ended()

    assert outcomes == []


async def test_a_defect_is_told_as_it_is(outcomes: list[Relay | BaseException]) -> None:
    async def broken() -> Relay:
        await anyio.lowlevel.checkpoint()
        raise KeyError("a test")

    Dial(broken(), PATIENCE, outcomes.append)
    await turn_until(lambda: outcomes)

    assert [type(outcome) for outcome in outcomes] == [KeyError]
