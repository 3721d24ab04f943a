"""A process that is ready before there is work for it: forked from real programs, each with one thread."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest

from reconcile.prepared import prepare

BEGINNING = """
import anyio, os, signal, sys, threading, time
from reconcile.apart import LostError
from reconcile.prepared import prepare

def children():
    try:
        return os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return "none"
"""


def start(program: str) -> subprocess.Popen[str]:
    """A program that begins as above, and whose stdout its children have as well."""
    return subprocess.Popen(
        [sys.executable, "-c", BEGINNING + program],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )


def said(program: str) -> list[str]:
    with start(program) as process:
        lines = process.communicate()[0].splitlines()
    assert process.returncode == 0
    return lines


def test_what_it_loads_to_get_ready_is_loaded_there_alone() -> None:
    assert said(
        "prepared = prepare(lambda: __import__('colorsys'))\n"
        "there = anyio.run(prepared.run, eval, \"'colorsys' in __import__('sys').modules\")\n"
        "print(there, 'colorsys' in sys.modules, children())\n"
    ) == ["True False none"]


@pytest.mark.parametrize(
    ("function", "arguments", "told"),
    [
        ("os._exit", "0", "ended without an answer"),
        ("os.kill", "0, signal.SIGKILL", "ended without an answer"),  # its own process group
        ("divmod", "1, 0", "a defect in Tidegate: ZeroDivisionError"),
    ],
)
def test_work_without_a_result_is_told_of_and_no_process_is_left(
    function: str, arguments: str, told: str
) -> None:
    (line,) = said(
        "prepared = prepare(lambda: None)\n"
        "try:\n"
        f"    anyio.run(prepared.run, {function}, {arguments})\n"
        "except LostError as error:\n"
        "    print(children(), error)\n"
    )

    assert line.startswith("none ")
    assert told in line


def test_one_that_could_not_get_ready_does_no_work() -> None:
    assert said(
        "prepared = prepare(lambda: os._exit(3))\n"
        "try:\n"
        "    anyio.run(prepared.run, len, 'abc')\n"
        "except LostError:\n"
        "    print(children())\n"
    ) == ["none"]


def test_whoever_is_cancelled_leaves_no_process_behind() -> None:
    assert said(
        "prepared = prepare(lambda: None)\n"
        "async def main():\n"
        "    with anyio.move_on_after(0):\n"
        "        await prepared.run(time.sleep, 3600)\n"
        "anyio.run(main)\n"
        "prepared.end()\n"
        "print(children())\n"
    ) == ["none"]


@pytest.mark.parametrize("last", ["time.sleep(3600)", "anyio.run(prepared.run, time.sleep, 3600)"])
def test_it_ends_with_its_agent_also_if_that_is_killed(last: str) -> None:
    """Idle or at work: what it has of the agent's, here stdout, is let go of."""
    with start(f"prepared = prepare(lambda: print('ready', flush=True))\n{last}\n") as agent:
        assert agent.stdout is not None
        assert agent.stdout.readline() == "ready\n"
        agent.kill()
        assert agent.stdout.read() == ""


def test_where_there_are_several_threads_there_is_none() -> None:
    go_on = threading.Event()
    thread = threading.Thread(target=go_on.wait)
    thread.start()
    try:
        assert prepare(lambda: None) is None
    finally:
        go_on.set()
        thread.join()


def test_where_the_numbers_of_children_are_reused_at_once_there_is_none() -> None:
    """It is inherited from whoever starts an agent."""
    assert said(
        "signal.signal(signal.SIGCHLD, signal.SIG_IGN)\nprint(prepare(lambda: None), children())\n"
    ) == ["None none"]


def test_where_no_more_files_can_be_opened_there_is_none() -> None:
    assert said(
        "import resource\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))\n"
        "print(prepare(lambda: None), children())\n"
    ) == ["None none"]
