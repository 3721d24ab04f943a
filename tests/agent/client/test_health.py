"""A service that does not answer is not offered, and one that answers again is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import anyio
import pytest

from agent.client.health import HealthCheck
from agent.client.services import Services
from agent.client.target import DIAL_TIMEOUT
from agent.process.spawn import IsolatedTasks, spawn_nothing
from reconcile.desired import ServicesSpec
from schemas.names import ServiceEntry, ServiceName, parse_target
from schemas.status import ServiceHealth
from tests.support.journal import Journal
from tests.support.peers import blackhole, free_listen, service, until

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("nothing_left_open")]

WEB: Final = ServiceName("web")
SOON: Final = 0.02


def looked_after(target: str, interval: float | None = SOON) -> ServicesSpec:
    return ServicesSpec(targets=((WEB, ServiceEntry(parse_target(target), health_check=interval)),))


@asynccontextmanager
async def services() -> AsyncIterator[Services]:
    """With a place to run."""
    async with anyio.create_task_group() as tasks:
        yield Services(IsolatedTasks(tasks))
        tasks.cancel_scope.cancel()


def health_of(offered: Services) -> ServiceHealth:
    (status,) = offered.status()
    return status.health


async def test_a_service_that_goes_is_withdrawn_and_offered_again_when_it_is_back(journal: Journal) -> None:
    address = free_listen()
    told: list[tuple[str, ...]] = []
    async with services() as offered:
        with service(address) as web:
            await offered.update(looked_after(str(address)))
            offered.on_change = lambda: told.append(offered.names)
            await until(web.has_caller)
            assert (offered.names, health_of(offered)) == ((WEB,), ServiceHealth.ANSWERS)
        line = await journal.wait_for("service_withdrawn")
        assert (offered.names, health_of(offered)) == ((), ServiceHealth.FAILS)
        assert line["reason"] == (
            f"{address}: connection refused; start the service, or correct its address in the client's file"
        )
        assert offered.status()[0].last_error == line["reason"]
        with service(address):
            await journal.wait_for("service_offered", target=str(address))
            assert (offered.names, health_of(offered)) == ((WEB,), ServiceHealth.ANSWERS)
            assert offered.status()[0].last_error is None

    assert told == [(), (WEB,)]


async def test_a_unix_socket_is_looked_after_as_well(journal: Journal, tmp_path: Path) -> None:
    path = str(tmp_path / "web.sock")
    async with services() as offered:
        await offered.update(looked_after(f"unix:{path}"))
        line = await journal.wait_for("service_withdrawn")

    assert line["reason"].startswith(f"unix:{path}: there is no such socket")


async def test_one_failure_between_two_successes_changes_nothing(journal: Journal) -> None:
    told: list[str] = []

    class Owner:
        def answers(self, name: ServiceName) -> None:
            told.append("answers")

        def fails(self, name: ServiceName) -> None:
            told.append("fails")

        def tried(self, name: ServiceName, timeout: float, error: OSError | None) -> None:
            told.append("-" if error else "+")

    check = HealthCheck(WEB, parse_target("127.0.0.1:1"), 1, Owner())
    for answer in "-+-+--+-+":
        error = OSError() if answer == "-" else None
        check._owner.tried(WEB, 1, error)
        check._note(error)

    assert told == ["-", "+", "-", "+", "-", "-", "fails", "+", "answers", "-", "+"]


async def test_a_service_that_takes_too_long_does_not_answer(journal: Journal) -> None:
    async with services() as offered:
        with blackhole() as silent:
            await offered.update(looked_after(silent.target))
            line = await journal.wait_for("service_withdrawn")

    assert line["reason"].endswith("no answer within 0.02 s; check that the service is up and reachable")


async def test_a_dial_has_ten_seconds_at_most() -> None:
    check = HealthCheck(WEB, parse_target("127.0.0.1:1"), 600, Services())

    assert check._patience == DIAL_TIMEOUT == 10


async def test_a_service_without_a_health_check_is_offered_whatever_becomes_of_it() -> None:
    offered = Services(spawn_nothing)
    await offered.update(looked_after(str(free_listen()), None))

    assert (offered.names, health_of(offered)) == ((WEB,), ServiceHealth.UNCHECKED)


async def test_what_is_changed_is_looked_at_anew_and_what_is_not_goes_on(journal: Journal) -> None:
    async with services() as offered:
        spec = looked_after(str(free_listen()))
        await offered.update(spec)
        await journal.wait_for("service_withdrawn")
        await offered.update(spec)
        assert health_of(offered) is ServiceHealth.FAILS
        with service() as web:
            await offered.update(looked_after(web.target))
            assert offered.names == (WEB,)
            await until(web.has_caller)


async def test_what_is_no_longer_offered_is_no_longer_dialed(journal: Journal) -> None:
    async with anyio.create_task_group() as tasks:
        offered = Services(IsolatedTasks(tasks))
        with service() as web:
            await offered.update(looked_after(web.target))
            await until(web.has_caller)
            await offered.close()
    # The group has ended, and so has the task.
    assert offered.names == ()


async def test_a_check_leaves_no_connection_behind(journal: Journal) -> None:
    async with services() as offered:
        with service() as web:
            await offered.update(looked_after(web.target))
            caller = await web.accept()

            assert await caller.receive_all() == b""
