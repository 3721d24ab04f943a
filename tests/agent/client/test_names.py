"""A name is looked up while somebody goes by its addresses, once for all."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest

from agent.client import resolving
from agent.client.names import Names
from agent.client.places import Place
from agent.process.spawn import IsolatedTasks
from schemas.names import HostPort
from tests.support.home import NOW, Dns
from tests.support.peers import until

pytestmark = pytest.mark.anyio

GW = "gw.example"
GATEWAY = HostPort(GW, 9056)


@asynccontextmanager
async def names(dns: Dns) -> AsyncIterator[Names]:
    async with anyio.create_task_group() as tasks:
        yield Names(IsolatedTasks(tasks), lambda: NOW, dns.look_up, lambda host, address: False)
        tasks.cancel_scope.cancel()


async def test_all_followers_of_a_name_are_told_and_it_is_asked_once() -> None:
    dns, told = Dns(gw_example=["192.0.2.1"]), []
    async with names(dns) as known:
        one = known.follow(GW, "one", lambda: told.append("one"))
        two = known.follow(GW, "two", lambda: told.append("two"))
        await until(lambda: len(told) == 2)

        assert one is two
        assert one.addresses == ("192.0.2.1",)
        assert dns.asked == [GW]
        assert sorted(told) == ["one", "two"]


async def test_a_name_that_nobody_follows_any_more_is_forgotten_and_asked_anew() -> None:
    dns, told = Dns(gw_example=["192.0.2.1"]), []
    async with names(dns) as known:
        for follower in ("one", "two"):
            known.follow(GW, follower, lambda: told.append(1))
        await until(lambda: len(told) == 2)
        known.unfollow(GW, "one")
        assert known.follow(GW, "two", lambda: told.append(2)).addresses
        known.unfollow(GW, "two")
        known.ring(GW)  # says nothing to anybody

        assert known.follow(GW, "three", lambda: told.append(3)).addresses == ()
        await until(lambda: told == [1, 1, 3])


async def test_addresses_have_an_order_and_what_is_none_comes_last() -> None:
    dns, told = Dns(gw_example=["192.0.2.9", "192.0.2.1"]), []
    async with names(dns) as known:
        known.follow(GW, "one", lambda: told.append(1))
        await until(lambda: bool(told))

        ranks = [
            known.rank(Place(GATEWAY, address)) for address in ("192.0.2.9", "192.0.2.1", "192.0.2.5", "")
        ]
        assert ranks == [0, 1, 2, 2]
        assert known.rank(Place(HostPort("192.0.2.7", 9056))) == 0


async def test_a_name_that_does_not_resolve_any_more_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolving, "_SHORTEST", 0.0)
    dns, told = Dns(gw_example=["192.0.2.1"]), []
    async with names(dns) as known:
        known.follow(GW, "one", lambda: told.append(1))
        await until(lambda: bool(told))
        assert not known.warnings
        dns.set(GW)
        known.ring(GW)

        await until(lambda: bool(known.warnings))
        (warning,) = known.warnings
        assert warning.endswith("; the addresses that it had are still used")
