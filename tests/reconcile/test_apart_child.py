"""The process that does work apart: it is modest, and says what went wrong."""

from __future__ import annotations

import gc
import os
import pickle
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from reconcile.apart import run_apart
from reconcile.apart_child import LENGTH, MEMORY_LIMIT, Failure, Request

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    """One suffices: what waits for the process is a thread."""
    return "asyncio"


def answer(request: bytes) -> object:
    """What a process answers to those bytes on its stdin, which stays open."""
    program = "from reconcile.apart_child import main; main()"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(len(request).to_bytes(LENGTH, "big") + request)
        process.stdin.flush()
        said = process.stdout.read()
    return pickle.loads(said)


def test_a_request_is_answered_while_the_agent_still_holds_its_end() -> None:
    assert answer(pickle.dumps(Request(function=len, arguments=("abc",)))) == 3


def test_a_request_that_makes_no_sense_is_answered_with_the_reason() -> None:
    said = answer(b"no request")

    assert isinstance(said, Failure)
    assert said.message.startswith("a defect in Tidegate: ")


async def test_others_come_first_and_its_memory_has_a_limit() -> None:
    before = os.nice(0)

    assert await run_apart(os.nice, 0) > before
    assert await run_apart(resource.getrlimit, resource.RLIMIT_AS) == (MEMORY_LIMIT, MEMORY_LIMIT)
    assert await run_apart(gc.isenabled) is False


async def test_the_session_is_that_of_the_agent_and_the_process_group_is_not() -> None:
    assert await run_apart(os.getsid, 0) == os.getsid(0)
    assert await run_apart(os.getpgrp) != os.getpgrp()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has an OOM killer to tell")
async def test_the_kernel_takes_it_rather_than_the_agent_when_memory_is_short() -> None:
    assert await run_apart(Path.read_text, Path("/proc/self/oom_score_adj")) == "1000\n"
