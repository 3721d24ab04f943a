"""A state of many tunnels, from the file to the actuator: what a change of one line comes to."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import anyio
import pytest

from reconcile import state_reader
from reconcile.loop import Reconciler
from reconcile.source import FileSource
from reconcile.state_reader import SMALL
from schemas.roles import Role
from tests.bench.many_tunnels import Ports, entries, head
from tests.support.fake_actuator import FakeActuator

from . import jobs

pytestmark = pytest.mark.anyio

PORTS = Ports(host="127.0.0.1", first=2000, count=20, names=20)
TEXTS = entries(PORTS)


class Place:
    """A file, and a loop that keeps it in force."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.actuator = FakeActuator()
        self.loop = Reconciler(
            FileSource(path, role=Role.GATEWAY),
            self.actuator,
            random=lambda: 0.0,
            clock=lambda: datetime(2026, 5, 4, tzinfo=UTC),
            report=lambda turn: None,
        )

    def save(self, *texts: str) -> None:
        content = head("127.0.0.1:9056", "127.0.0.1:1000") + "".join(texts)
        assert len(content) > SMALL  # so that it is read in a process of its own
        fresh = self._path.with_suffix(".new")
        fresh.write_text(content)
        fresh.replace(self._path)

    async def turn(self) -> list[str]:
        """What the next turn does."""
        self.actuator.performed.clear()
        await self.loop.wait_turn(self.loop.ring())
        return [str(action) for action in self.actuator.performed]


@asynccontextmanager
async def place(directory: Path) -> AsyncIterator[Place]:
    made = Place(directory / "gateway.yaml")
    made.save(*TEXTS)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(made.loop.run)
        await made.loop.wait_turn(1)
        yield made
        tasks.cancel_scope.cancel()


async def test_one_changed_line_is_one_update_and_nothing_else(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        assert len(here.actuator.world) == 1 + 1 + 1 + PORTS.count  # admission, control, the visited port
        here.save(*TEXTS[:150], TEXTS[150].replace("service: web", "service: mail"), *TEXTS[151:])

        assert await here.turn() == ["~ listener 127.0.0.1:2007"]
        assert await here.turn() == []
        assert here.loop.status.observed_generation == 2


async def test_ports_that_are_added_are_opened_and_the_others_not_touched(tmp_path: Path) -> None:
    added = Ports(host="127.0.0.1", first=3000, count=3)
    async with place(tmp_path) as here:
        here.save(*TEXTS, *entries(added))

        assert await here.turn() == [f"+ listener {address}" for address in added.addresses]


async def test_a_reader_that_is_killed_changes_nothing_and_is_a_problem_until_the_next_reading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with place(tmp_path) as here:
        here.save(*TEXTS[1:])
        with monkeypatch.context() as patch:
            patch.setattr(state_reader, "understand", jobs.die)
            assert await here.turn() == []
            (problem,) = here.loop.status.problems
            assert "the process that did it was ended by SIGKILL; it is read again soon" in str(problem)
            assert here.loop.status.generation == 1

        assert await here.turn() == ["~ listener 127.0.0.1:2000"]
        assert here.loop.status.problems == ()
