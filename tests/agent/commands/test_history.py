"""``tidegate history``, with an agent and without one."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from agent.commands.history import history_lines
from schemas.history_report import HistoryReport, KeptGeneration
from tests.support.operated import operated

NOW = datetime(2026, 5, 17, 12, 0, tzinfo=UTC)


def kept(number: int, *, accepted: bool = False, in_force: bool = False) -> KeptGeneration:
    return KeptGeneration(
        generation=number,
        accepted_at=NOW,
        digest=f"{number:064d}",
        changed="+2 -1 ~3 tunnels",
        accepted=accepted,
        in_force=in_force,
    )


def test_a_generation_is_a_line_and_the_one_that_counts_is_marked() -> None:
    report = HistoryReport(generations=(kept(10, accepted=True), kept(9, in_force=True), kept(8)))

    assert list(history_lines(report)) == [
        "GENERATION  ACCEPTED AT (UTC)    DIGEST        CHANGED",
        "10          2026-05-17 12:00:00  000000000000  +2 -1 ~3 tunnels  accepted, not in force as a whole",
        "9           2026-05-17 12:00:00  000000000000  +2 -1 ~3 tunnels  was in force last",
        "8           2026-05-17 12:00:00  000000000000  +2 -1 ~3 tunnels",
    ]


def test_one_that_counts_and_is_in_force_is_in_force() -> None:
    *_, line = history_lines(HistoryReport(generations=(kept(1, accepted=True, in_force=True),)))

    assert line.endswith("  in force")


def test_nothing_is_said_to_be_nothing() -> None:
    assert list(history_lines(HistoryReport(generations=()))) == ["no state was kept yet"]


def test_it_is_the_same_whether_or_not_the_agent_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with operated(tmp_path, capsys) as place:
        place.write("a")
        assert place.types("history") == (0, "no state was kept yet\n", "")
        with place.running():
            with_agent = place.types_json("history")
        without = place.types_json("history")

        assert [one["in_force"] for one in with_agent["generations"]] == [True]
        for one in with_agent["generations"]:
            one |= {"in_force": False, "accepted": False}
        assert with_agent == without
        (place.directory / "gateway.history" / "00000001.json").write_text("?")
        status, _, err = place.types("history")
        assert status == 0
        assert "00000001.json is damaged, and left out of the history: remove it" in err


def test_only_a_socket_that_is_not_served_is_not_enough(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with operated(tmp_path, capsys) as place:
        status, _, err = place.types("history", "--socket", "none.sock")

    assert (status, "no agent runs at none.sock" in err) == (1, True)
