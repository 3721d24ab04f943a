"""A task as a resource."""

from __future__ import annotations

import anyio
import pytest

from agent.process.running import Running
from reconcile.actuator import ActionError

pytestmark = pytest.mark.anyio


def make() -> tuple[Running, list[ActionError]]:
    deaths: list[ActionError] = []
    return Running(deaths.append), deaths


async def fail(error: BaseException) -> None:
    raise error


async def test_what_is_stopped_has_let_go_of_everything_and_did_not_die() -> None:
    running, deaths = make()
    held = True

    async def work() -> None:
        nonlocal held
        try:
            await anyio.sleep_forever()
        finally:
            held = False

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(running.run, work)
        await anyio.wait_all_tasks_blocked()
        await running.stop()
        assert not held
        await running.stop()  # a second time is harmless

    assert deaths == []


async def test_what_is_stopped_before_it_has_begun_never_begins() -> None:
    running, deaths = make()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(running.run, anyio.sleep_forever)
        await running.stop()

    assert deaths == []


async def test_an_error_is_told_in_one_line_and_raised() -> None:
    running, deaths = make()

    with pytest.raises(OSError, match="Invalid"):
        await running.run(fail, OSError(22, "Invalid\nargument"))

    assert [str(death) for death in deaths] == ["it stopped working (OSError: [Errno 22] Invalid argument)"]
    await running.stop()


async def test_work_that_ends_without_an_error_has_died_too() -> None:
    running, deaths = make()

    await running.run(anyio.sleep, 0)

    assert [str(death) for death in deaths] == ["it stopped working (it ended)"]


async def test_the_end_of_the_whole_program_is_no_death() -> None:
    running, deaths = make()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(running.run, anyio.sleep_forever)
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()

    assert deaths == []
