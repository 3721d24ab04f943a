"""The chart of a run."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from .chart import ChartError, draw
from .test_report import example


def test_a_chart_names_every_quantity_and_system(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="drawn with matplotlib, which make bench installs")

    draw(example(), tmp_path / "chart.svg")

    # Letters are drawn as outlines, and each text stands in a comment before them.
    drawn = (tmp_path / "chart.svg").read_text()
    assert [
        text
        for text in ("HTTP keep-alive, req/s", "memory at rest, MB", "tidegate", "haproxy", "25,000")
        if f"<!-- {text}" not in drawn and f"<!--  {text}" not in drawn
    ] == []


def test_without_the_library_the_error_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)  # how an import is made to fail

    with pytest.raises(ChartError, match="make bench"):
        draw(example(), tmp_path / "chart.svg")
