"""What the service manager hears, in which order, and what it never hears."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from agent.process import service_manager
from agent.process.service_manager import ServiceManager
from agent.process.systemd import Notifier
from schemas.errors import TidegateError

pytestmark = pytest.mark.anyio


class Agent:
    """An agent whose reload takes as long as the test wants."""

    drain_limit = 30.0

    def __init__(self) -> None:
        self.text = "3 tunnels"
        self.reloads = 0
        self.may_finish = anyio.Event()
        self.has_stopped = False
        self.lacks_files = False

    async def catch_up(self) -> None:
        """There is nothing to make ready."""

    def summary(self) -> str:
        return self.text

    async def reload_and_report(self) -> None:
        self.reloads += 1
        await self.may_finish.wait()
        if self.has_stopped:
            raise TidegateError("the agent is stopping")
        if self.lacks_files:
            raise OSError(24, "Too many open files")


class Ear:
    """The end of the service manager."""

    def __init__(self, bound: socket.socket) -> None:
        self._bound = bound

    async def hear(self) -> list[str]:
        with anyio.fail_after(10):
            await anyio.wait_readable(self._bound)
            return self._bound.recv(4096).decode().split("\n")

    @property
    def is_quiet(self) -> bool:
        try:
            self._bound.recv(4096, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        return False


@pytest.fixture
def ear(tmp_path: Path) -> Iterator[Ear]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bound:
        bound.bind(str(tmp_path / "notify"))
        bound.setblocking(False)
        yield Ear(bound)


@pytest.fixture
def notifier(ear: Ear, tmp_path: Path) -> Iterator[Notifier]:
    made = Notifier(str(tmp_path / "notify"))
    yield made
    made.close()


async def test_an_agent_that_has_started_is_ready_and_says_how_it_is(ear: Ear, notifier: Notifier) -> None:
    manager = ServiceManager(notifier)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(manager.keep_told, Agent())

        assert await ear.hear() == ["READY=1", "STATUS=3 tunnels"]
        tasks.cancel_scope.cancel()


async def test_a_status_is_told_when_it_has_changed_and_not_before(
    ear: Ear, notifier: Notifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service_manager, "_STATUS_INTERVAL", 0.0)
    agent = Agent()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ServiceManager(notifier).keep_told, agent)
        await ear.hear()
        for _ in range(20):
            await anyio.lowlevel.checkpoint()
        assert ear.is_quiet

        agent.text = "4 tunnels"
        assert await ear.hear() == ["STATUS=4 tunnels"]
        tasks.cancel_scope.cancel()


async def test_a_reload_is_announced_and_over_when_the_state_has_been_looked_at(
    ear: Ear, notifier: Notifier
) -> None:
    manager, agent = ServiceManager(notifier), Agent()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(manager.keep_told, agent)
        await ear.hear()
        before = time.monotonic_ns() // 1_000

        manager.reloads()

        reloading, since, _ = await ear.hear()
        assert reloading == "RELOADING=1"
        assert before <= int(since.removeprefix("MONOTONIC_USEC=")) <= time.monotonic_ns() // 1_000
        await anyio.wait_all_tasks_blocked()
        assert ear.is_quiet
        manager.reloads()  # another one, which the first may be too early for
        agent.may_finish.set()
        assert (await ear.hear())[0] == "READY=1"
        assert (await ear.hear())[0] == "RELOADING=1"
        assert (await ear.hear())[0] == "READY=1"
        assert agent.reloads == 2
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize("has_stopped", [True, False], ids=["it fails", "it ends well"])
async def test_an_agent_that_stops_while_it_reloads_is_not_ready_again(
    ear: Ear, notifier: Notifier, has_stopped: bool
) -> None:
    manager, agent = ServiceManager(notifier), Agent()
    agent.has_stopped = has_stopped
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(manager.keep_told, agent)
        await ear.hear()
        manager.reloads()
        await ear.hear()

        manager.stops(agent)
        manager.stops(agent)
        agent.may_finish.set()
        await anyio.wait_all_tasks_blocked()

        # 30 s for the drain, and some for what comes behind it.
        assert await ear.hear() == ["STOPPING=1", "EXTEND_TIMEOUT_USEC=45000000"]
        assert ear.is_quiet
        tasks.cancel_scope.cancel()


async def test_an_agent_that_can_open_no_file_to_report_from_goes_on(ear: Ear, notifier: Notifier) -> None:
    manager, agent = ServiceManager(notifier), Agent()
    agent.lacks_files = True
    agent.may_finish.set()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(manager.keep_told, agent)
        await ear.hear()
        for _ in range(2):
            manager.reloads()
            assert (await ear.hear())[0] == "RELOADING=1"
            assert (await ear.hear())[0] == "READY=1"
        tasks.cancel_scope.cancel()


async def test_an_agent_that_is_stopped_before_it_has_started_says_so(ear: Ear, notifier: Notifier) -> None:
    ServiceManager(notifier).stops(None)

    assert (await ear.hear())[0] == "STOPPING=1"


async def test_a_watchdog_is_fed_again_and_again(ear: Ear, notifier: Notifier) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ServiceManager(notifier, watchdog=0.01).keep_told, Agent())
        assert (await ear.hear())[0] == "READY=1"

        assert [await ear.hear() for _ in range(3)] == [["WATCHDOG=1"]] * 3
        tasks.cancel_scope.cancel()


async def test_without_a_service_manager_nothing_is_done() -> None:
    with anyio.fail_after(5):
        await ServiceManager(Notifier(), watchdog=0.01).keep_told(Agent())
