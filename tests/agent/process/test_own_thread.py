"""Work in a thread of its own gives what it gives, and the end of the program does not wait for it."""

from __future__ import annotations

import subprocess
import sys
import threading

import anyio
import pytest

from agent.process.own_thread import in_own_thread
from tests.support.site import PATIENCE

pytestmark = pytest.mark.anyio


async def test_what_the_work_returns_is_returned_and_what_it_raises_is_raised() -> None:
    def fail() -> int:
        raise OSError(5, "a test")

    assert await in_own_thread(lambda: threading.current_thread().daemon)
    with pytest.raises(OSError, match="a test"):
        await in_own_thread(fail)


async def test_who_is_cancelled_leaves_it_alone() -> None:
    may_end = threading.Event()
    with anyio.move_on_after(0):
        await in_own_thread(may_end.wait)
    may_end.set()


async def test_without_a_thread_this_is_an_os_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", none_left)
    with pytest.raises(OSError, match="can't start new thread"):
        await in_own_thread(lambda: 1)


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_the_end_of_the_program_does_not_wait_for_it(loop: str) -> None:
    program = f"""
import threading, anyio
from agent.process.own_thread import in_own_thread
async def main():
    with anyio.move_on_after(0.01):
        await in_own_thread(threading.Event().wait)
anyio.run(main, backend_options={{"use_uvloop": {loop == "uvloop"}}})
print("over")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=PATIENCE)

    assert (done.stdout, done.stderr) == ("over\n", "")
