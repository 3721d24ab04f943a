"""Work in a process of its own: real processes, which die in every way."""

from __future__ import annotations

import operator
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio import to_thread

from reconcile import apart
from reconcile.apart import LostError, NotStartedError, run_apart

from . import jobs

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    """One suffices: what waits for the process is a thread."""
    return "asyncio"


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    return path


async def test_the_result_is_what_the_function_returns_in_another_process() -> None:
    assert await run_apart(operator.add, 1, 2) == 3
    assert await run_apart(os.getpid) != os.getpid()


async def test_the_event_loop_turns_while_the_work_is_done(fifo: Path) -> None:
    turns = 0

    async def turn() -> None:
        nonlocal turns
        while turns < 1000:
            await anyio.lowlevel.checkpoint()
            turns += 1
        await to_thread.run_sync(fifo.write_text, "done")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(turn)
        assert await run_apart(Path.read_text, fifo) == "done"  # which comes after a thousand turns


@pytest.mark.parametrize(
    ("function", "arguments", "told"),
    [
        (signal.raise_signal, (signal.SIGKILL,), "ended by SIGKILL"),
        (os._exit, (3,), "ended with status 3"),
        (operator.truediv, (1, 0), "a defect in Tidegate: ZeroDivisionError: division by zero"),
        (jobs.run_out_of_memory, (), "more than 2 GiB of memory"),
    ],
)
async def test_work_that_ends_in_another_way_is_told_and_the_next_one_is_done(
    function: Callable[..., Any], arguments: tuple[Any, ...], told: str
) -> None:
    with pytest.raises(LostError, match=told):
        await run_apart(function, *arguments)

    assert await run_apart(operator.add, 1, 2) == 3


async def test_work_that_says_more_on_stderr_than_a_pipe_holds_is_done_all_the_same() -> None:
    assert await run_apart(jobs.complain, 1 << 20, limit=20.0) == "done"

    with pytest.raises(LostError, match=r"status 3 \(the last line\)"):
        await run_apart(jobs.complain, 1 << 20, 3, limit=20.0)


async def test_a_program_that_complains_before_it_listens_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apart, "_PROGRAM", f"import sys; sys.stderr.write('x' * {1 << 20}); {apart._PROGRAM}")

    assert await run_apart(len, b"x" * (1 << 20), limit=20.0) == 1 << 20


async def test_work_that_is_never_done_is_ended() -> None:
    with pytest.raises(LostError, match=r"not done within 0\.5 s"):
        await run_apart(time.sleep, 3600, limit=0.5)


async def test_whoever_is_cancelled_leaves_no_process_behind(fifo: Path) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run_apart, jobs.work_forever, fifo)
        with await to_thread.run_sync(fifo.open, "rb") as output:
            assert await to_thread.run_sync(output.read, 5) == b"begun"
            tasks.cancel_scope.cancel()
            with anyio.CancelScope(shield=True):
                assert await to_thread.run_sync(output.read) == b""


def test_the_process_ends_with_its_agent_also_if_that_is_killed(fifo: Path) -> None:
    program = (
        "import sys, anyio; from pathlib import Path; from reconcile.apart import run_apart; "
        "from tests.reconcile import jobs; anyio.run(run_apart, jobs.work_forever, Path(sys.argv[1]))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with (
        subprocess.Popen([sys.executable, "-c", program, str(fifo)], env=environment) as agent,
        fifo.open("rb") as output,
    ):
        assert output.read(5) == b"begun"
        agent.kill()
        assert output.read() == b""


async def test_where_no_process_can_be_started_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")

    with pytest.raises(NotStartedError, match="no process could be started"):
        await run_apart(os.getpid)


async def test_a_program_that_cannot_even_begin_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apart, "_PROGRAM", "import no_such_module")

    with pytest.raises(LostError, match="no_such_module"):
        await run_apart(os.getpid)
