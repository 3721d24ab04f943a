"""What a name stands for is asked again and again, and kept while nobody answers."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import anyio
import pytest

from agent.client import resolving
from agent.client.resolving import HostAddresses, look_up
from tests.support.home import NOW, Dns
from tests.support.journal import Journal
from tests.support.peers import until

pytestmark = pytest.mark.anyio

GW = "gw.example"
ONE, TWO, THREE = "192.0.2.1", "192.0.2.2", "2001:db8::3"


class Followed:
    """A name that is followed."""

    def __init__(self, dns: Dns) -> None:
        self.dns = dns
        self.changes: list[tuple[str, ...]] = []
        self.name = HostAddresses(GW, self._changed, lambda: NOW, dns.look_up)

    async def look(self) -> None:
        """Have it look once more."""
        asked = len(self.dns.asked)
        self.name.ring()
        await until(lambda: len(self.dns.asked) > asked)

    def _changed(self) -> None:
        self.changes.append(self.name.addresses)


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has a reason to ask may do so now, and nobody asks without one."""
    monkeypatch.setattr(resolving, "_SHORTEST", 0.0)
    monkeypatch.setattr(resolving, "_INTERVAL", 1e6)
    monkeypatch.setattr(resolving, "backoff", lambda attempt, unit: 1e6)


@asynccontextmanager
async def followed(*addresses: str) -> AsyncIterator[Followed]:
    dns = Dns()
    dns.set(GW, *addresses)
    made = Followed(dns)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(made.name.follow)
        await until(lambda: bool(made.changes))
        yield made
        tasks.cancel_scope.cancel()


async def test_the_system_knows_addresses_and_says_so_in_its_order() -> None:
    assert await look_up("127.0.0.1") == ("127.0.0.1",)
    assert set(await look_up("localhost")) & {"127.0.0.1", "::1"}
    with pytest.raises(socket.gaierror):
        await look_up("no-such-host.invalid")


@pytest.mark.usefixtures("at_once")
async def test_an_address_that_was_there_keeps_its_place_and_new_ones_follow() -> None:
    async with followed(ONE, TWO) as gw:
        gw.dns.set(GW, THREE, TWO, ONE)
        await gw.look()
        await until(lambda: len(gw.changes) == 2)

        assert gw.name.addresses == (ONE, TWO, THREE)


@pytest.mark.usefixtures("at_once")
async def test_an_answer_that_says_the_same_changes_nothing() -> None:
    async with followed(ONE, TWO) as gw:
        gw.dns.set(GW, TWO, ONE)
        await gw.look()
        await gw.look()

        assert gw.changes == [(ONE, TWO)]


@pytest.mark.usefixtures("at_once")
async def test_an_address_that_is_missing_is_asked_for_again_before_it_is_gone(journal: Journal) -> None:
    async with followed(ONE, TWO) as gw:
        gw.dns.set(GW, TWO)
        await gw.look()
        await until(lambda: len(gw.changes) == 2)

        assert gw.dns.asked == [GW] * 3
        assert gw.name.addresses == (TWO,)
        assert journal.find("name_resolved")[-1]["addresses"] == [TWO]


@pytest.mark.usefixtures("at_once")
async def test_an_address_that_was_missing_once_stays() -> None:
    answers = iter([(ONE, TWO), (TWO,), (ONE, TWO)])
    asked = 0

    async def answer(host: str) -> tuple[str, ...]:
        nonlocal asked
        asked += 1
        return next(answers)

    changes: list[None] = []
    name = HostAddresses(GW, lambda: changes.append(None), lambda: NOW, answer)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(name.follow)
        await until(lambda: asked == 1)
        name.ring()
        await until(lambda: asked == 3)
        await anyio.lowlevel.checkpoint()
        assert name.addresses == (ONE, TWO)
        assert len(changes) == 1
        tasks.cancel_scope.cancel()


@pytest.mark.usefixtures("at_once")
async def test_a_name_that_does_not_resolve_any_more_keeps_what_it_had(journal: Journal) -> None:
    async with followed(ONE, TWO) as gw:
        gw.dns.set(GW)
        await gw.look()
        await until(lambda: bool(gw.name.trouble))
        await gw.look()
        await gw.look()

        assert gw.name.addresses == (ONE, TWO)
        assert gw.name.trouble == (
            "the name gw.example does not exist: correct it in client.gateways, or add it to the DNS"
        )
        assert len(journal.find("name_not_resolved", kept=2)) == 1

        gw.dns.set(GW, ONE, TWO)
        await gw.look()
        await until(lambda: not gw.name.trouble)


@pytest.mark.usefixtures("at_once")
async def test_a_name_server_that_fails_when_an_address_is_missing_is_left_in_peace(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers: list[tuple[str, ...]] = [(ONE, TWO), (TWO,)]
    asked = 0

    async def answer(host: str) -> tuple[str, ...]:
        nonlocal asked
        asked += 1
        if asked <= len(answers):
            return answers[asked - 1]
        raise socket.gaierror(socket.EAI_AGAIN, "later")

    name = HostAddresses(GW, lambda: None, lambda: NOW, answer)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(name.follow)
        await until(lambda: asked == 1)
        name.ring()
        await until(lambda: bool(name.trouble))
        for _ in range(20):
            await anyio.lowlevel.checkpoint()

        assert asked == 3
        assert name.addresses == (ONE, TWO)
        tasks.cancel_scope.cancel()


@pytest.mark.usefixtures("at_once")
async def test_a_name_that_never_resolved_says_why_and_when_it_is_tried_again() -> None:
    async with followed() as gw:
        await until(lambda: gw.name.next_attempt_at is not None)

        assert "does not exist" in gw.name.trouble
        assert gw.name.attempts == 1
        assert gw.name.next_attempt_at == NOW + timedelta(seconds=1e6)
        gw.dns.set(GW, ONE)
        await gw.look()
        await until(lambda: gw.name.addresses == (ONE,))
        again = gw.name
        assert (again.trouble, again.attempts) == ("", 0)
        assert not again.next_attempt_at


async def test_a_name_server_that_does_not_answer_is_told_from_a_name_that_is_wrong(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(resolving, "_TIMEOUT", 0.01)
    errors: list[Exception] = [
        socket.gaierror(socket.EAI_AGAIN, "x"),
        UnicodeError("label too long"),
        OSError(23, "Too many open files"),
        KeyError("a test"),
    ]
    said: list[str] = []

    async def answer(host: str) -> tuple[str, ...]:
        if errors:
            raise errors.pop(0)
        await anyio.sleep_forever()
        return ()

    monkeypatch.setattr(resolving, "_SHORTEST", 0.0)
    monkeypatch.setattr(resolving, "backoff", lambda attempt, unit: 0.0)
    async with anyio.create_task_group() as tasks:
        name = HostAddresses(GW, lambda: said.append(name.trouble), lambda: NOW, answer)
        tasks.start_soon(name.follow)
        await until(lambda: len(said) == 5)
        tasks.cancel_scope.cancel()

    assert "cannot be resolved now: check this machine's name server" in said[0]
    assert "does not exist" in said[1]
    assert said[2] == "the name gw.example cannot be resolved: Too many open files"
    assert said[3] == "a defect in Tidegate: KeyError; please report it"
    assert "was not resolved in time: check this machine's name server" in said[4]


async def test_a_name_is_asked_again_after_a_while_without_any_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(resolving, "_SHORTEST", 0.0)
    monkeypatch.setattr(resolving, "_INTERVAL", 0.0)
    async with followed(ONE) as gw:
        await until(lambda: len(gw.dns.asked) > 3)
