"""``tidegate demo``: the story is acted out, and nothing of it is left."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from agent.commands import demo
from schemas.errors import TidegateError
from tests.support import statuses
from tests.support.agents import TIDEGATE, environment
from tests.support.terminal import CTRL_C, ENTER_SCREEN, on_terminal


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory with a short name, as the temporary one of a machine has: sockets are made below it."""
    with TemporaryDirectory(prefix="tidegate-test-") as name:
        yield Path(name)


def test_without_a_terminal_the_story_is_told_once_and_its_files_are_removed(place: Path) -> None:
    result = subprocess.run(
        [*TIDEGATE, "demo"],
        env=environment(TMPDIR=str(place)),
        capture_output=True,
        text=True,
        check=False,
    )

    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.count("200 Hello from the blog") == 2
    assert result.stdout.count("200 Hello from the wiki") == 1
    assert "\x1b" not in result.stdout
    assert list(place.iterdir()) == []


def test_on_a_terminal_it_ends_with_the_live_table_until_ctrl_c(place: Path) -> None:
    with on_terminal(
        [*TIDEGATE, "demo"], directory=place, environment=environment(TMPDIR=str(place))
    ) as terminal:
        terminal.read_until("Ctrl-C ends the demo")
        terminal.read_until("IN/s")
        terminal.type(CTRL_C)

        assert terminal.wait() == 0
        assert ENTER_SCREEN not in terminal.written  # what was told stays on the screen
        assert terminal.is_clean
    assert list(place.iterdir()) == []


def test_whoever_plays_with_its_state_file_sees_what_comes_of_it(place: Path) -> None:
    with on_terminal(
        [*TIDEGATE, "demo"], directory=place, environment=environment(TMPDIR=str(place))
    ) as terminal:
        terminal.read_until("Ctrl-C ends the demo")
        (state,) = place.glob("tidegate-demo-*/gateway.yaml")
        state.write_text(state.read_text().replace("service: wiki", "service: nothing"))
        terminal.read_until("Service unknown")
        terminal.type(CTRL_C)

        assert terminal.wait() == 0


def test_ctrl_c_in_the_middle_of_the_story_is_an_interruption(place: Path) -> None:
    with subprocess.Popen(
        [*TIDEGATE, "demo"], env=environment(TMPDIR=str(place)), stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        while "Both start" not in process.stdout.readline():
            pass
        process.send_signal(signal.SIGINT)
        process.stdout.read()

        assert process.wait() == 130
    assert list(place.iterdir()) == []


@pytest.mark.anyio
async def test_what_does_not_become_ready_is_named_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "_PATIENCE", 0)

    with pytest.raises(TidegateError, match=r"mail should be ready by now and is not: .*another program"):
        await demo._until_ready(statuses.three, {"mail": "0.0.0.0:25"})
