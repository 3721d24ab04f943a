"""A change walks through the whole room: file, watch, source, plan, execute, status."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import anyio
import pytest

from reconcile.desired import Kind
from reconcile.loop import Reconciler, ReconcileStatus
from reconcile.observed import Phase
from reconcile.source import FileSource
from reconcile.watch import watch
from schemas.roles import Role
from tests.support.fake_actuator import FakeActuator

pytestmark = pytest.mark.anyio

FOREVER = 3600.0


class Gateway:
    """A gateway without sockets: everything real except its actuator."""

    def __init__(self, path: Path) -> None:
        self.actuator = FakeActuator()
        self._turned = anyio.Event()
        self._source = FileSource(path, role=Role.GATEWAY)
        self._reconciler = Reconciler(
            self._source,
            self.actuator,
            resync=FOREVER,
            random=lambda: 0.5,
            clock=lambda: datetime(2026, 3, 1, tzinfo=UTC),
            report=lambda turn: self._turned.set(),
        )

    @property
    def status(self) -> ReconcileStatus:
        return self._reconciler.status

    async def run(self) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._reconciler.run)
            tasks.start_soon(lambda: watch(self._source, self._reconciler.ring, poll=FOREVER, look=0.05))

    async def until_ports(self, *ports: int) -> None:
        """Until exactly those ports are open and the whole generation is in force."""
        while self._ports() != set(ports) or self.status.observed_generation != self.status.generation:
            await self._turn()

    async def until_problem(self, words: str) -> None:
        while not any(words in str(problem) for problem in self.status.problems):
            await self._turn()

    async def _turn(self) -> None:
        self._turned = anyio.Event()
        await self._turned.wait()

    def _ports(self) -> set[int]:
        return {
            int(key.name.rpartition(":")[2])
            for key, seen in self.actuator.world.items()
            if key.kind is Kind.LISTENER and seen.phase is Phase.OPEN
        }


@asynccontextmanager
async def running(path: Path) -> AsyncIterator[Gateway]:
    gateway = Gateway(path)
    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(gateway.run)
            yield gateway
            tasks.cancel_scope.cancel()


def save(path: Path, *ports: int, more: str = "") -> None:
    """As editors do: a new file is renamed over the old one."""
    tunnels = "".join(
        f'  - {{name: t{port}, listen: "127.0.0.1:{port}", client: homelab, service: web}}\n'
        for port in ports
    )
    text = (
        "tidegate: 1\ngateway:\n  tls: {cert: gw.crt, key: gw.key, client_ca: ca.crt}\n"
        f"tunnels:\n{tunnels}{more}"
    )
    temporary = path.with_name(f"{path.name}~")
    temporary.write_text(text)
    temporary.replace(path)


async def test_saving_the_file_opens_one_port_and_closes_another_and_leaves_the_rest_alone(
    tmp_path: Path,
) -> None:
    path = tmp_path / "gw.yaml"
    save(path, 25, 80)
    async with running(path) as gateway:
        await gateway.until_ports(25, 80)
        gateway.actuator.performed.clear()
        save(path, 80, 443)
        await gateway.until_ports(80, 443)

    assert [str(action) for action in gateway.actuator.performed] == [
        "- listener 127.0.0.1:25",
        "+ listener 127.0.0.1:443",
    ]
    assert gateway.status.generation == 2


async def test_a_broken_file_changes_nothing_and_the_next_good_one_does(tmp_path: Path) -> None:
    path = tmp_path / "gw.yaml"
    save(path, 25)
    async with running(path) as gateway:
        await gateway.until_ports(25)
        save(path, 443, more="colour: green\n")
        await gateway.until_problem("gw.yaml:6:1: ")
        assert gateway._ports() == {25}
        save(path, 443)
        await gateway.until_ports(443)

    assert gateway.status.problems == ()


async def test_a_file_that_vanishes_with_its_directory_keeps_its_ports_open_until_it_returns(
    tmp_path: Path,
) -> None:
    directory = tmp_path / "etc"
    directory.mkdir()
    path = directory / "gw.yaml"
    save(path, 25)
    async with running(path) as gateway:
        await gateway.until_ports(25)
        directory.rename(tmp_path / "away")
        await gateway.until_problem("no such file")
        assert gateway._ports() == {25}
        directory.mkdir()
        save(path, 443)
        await gateway.until_ports(443)
