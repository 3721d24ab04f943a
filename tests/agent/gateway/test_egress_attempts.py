"""Several addresses of one name: which of them is joined, and what is said when none answers."""

from __future__ import annotations

import errno
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_address

import anyio
import pytest

from agent.gateway import egress_attempts
from agent.gateway.egress_attempts import MOST, dial_first
from agent.gateway.special_addresses import Address
from tests.support.peers import Service, service, until
from tests.transport.world import RecordingOwner
from transport.pump.relay import Relay
from transport.pump.sockets import dial_tcp

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("nothing_left_open")]

FIRST, SECOND = ip_address("192.0.2.1"), ip_address("192.0.2.2")


class World:
    """What there is behind each address: a service, an error, or silence."""

    def __init__(self) -> None:
        self.owner = RecordingOwner()
        self.behind: dict[Address, Service | int | None] = {}
        self.dialed: list[Address] = []
        self.given_up: list[Address] = []

    async def dial(self, address: Address) -> Relay:
        self.dialed.append(address)
        match self.behind.get(address, errno.EHOSTUNREACH):
            case int() as number:
                raise OSError(number, "no")
            case None:
                try:
                    await anyio.sleep_forever()
                finally:
                    self.given_up.append(address)
            case Service(target=target):
                host, _, port = target.partition(":")
                return await dial_tcp(host, int(port), self.owner)
        raise AssertionError


@asynccontextmanager
async def world() -> AsyncIterator[World]:
    made = World()
    yield made
    for relay in made.owner.relays():
        relay.abort()
    await made.owner.until_all_ended()


async def test_the_first_that_answers_is_taken_and_the_others_are_not_tried() -> None:
    with service() as one:
        async with world() as here:
            here.behind = {FIRST: one, SECOND: one}
            assert await dial_first([FIRST, SECOND], here.dial) in here.owner.relays()
            assert here.dialed == [FIRST]


async def test_one_that_fails_makes_room_for_the_next_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(egress_attempts, "NEXT_AFTER", 600.0)
    with service() as one:
        async with world() as here:
            here.behind = {FIRST: errno.ECONNREFUSED, SECOND: one}
            assert await dial_first([FIRST, SECOND], here.dial) in here.owner.relays()
            assert here.dialed == [FIRST, SECOND]


async def test_one_that_is_silent_is_given_up_when_the_next_one_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(egress_attempts, "NEXT_AFTER", 0.01)
    with service() as one:
        async with world() as here:
            here.behind = {FIRST: None, SECOND: one}
            assert await dial_first([FIRST, SECOND], here.dial) in here.owner.relays()
            assert here.given_up == [FIRST]


@pytest.mark.parametrize(
    ("errors", "told"),
    [
        ([errno.ECONNREFUSED, errno.EHOSTUNREACH], errno.ECONNREFUSED),
        ([errno.ENETUNREACH, errno.ECONNREFUSED], errno.ECONNREFUSED),
        ([errno.ENETUNREACH, errno.ETIMEDOUT], errno.ETIMEDOUT),
        ([errno.EMFILE, errno.ENETUNREACH], errno.ENETUNREACH),
        ([errno.EMFILE, errno.EMFILE], errno.EMFILE),
    ],
)
async def test_of_several_errors_the_one_that_says_most_is_told(errors: list[int], told: int) -> None:
    async with world() as here:
        here.behind = dict(zip([FIRST, SECOND], errors, strict=True))
        with pytest.raises(OSError, match="no") as caught:
            await dial_first([FIRST, SECOND], here.dial)
    assert caught.value.errno == told


async def test_the_families_take_turns() -> None:
    """Where there is no way to one of them, the other is not kept waiting by all its addresses."""
    six = [ip_address(f"2001:db8::{number}") for number in range(1, 9)]
    async with world() as here:
        with pytest.raises(OSError, match="no"):
            await dial_first([*six, FIRST, SECOND], here.dial)
        assert here.dialed == [six[0], FIRST, six[1], SECOND, *six[2:6]]


async def test_of_a_name_with_a_thousand_addresses_only_some_are_tried() -> None:
    async with world() as here:
        with pytest.raises(OSError, match="no"):
            await dial_first([ip_address(0xC0000200 + number) for number in range(1_000)], here.dial)
        assert len(here.dialed) == MOST


async def test_whoever_gives_up_gives_all_of_them_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(egress_attempts, "NEXT_AFTER", 0.0)
    async with world() as here:
        here.behind = {FIRST: None, SECOND: None}
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(dial_first, [FIRST, SECOND], here.dial)
            await until(lambda: len(here.dialed) == 2)
            tasks.cancel_scope.cancel()
        assert sorted(here.given_up, key=int) == [FIRST, SECOND]
