"""Tasks that fail alone."""

from __future__ import annotations

import anyio
import pytest

from agent.process.spawn import IsolatedTasks, spawn_nothing
from tests.support.journal import Journal

pytestmark = pytest.mark.anyio


async def fail(error: Exception) -> None:
    raise error


async def test_a_task_that_fails_ends_no_other_and_is_shown_with_its_traceback(journal: Journal) -> None:
    error = KeyError("x")
    went_on = anyio.Event()

    async with anyio.create_task_group() as tasks:
        spawn = IsolatedTasks(tasks)
        spawn(fail, error)
        await journal.wait_for("task_failed")
        spawn(anyio.sleep, 0)
        went_on.set()

    assert went_on.is_set()
    assert journal.lines == [{"event": "task_failed", "level": "error", "task": "fail", "exc_info": error}]


async def test_cancelling_the_group_cancels_the_tasks_without_a_word(journal: Journal) -> None:
    async with anyio.create_task_group() as tasks:
        IsolatedTasks(tasks)(anyio.sleep_forever)
        await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()

    assert journal.lines == []


async def test_where_nothing_is_to_be_started_nothing_is() -> None:
    async def task() -> None:
        """Is never called."""

    with pytest.raises(RuntimeError, match="has nowhere to run"):
        spawn_nothing(task)
