"""Agents as programs of their own, for tests that type commands."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from agent.cli import main

TIDEGATE: Final = (sys.executable, "-m", "agent")
ROOT: Final = Path(__file__).parents[2]


def environment(**changes: str) -> dict[str, str]:
    """That of a program which finds this source tree, and nothing about terminals."""
    unwanted = {
        "NO_COLOR",
        "FORCE_COLOR",
        "COLUMNS",
        "LINES",
        "PYTHONUNBUFFERED",
        "TERM",
        "TIDEGATE_TRACEBACK",
    }
    inherited = {key: value for key, value in os.environ.items() if key not in unwanted}
    return {**inherited, "PYTHONPATH": str(ROOT), **changes}


def tidegate(*arguments: str, directory: Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Type one command and see what comes of it."""
    return subprocess.run(
        [*TIDEGATE, *arguments],
        cwd=directory,
        env=environment(),
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
    )


def typed(*arguments: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """Exit status, stdout and stderr of a command that runs in this process."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    out, err = capsys.readouterr()
    assert isinstance(ended.value.code, int)
    return ended.value.code, out, err


@contextmanager
def running(role: str, state: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """An agent that has started. Its log lines are JSON, on stderr."""
    with subprocess.Popen(
        [*TIDEGATE, role, state.name, *options],
        cwd=state.parent,
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            wait_for(process, f"{role}_started")
            yield process
        finally:
            process.kill()


def wait_for(process: subprocess.Popen[str], event: str) -> dict[str, object]:
    """Read the log until that event."""
    assert process.stderr is not None
    for line in process.stderr:
        assert line.startswith("{"), f"the agent ends: {line}{process.stderr.read()}"
        logged: dict[str, object] = json.loads(line)
        if logged["event"] == event:
            return logged
    raise AssertionError(f"the agent ended before it logged {event}")
