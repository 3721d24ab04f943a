"""``python -m agent``, for where the command is not on the path."""

from __future__ import annotations

from pathlib import Path

from agent.version import VERSION
from tests.support.agents import tidegate


def test_it_is_the_same_command(tmp_path: Path) -> None:
    result = tidegate("--version", directory=tmp_path)

    assert (result.returncode, result.stdout) == (0, f"tidegate {VERSION}\n")
