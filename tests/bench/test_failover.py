"""Several runs become one row, and what never happened is shown as that."""

from __future__ import annotations

from math import inf

import pytest

from tests.support.failover import Outcome, Request

from .failover import Figures, cells, main


def figures(*, cut: int = 0, moved: float = 0.0123, ended: float = inf) -> Figures:
    return Figures(
        requests=1000, cut=cut, turned_away=0, unanswered=0, moved=moved, slowest=3.0061, ended=ended
    )


def test_a_row_has_medians_and_the_highest_of_the_counts() -> None:
    row = cells([figures(cut=1), figures(cut=8, moved=0.02), figures(cut=2, moved=0.005)])

    assert row == ["1000", "2 (8)", "0 (0)", "0 (0)", "12 ms", "3.0 s", "-"]


def test_whoever_may_not_make_machines_is_told_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)

    assert main([]) == 1
    assert "need root" in capsys.readouterr().err


def request(visitor: int, connected: float, began: float, who: str | None, kind: str = "each") -> Request:
    return Request(visitor, connected, began, 0.5, kind, who, None if who else "ConnectionResetError")


def test_who_was_there_before_is_cut_and_who_came_later_is_turned_away() -> None:
    outcome = Outcome(
        requests=[
            request(0, 1.0, 9.9, None),
            request(1, 1.0, 10.1, None, kind="keep"),
            request(2, 10.2, 10.2, None),
            request(3, 10.3, 10.3, "attic"),
            request(3, 11.0, 11.0, "barn"),
        ],
        moment=10.0,
        over=12.0,
    )

    assert [one.visitor for one in outcome.cut] == [0, 1]
    assert [one.visitor for one in outcome.turned_away] == [2]
    assert outcome.moved("attic") == 1.5
    assert outcome.unanswered(1.0) == 3
