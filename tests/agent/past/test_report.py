"""A history as it is sent and printed."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from agent.past.memory import understood
from agent.past.report import generation_report, history_report
from reconcile.history import FileHistory, NotKeptError
from reconcile.reading import StateText

NOW = datetime(2026, 5, 17, 12, 0, tzinfo=UTC)
STATE = "tidegate: 1\ngateway: {tls: {cert: c, key: k, client_ca: a}}\ntunnels: [] # %s\n"


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """A directory with three generations."""
    history = FileHistory(tmp_path, understand=understood, clock=lambda: NOW)
    for comment in "abc":
        text = StateText(name="gateway.yaml", directory="/", data=(STATE % comment).encode())
        state = understood([text])
        assert state is not None
        history.keep([text], state)
    return tmp_path


def test_the_newest_is_the_first_and_the_one_in_force_is_told(kept: Path) -> None:
    report = history_report(kept, 3, 2)

    assert [one.generation for one in report.generations] == [3, 2, 1]
    assert [one.accepted for one in report.generations] == [True, False, False]
    assert [one.in_force for one in report.generations] == [False, True, False]


def test_what_is_damaged_is_a_warning(kept: Path) -> None:
    (kept / "00000002.json").write_bytes(b"?")

    report = history_report(kept, 3, 3)
    assert [one.generation for one in report.generations] == [3, 1]
    assert len(report.warnings) == 1


def test_the_files_are_there_to_the_byte(kept: Path) -> None:
    report = generation_report(kept, 2)

    assert [(file.name, file.owned, file.text) for file in report.files] == [
        ("gateway.yaml", False, STATE % "b")
    ]
    with pytest.raises(NotKeptError):
        generation_report(kept, 9)
