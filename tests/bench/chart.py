"""The chart: a panel a quantity, a bar a system.

Rule: this file alone knows the drawing library. It is asked for by name when a chart is drawn, so that
neither the type checker nor ``make test`` needs it; ``make bench`` installs it.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from .figures import TIDEGATE, Figure, Quantity, verdict
from .report import Report, number

_COLUMNS: Final = 3
_OURS: Final = "#1f77b4"
_OTHERS: Final = "#b8bec6"
_LINE: Final = "#d62728"


class ChartError(Exception):
    """There is no chart; the message says why."""


def draw(report: Report, file: Path) -> None:
    """Write the chart, in the format that the name of the file ends with.

    :raises ChartError: if the library is not installed.
    """
    try:
        library = importlib.import_module("matplotlib.figure")
    except ImportError as error:
        raise ChartError(
            "matplotlib is not installed: make bench installs it (pip install '.[bench]')"
        ) from error
    found = report.found()
    rows = math.ceil(len(found) / _COLUMNS)
    page = library.Figure(figsize=(5 * _COLUMNS, 2.6 * rows), layout="constrained")
    panels = list(page.subplots(rows, _COLUMNS, squeeze=False).flat)
    for panel, (quantity, figures) in zip(panels, found, strict=False):
        _draw_one(panel, quantity, figures)
    for panel in panels[len(found) :]:
        panel.set_axis_off()
    page.savefig(file)


def _draw_one(panel: Any, quantity: Quantity, found: Mapping[str, Figure]) -> None:
    names = list(found)[::-1]  # the first at the top
    medians = [found[name].median for name in names]
    below = [found[name].median - found[name].lowest for name in names]
    above = [found[name].highest - found[name].median for name in names]
    bars = panel.barh(
        names,
        medians,
        xerr=(below, above),
        color=[_OURS if name == TIDEGATE else _OTHERS for name in names],
        error_kw={"elinewidth": 1, "capsize": 2},
    )
    panel.bar_label(bars, [f" {number(value, quantity.unit)}" for value in medians], fontsize=8)
    panel.margins(x=0.25)
    panel.set_title(f"{quantity.title}, {quantity.unit.value}", fontsize=9)
    panel.tick_params(labelsize=8)
    panel.spines[["top", "right"]].set_visible(False)
    limit = _limit(quantity, found)
    if limit is not None:
        reached = verdict(quantity, found)
        panel.axvline(limit, color=_LINE, linestyle=":", linewidth=1.2)
        panel.set_xlabel(
            f"dotted: the target, {quantity.target} ({reached.value if reached else ''})", fontsize=7
        )


def _limit(quantity: Quantity, found: Mapping[str, Figure]) -> float | None:
    """Where the target lies on the axis."""
    target = quantity.target
    if target is None:
        return None
    if target.reference is None:
        return target.limit
    reference = found.get(target.reference)
    return None if reference is None else target.limit * reference.median
