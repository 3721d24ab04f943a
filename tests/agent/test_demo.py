"""``tidegate demo``: the story is acted out, and nothing of it is left."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest

from agent import demo
from schemas.errors import TidegateError
from tests.support import statuses
from tests.support.agents import TIDEGATE, environment
from tests.support.terminal import CTRL_C, ENTER_SCREEN, on_terminal


def test_without_a_terminal_the_story_is_told_once_and_its_files_are_removed(tmp_path: Path) -> None:
    result = subprocess.run(
        [*TIDEGATE, "demo"],
        env=environment(TMPDIR=str(tmp_path)),
        capture_output=True,
        text=True,
        check=False,
    )

    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.count("200 Hello from the blog") == 2
    assert result.stdout.count("200 Hello from the wiki") == 1
    assert "\x1b" not in result.stdout
    assert list(tmp_path.iterdir()) == []


def test_on_a_terminal_it_ends_with_the_live_table_until_ctrl_c(tmp_path: Path) -> None:
    with on_terminal(
        [*TIDEGATE, "demo"], directory=tmp_path, environment=environment(TMPDIR=str(tmp_path))
    ) as terminal:
        terminal.read_until("Ctrl-C ends the demo")
        terminal.read_until("IN/s")
        terminal.type(CTRL_C)

        assert terminal.wait() == 0
        assert ENTER_SCREEN not in terminal.written  # what was told stays on the screen
        assert terminal.is_clean
    assert list(tmp_path.iterdir()) == []


def test_whoever_plays_with_its_state_file_sees_what_comes_of_it(tmp_path: Path) -> None:
    with on_terminal(
        [*TIDEGATE, "demo"], directory=tmp_path, environment=environment(TMPDIR=str(tmp_path))
    ) as terminal:
        terminal.read_until("Ctrl-C ends the demo")
        (state,) = tmp_path.glob("tidegate-demo-*/gateway.yaml")
        state.write_text(state.read_text().replace("service: wiki", "service: nothing"))
        terminal.read_until("Service unknown")
        terminal.type(CTRL_C)

        assert terminal.wait() == 0


def test_ctrl_c_in_the_middle_of_the_story_is_an_interruption(tmp_path: Path) -> None:
    with subprocess.Popen(
        [*TIDEGATE, "demo"], env=environment(TMPDIR=str(tmp_path)), stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        while "Both start" not in process.stdout.readline():
            pass
        process.send_signal(signal.SIGINT)
        process.stdout.read()

        assert process.wait() == 130
    assert list(tmp_path.iterdir()) == []


@pytest.mark.anyio
async def test_what_does_not_become_ready_is_named_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "_PATIENCE", 0)

    with pytest.raises(TidegateError, match=r"mail should be ready by now and is not: .*another program"):
        await demo._until_ready(statuses.three, {"mail": "0.0.0.0:25"})
